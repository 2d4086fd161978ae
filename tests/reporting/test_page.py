from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from probes.reporting.drawing.maps import save_map
from probes.reporting.page.pagedata import embed
from probes.reporting.page.report import write_report
from probes.reporting.terminal import print_map
from probes.results.feature_table import FeatureTable
from probes.results.record import RunRecord
from probes.results.summary import baselines
from tests.reporting.chromium import needs_chromium, opened
from tests.reporting.page_data import page_data
from tests.reporting.synthetic import CLASSES, heads_of, make_record, make_results

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&{{7*7}}"
STREAMS = {"encoder": heads_of(6, 12)}


def written(
    folder: Path, streams: dict[str, list[int]], **options: object
) -> tuple[Path, pd.DataFrame, RunRecord]:
    table = make_results(streams, classes=CLASSES, **options)  # type: ignore[arg-type]
    features = tuple(table["feature"].unique())
    record = make_record(streams, features=features)
    return write_report(table, record, folder / "report.html"), table, record


def test_the_page_has_every_number_of_the_map(tmp_path: Path) -> None:
    page, table, _ = written(tmp_path, STREAMS)
    [feature] = page_data(page.read_text())["features"]
    [panel] = feature["panels"]
    assert len(panel["row"]) == 72 and len(panel["recall"]) == len(CLASSES)
    rows = table[(table["site"] == "heads") & (table["probe"] == "linear")]
    rows = rows[(rows["split"] == "test") & (rows["metric"] == "accuracy")]
    found = dict(zip(zip(panel["row"], panel["column"], strict=True), panel["values"][0],
                     strict=True))  # fmt: skip
    for row in rows.itertuples():
        assert found[row.layer, row.head] == pytest.approx(row.value, rel=1e-4)
    best = FeatureTable.of(table, "upos").top(1).iloc[0]
    first = panel["rank"].index(1)
    assert (panel["row"][first], panel["column"][first]) == (best["layer"], best["head"])


@pytest.mark.parametrize("lost", [("encoder",), ("decoder", "cross")])
@pytest.mark.parametrize("metric", ["macro_f1", "gain_majority", "accuracy"])
def test_a_stream_that_one_map_has_and_another_lacks(
    tmp_path: Path, metric: str, lost: tuple[str, ...]
) -> None:
    """Quantities are not known of every stream: the others keep theirs, and no number moves."""
    streams = {"encoder": heads_of(2, 4), "decoder": heads_of(3, 2), "cross": heads_of(3, 2)}
    whole = make_results(streams)
    table = whole[~((whole["metric"] == metric) & whole["stream"].isin(lost))]
    page = write_report(table, make_record(streams), tmp_path / "report.html")
    [feature] = page_data(page.read_text())["features"]
    names = [quantity["name"] for quantity in feature["quantities"]]
    assert [panel["stream"] for panel in feature["panels"]] == list(streams)
    for panel in feature["panels"]:
        assert len(panel["row"]) == sum(streams[panel["stream"]])
        for name, values, profile in zip(names, panel["values"], panel["profiles"], strict=True):
            probability = name.startswith(("p_", "q_"))  # columns beside the accuracy
            known = panel["stream"] not in lost or metric not in (
                name,
                "accuracy" if probability else name,
            )
            assert [value is not None for value in values] == [known] * len(values)
            assert bool(profile) == (known and not probability)
    if metric != "accuracy":  # which is what the image and the terminal show
        return
    print_map(table, "upos", Console(file=io.StringIO()))
    assert {path.suffix for path in save_map(table, "upos", tmp_path)} == {".png", ".svg"}


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    page, _, _ = written(tmp_path, STREAMS)
    text = page.read_text()
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", text)
    assert "@import" not in text and "fetch(" not in text
    assert "default-src 'none'" in text
    assert len(text) < 500_000


def test_it_says_how_the_numbers_were_made(tmp_path: Path) -> None:
    page, table, _ = written(tmp_path, STREAMS)
    text = re.sub(r"\s+", " ", page.read_text())
    for sentence in (
        "no document is in two splits: 80 / 12 / 12 documents in train / validation / test",
        "67 dev and 93 test sentences that recur in train were dropped.",
        "For each head the L2 penalty was chosen on validation, and heads are ranked there too.",
        "95% intervals from a bootstrap over documents, not over rows, 1,000 draws",
        "Left out as too rare, with their training rows: INTJ (3), SYM (0).",
        "class ADV has 55 rows on test",
        "p-values refute that activations and labels are independent",
        "Freed from the choice the best head reaches 0.610 [0.580, 0.640]",
    ):
        assert sentence in text, sentence
    assert baselines(FeatureTable.of(table, "upos"))[0].comparator.title == "majority class"


def test_it_says_when_texts_were_turns_of_a_chat(tmp_path: Path) -> None:
    page, table, record = written(tmp_path, STREAMS)
    assert "chat template" not in page.read_text()
    config = {**record.config, "model": {"chat": "user"}}
    record = dataclasses.replace(record, config=config)
    text = write_report(table, record, tmp_path / "chat.html").read_text()
    assert text.count("chat template, as a user") == 1


def test_a_map_with_nothing_significant_says_so(tmp_path: Path) -> None:
    page, _, _ = written(tmp_path, STREAMS, signal=0.0, seed=3)
    assert "No head of 72 is." in page.read_text()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    classes = [HOSTILE, "__proto__", "constructor", "NOUN", "<b>", "x"]
    table = make_results({"d": [3, 3]}, features=(HOSTILE,), classes=classes)
    record = make_record({"d": [3, 3]}, features=(HOSTILE,), classes=classes, model=HOSTILE,
                         corpus=HOSTILE, caveats=(HOSTILE,))  # fmt: skip
    record = dataclasses.replace(record, environment={HOSTILE: HOSTILE})
    page = write_report(table, record, tmp_path / "report.html")
    text = page.read_text()
    assert "<img" not in text and "49" not in re.findall(r"<h1>(.*?)</h1>", text)[0]
    [feature] = page_data(text)["features"]
    assert feature["name"] == HOSTILE
    assert set(feature["panels"][0]["recall"]) == set(classes)


