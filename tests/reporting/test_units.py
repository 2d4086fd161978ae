"""Pages and terminals call a unit what it is: a head, or a layer at a whole-layer site."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from probes.reporting.difference_unit import difference_unit
from probes.reporting.page.report import write_report
from probes.reporting.terminal import print_map
from probes.results.feature_table import FeatureTable
from probes.results.record import RunRecord
from probes.results.subject import Subject
from probes.results.vocabulary import COMPARATORS, METHODS, QUANTITIES
from probes.results.vocabulary.sites import HEADS, SITES, of_units
from tests.reporting.page_data import page_data
from tests.reporting.synthetic import CLASSES, make_record, make_results

STREAMS = {"encoder": [1] * 4, "decoder": [1] * 5, "cross": [1] * 5}
WHOLE = [site.name for site in SITES.values() if site.whole_layer]
SITE_NAMES = {name for site in SITES.values() for name in (site.name, site.label)}


def of_layers(site: str) -> tuple[pd.DataFrame, RunRecord]:
    """A run that was asked for a whole-layer site, with tests, baselines and all metrics."""
    table = make_results(STREAMS, classes=CLASSES)
    table = table[table["site"].isin(["heads", "corpus"])].copy()
    own = table["site"] == "heads"
    table.loc[own, "site"], table.loc[own, "head"] = site, None
    table["site"] = pd.Categorical(table["site"])
    record = make_record(STREAMS)
    return table, dataclasses.replace(
        record,
        best=[dataclasses.replace(best, site=site, naive_head=None) for best in record.best],
        tests=[dataclasses.replace(test, site=site) for test in record.tests],
    )


def speaks_of_heads(text: str) -> list[str]:
    """The places where it does, apart from names of sites such as ``all heads``."""
    text = re.sub("|".join(sorted(map(re.escape, SITE_NAMES - {HEADS}), key=len)), "", text)
    return re.findall(r".{0,40}\bheads?\b.{0,40}", text, re.IGNORECASE)


def visible(page: str) -> str:
    """What a reader sees of a page without its script."""
    page = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    return re.sub(r"<[^>]*>", " ", page)


@pytest.mark.parametrize("site", WHOLE)
def test_a_page_of_layers_speaks_of_no_head(tmp_path: Path, site: str) -> None:
    table, record = of_layers(site)
    assert Subject.of(table).unit == "layer"
    text = write_report(table, record, tmp_path / "report.html").read_text()
    assert speaks_of_heads(visible(text)) == []
    assert "Best layers" in text and "Top layers" in text and "which layers carry" in text
    [feature] = page_data(text)["features"]
    said = " ".join(quantity["about"] for quantity in feature["quantities"])
    assert speaks_of_heads(said) == [] and "this layer" in said


@pytest.mark.parametrize("site", WHOLE)
def test_a_terminal_map_of_layers_speaks_of_no_head(site: str) -> None:
    table, record = of_layers(site)
    console = Console(file=(out := io.StringIO()), width=200)
    print_map(table, "upos", console, record=record)
    assert "best on validation: " in out.getvalue()
    assert speaks_of_heads(out.getvalue()) == []


def test_a_page_of_heads_still_speaks_of_heads(tmp_path: Path) -> None:
    streams = {"encoder": [4] * 3}
    table, record = make_results(streams, classes=CLASSES), make_record(streams)
    text = write_report(table, record, tmp_path / "report.html").read_text()
    for words in ("which heads carry", "Best heads", "best head gains", "among all heads"):
        assert words in text, words


@pytest.mark.parametrize("site", WHOLE)
def test_every_sentence_of_the_vocabulary_can_be_said_of_layers(site: str) -> None:
    """Whatever is written of heads reads of layers, and nothing else of it changes."""
    texts = [
        *(text for method in METHODS.values() for text in (method.oriented, method.above)),
        *(kind.description for kind in QUANTITIES.values()),
        *(row.gain_description for row in COMPARATORS.values()),
    ]
    for text in texts:
        said = of_units(text, site)
        assert not re.search(r"\bheads?\b", said, re.IGNORECASE), said
        assert of_units(text, HEADS) == text
        assert re.sub(r"\b(head|layer)", "unit", said) == re.sub(r"\b(head|layer)", "unit", text)


def test_effects_of_layers_are_told_of_layers() -> None:
    table, _ = of_layers("residual")
    own = FeatureTable.of(table, "upos")
    effects = dataclasses.replace(
        own, subject=dataclasses.replace(own.subject, method="ablation", probe="mean")
    )
    unit = difference_unit(effects)
    assert speaks_of_heads(f"{unit.quantity.about} {unit.above}") == []
    assert "the layer helps" in unit.above
