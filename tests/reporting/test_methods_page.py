"""Runs of several methods: signed maps, the methods side by side, and their agreement."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from probes.reporting.drawing.colours import BETTER, LESS, scale_of
from probes.reporting.drawing.maps import save_maps
from probes.reporting.head_map import head_map
from probes.reporting.page.agreement import reading
from probes.reporting.page.report import write_report
from probes.reporting.terminal import print_maps
from probes.reporting.tracking.run_numbers import run_numbers
from probes.reporting.tracking.tables import agreement_table, heads_table
from probes.results.feature_table import FeatureTable
from probes.statistics.agreement import agree
from probes.statistics.maps import MapEvidence
from tests.reporting.chromium import opened
from tests.reporting.synthetic import heads_of, make_record, make_results
from tests.reporting.synthetic_effects import ANSWER, SyntheticRun, make_run

SHAPE = (6,) * 8


@pytest.fixture(scope="module")
def run() -> SyntheticRun:
    return make_run(SHAPE)


@pytest.fixture(scope="module")
def page(run: SyntheticRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(run.table, run.record, path, maps=run.maps)


def data_of(page: Path) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    content: dict[str, object] = json.loads(found[1])
    return content


def test_a_signed_map_has_equal_colours_on_both_sides_of_0(run: SyntheticRun) -> None:
    drawn = head_map(FeatureTable.of(run.table, ANSWER, method="ablation"))
    scale = scale_of(drawn)
    assert scale.diverging and scale.anchor == 0.0
    size = max(-drawn.low, drawn.high)
    np.testing.assert_array_equal(scale.colours(size), BETTER[-1])
    np.testing.assert_array_equal(scale.colours(-size), LESS[-1])
    values = drawn.panels[0].values.to_numpy()
    ranked = sorted(drawn.ranks, key=lambda cell: drawn.ranks[cell])
    (_, layer, head), *_ = ranked
    assert abs(values[layer, head or 0]) == pytest.approx(size)
    assert values[layer, head or 0] > 0 or any(values[la, he or 0] < 0 for _, la, he in ranked)


def test_small_effects_have_colours_too() -> None:
    made = make_run(SHAPE, probes=False)
    small = made.table.assign(value=made.table["value"] / 1000)
    scale = scale_of(head_map(FeatureTable.of(small, ANSWER, method="ablation")))
    large = scale_of(head_map(FeatureTable.of(made.table, ANSWER, method="ablation")))
    assert scale.best == pytest.approx(large.best / 1000)


def test_every_map_is_an_image_of_its_own(run: SyntheticRun, tmp_path: Path) -> None:
    saved = save_maps(run.table, ANSWER, tmp_path, record=run.record)
    assert {path.name for path in saved if path.suffix == ".png"} == {
        f"{ANSWER}.png",
        f"{ANSWER}.ablation.mean.total.png",
        f"{ANSWER}.ablation.mean.direct.png",
        f"{ANSWER}.patching.denoise.total.png",
        f"{ANSWER}.attribution.mean.total.png",
    }
    svg = (tmp_path / f"{ANSWER}.ablation.mean.total.svg").read_text()
    for words in ("above 0 the head helps", "largest on validation", "matched control"):
        assert words in svg


def test_the_terminal_says_which_direction_is_good(run: SyntheticRun) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_maps(run.table, ANSWER, console, record=run.record)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("above 0 the head helps") == 3  # ablation twice, attribution
    assert "* largest on validation" in text and "not beyond the matched control" in text
    # Signs take room: all numbers of a map stand in their columns.
    block = text[text.index("mean ablation, total effect") :]
    lines = [line for line in block.split("\n") if re.match(r" *\d+ .*\(", line)][:8]
    assert len({len(line) for line in lines}) == 1


def test_the_page_sets_methods_side_by_side(page: Path) -> None:
    text = unescape(page.read_text())
    assert "Probes, ablation, patching, attribution on ioi" in text
    for title in ("linear probe", "mean ablation, total effect", "mean ablation, direct effect",
                  "denoising patching, total effect", "attribution of mean ablation"):  # fmt: skip
        assert f"<h4>{title}</h4>" in text
    assert "Above 0 the head helps" in text
    assert "No matched control: tested against 0 only" in text
    assert "(of the corpus' answer, indirect_object)" in text  # in the section of 'subject'
    assert "A probe tells what a head carries; ablation tells what the model loses" in text
    assert "at least two name the same" in text and "permuted within their layers" in text
    data = data_of(page)
    features, agreements = data["features"], data["agreements"]
    assert isinstance(features, list) and isinstance(agreements, list)
    # Two probes, and four maps of the answer that both sections share.
    assert [f["label"] for f in features].count("linear probe") == 2 and len(features) == 6
    assert [len(pairs) for pairs in agreements] == [10, 10]
    ablation = next(f for f in features if f["label"] == "mean ablation, total effect")
    assert ablation["quantities"][0]["diverging"] and ablation["quantities"][0]["anchor"] == 0
    assert ablation["named"]


def test_without_evidence_maps_stand_side_by_side_without_agreement(
    run: SyntheticRun, tmp_path: Path
) -> None:
    text = write_report(run.table, run.record, tmp_path / "report.html").read_text()
    assert "The same heads by each method" in text and "Do the methods agree?" not in text


def test_effects_alone_make_a_page(tmp_path: Path) -> None:
    made = make_run((4,) * 4, probes=False, features=(ANSWER,))
    page = write_report(made.table, made.record, tmp_path / "report.html", maps=made.maps)
    text = unescape(page.read_text())
    assert "Ablation, patching, attribution on ioi" in text
    assert "effect on logit difference on test" in text
    assert "two-sided" in text and "got a mean probe of its own" not in text
    assert "Where they name the same head, each supports the other." in text
    opened(page)


def test_probing_alone_has_none_of_it(tmp_path: Path) -> None:
    streams = {"decoder": heads_of(3, 4)}
    page = write_report(make_results(streams), make_record(streams), tmp_path / "report.html")
    text = page.read_text()
    for words in ("by each method", "methods agree", "drawScatter", "two-sided"):
        assert words not in text
    assert text.count("Probes on UD English EWT") == 1


def test_a_sampled_map_says_so(tmp_path: Path) -> None:
    made = make_run(SHAPE, top=10, matched=False)
    text = write_report(made.table, made.record, tmp_path / "r.html", maps=made.maps).read_text()
    assert "inverse sampling weights" in text


def test_readings(run: SyntheticRun) -> None:
    maps = {(m.method, m.probe, m.effect): m for m in run.maps}
    ablation = maps["ablation", "mean", "total"]
    attribution = maps["attribution", "mean", "total"]
    assert "more alike" in reading(agree(ablation, attribution)) or "as alike" in reading(
        agree(ablation, attribution)
    )
    assert reading(agree(ablation, ablation)) == "as alike as noise lets equal orders be"
    assert reading(agree(ablation, _reversed(ablation))) == "less alike than their layers make them"


def _reversed(evidence: MapEvidence) -> MapEvidence:
    from dataclasses import replace

    return replace(evidence, totals=-evidence.totals, validation=-evidence.validation)


def test_loggers_get_every_map_with_its_columns(run: SyntheticRun) -> None:
    heads = heads_table(run.table)
    told = heads[["feature", "method", "probe", "effect", "positions", "metric"]].drop_duplicates()
    assert len(told) == 6 and len(heads) == 6 * 48
    direct = heads[heads["effect"] == "direct"]
    assert direct["validation_logit_difference"].notna().all()
    assert direct["logit_difference"].notna().all() and direct["accuracy"].isna().all()
    numbers = run_numbers(run.table, run.record)
    assert f"{ANSWER}/ablation/mean/direct/all/largest_logit_difference" in numbers
    assert f"{ANSWER}/test_accuracy" in numbers
    agreed = agreement_table(run.table, run.maps)
    assert set(agreed["feature"]) == {ANSWER, "subject"} and agreed["correlation"].notna().all()
    alone = run.table[run.table["method"] == "probe"]
    assert "method" not in heads_table(alone) and "validation_accuracy" in heads_table(alone)


def test_chromium_draws_methods_and_scatters(page: Path) -> None:
    after = """
      const select = document.querySelector("select");
      select.value = "4"; select.dispatchEvent(new Event("change"));
      for (const one of document.querySelectorAll("details[data-whole]")) one.open = true;
    """
    document = opened(page, after=after)
    assert "data-error" not in document
    assert document.count('data-rendered="method"') == 10
    assert document.count('data-rendered="scatter"') == 2
    assert (
        'aria-label="mean ablation, direct effect against mean ablation, total effect"' in document
    )
    assert "named by both" in document