def test_embedded_json_cannot_end_its_element() -> None:
    text = embed({"a": "</ScRiPt><!--", "b": float("nan"), "c": [float("inf"), 1.5]})
    assert "<" not in text
    assert json.loads(text) == {"a": "</ScRiPt><!--", "b": None, "c": [None, 1.5]}


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    page, table, record = written(tmp_path, STREAMS)
    before = page.read_bytes()
    assert write_report(table, record, page).read_bytes() == before


@pytest.mark.parametrize("left", ["validation", "test"])
def test_partial_tables(tmp_path: Path, left: str) -> None:
    table = make_results({"d": [2, 2]}, baselines=False, intervals=False, significance=False)
    table = table[(table["split"] != "validation") | (left == "validation")]
    page = write_report(table, make_record({"d": [2, 2]}), tmp_path / "report.html")
    assert page.stat().st_size > 10_000


# --- in a browser -----------------------------------------------------------------------------


@needs_chromium
def test_chromium_draws_the_maps(tmp_path: Path) -> None:
    page, _, _ = written(tmp_path, STREAMS, features=("upos", "deprel"))
    dom = opened(page)
    assert "data-error" not in dom
    assert dom.count('data-rendered="map"') == 2
    assert dom.count('class="cell"') == 2 * 72
    assert dom.count("<polyline") == 2 * 5


@needs_chromium
def test_chromium_switches_and_hovers(tmp_path: Path) -> None:
    page, table, _ = written(tmp_path, STREAMS)
    dom = opened(
        page,
        after="""
        document.querySelector('[data-quantity="q_value"]').click();
        const cell = document.querySelectorAll(".cell")[12];
        const box = cell.getBoundingClientRect();
        cell.dispatchEvent(new PointerEvent("pointermove",
            {clientX: box.x + 9, clientY: box.y + 9, bubbles: true}));
        document.querySelector("details[data-table]").open = true;
        """,
    )
    assert "data-error" not in dom
    assert 'aria-label="upos: q-value, layers by heads"' in dom
    tip = re.search(r'<div id="tip".*?</div>', dom, re.S)
    assert tip is not None
    where = (table["layer"] == 1) & (table["head"] == 0) & (table["split"] == "test")
    where &= (table["probe"] == "linear") & (table["site"] == "heads")
    accuracy = table[where & (table["metric"] == "accuracy")].iloc[0]
    recall = table[where & (table["metric"] == "recall:NOUN")].iloc[0]
    assert "layer 1 · head 0" in tip[0]
    assert f"{accuracy['value']:.3f}" in tip[0] and f"{recall['value']:.3f}" in tip[0]


@needs_chromium
def test_in_a_narrow_window_tables_scroll_and_the_page_does_not(tmp_path: Path) -> None:
    streams = {"encoder": heads_of(3, 12), "decoder": heads_of(4, 12), "cross": heads_of(4, 12)}
    page, _, _ = written(tmp_path, streams, features=("a_feature_with_a_long_name", "deprel"))
    dom = opened(
        page,
        width=500,
        after="""
        for (const details of document.querySelectorAll("details")) details.open = true;
        setTimeout(() => {
          const root = document.documentElement;
          root.setAttribute("data-wider", root.scrollWidth > root.clientWidth);
          const tables = [...document.querySelectorAll("table")];
          root.setAttribute("data-tables", tables.length);
          root.setAttribute("data-cut", tables.filter((t) => !t.closest(".scroll, #tip")).length);
          root.setAttribute("data-scrolling", tables.filter((t) => t.offsetWidth > 500).length);
        }, 500);
        """,
    )
    told = dict(re.findall(r'data-(wider|tables|cut|scrolling)="(\w+)"', dom))
    assert told["wider"] == "false" and told["cut"] == "0"
    assert int(told["scrolling"]) >= 3 and int(told["tables"]) > int(told["scrolling"])


def test_chromium_survives_hostile_names(tmp_path: Path) -> None:
    streams = {"encoder": [2, 1], "decoder": [2, 2], "cross": [1, 2]}
    classes = [HOSTILE, "__proto__", "b", "NOUN", "c", "d"]
    table = make_results(streams, features=(HOSTILE,), classes=classes)
    record = make_record(streams, features=(HOSTILE,), classes=classes, caveats=(HOSTILE,))
    page = write_report(table, record, tmp_path / "report.html")
    dom = opened(page, after="for (const b of document.querySelectorAll('button')) b.click();")
    assert "data-error" not in dom and "<img" not in dom
    assert dom.count('data-rendered="map"') == 3


def test_chromium_draws_the_largest_map(tmp_path: Path) -> None:
    page, _, _ = written(tmp_path, {"decoder": heads_of(80, 64)})
    dom = opened(page)
    assert "data-error" not in dom and dom.count('class="cell"') == 5120


def test_previous_token_is_said_to_be_a_word(tmp_path: Path) -> None:
    streams = {"decoder": heads_of(2, 3)}
    table = make_results(streams, features=("previous_token", "upos"))
    record = make_record(streams, features=("previous_token", "upos"))
    text = write_report(table, record, tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("The class is the previous word") == 1
