"""Adding a comparator is adding its row: tables, pages and drawings find it by themselves.

The rows of results stand for the code that computes its numbers.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from probes.reporting.drawing.colours import profile_lines
from probes.reporting.head_map import head_map
from probes.reporting.page.pagedata import feature_data
from probes.reporting.page.report import write_report
from probes.reporting.terminal import print_map
from probes.reporting.tracking.run_numbers import run_numbers
from probes.results.feature_table import FeatureTable
from probes.results.subject import Subject
from probes.results.summary import baselines
from probes.results.vocabulary import COMPARATORS, Comparator, Compared, probe_label
from tests.reporting.synthetic import heads_of, make_record, make_results

STREAMS = {"decoder": heads_of(3, 4)}
SHUFFLED = Comparator(
    "shuffled",
    Compared.SAME_UNIT,
    label="shuffled words",
    title="best head on shuffled words",
    gain_label="gain over shuffled words",
    gain_description="Accuracy minus that of the same head on texts with shuffled words.",
    colour="#00ff7f",
    drawn=7,
    abbreviation="shu",
    legend="best head on shuffled words",
)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Results with the new comparator, whose rows come first."""
    monkeypatch.setitem(COMPARATORS, SHUFFLED.name, SHUFFLED)
    results = make_results(STREAMS)
    rows = results[results["probe"] == "random_init"].assign(probe=SHUFFLED.name)
    gains = results[results["metric"] == "gain_majority"].assign(metric=SHUFFLED.gain)
    return pd.concat([rows, gains, results], ignore_index=True)


def test_it_is_never_the_probe_of_the_run(table: pd.DataFrame) -> None:
    assert Subject.of(table).probe == "linear"
    assert probe_label(SHUFFLED.name) == "shuffled words"  # in the difference of two maps


def test_it_is_in_the_summary_and_in_what_loggers_get(table: pd.DataFrame) -> None:
    own = FeatureTable.of(table, "upos")
    listed = {b.comparator.name: b for b in baselines(own)}
    assert listed["shuffled"].estimate == listed["random_init"].estimate
    assert "upos/shuffled_words_test_accuracy" in run_numbers(table, make_record(STREAMS))


def test_it_is_in_maps_and_their_profiles(table: pd.DataFrame) -> None:
    own = FeatureTable.of(table, "upos")
    assert "shuffled" in head_map(own).panels[0].profile
    assert list(profile_lines().items())[-1] == ("shuffled", ("#00ff7f", "shuffled words"))
    gain = own.quantity(SHUFFLED.gain)
    assert (gain.label, gain.anchor) == ("gain over shuffled words", 0.0)


def test_it_is_on_the_page(table: pd.DataFrame, tmp_path: Path) -> None:
    data = feature_data(FeatureTable.of(table, "upos"), level=0.05, classes=6)
    gain = next(q for q in data["quantities"] if q["name"] == SHUFFLED.gain)
    assert gain["about"].startswith("Accuracy minus that of the same head on texts")
    text = write_report(table, make_record(STREAMS), tmp_path / "report.html").read_text()
    assert re.search(r"<td>best head on shuffled words</td>", text)
    assert '"shuffled":"#00ff7f"' in text and '"shuffled":"shuffled words"' in text


def test_it_is_in_the_terminal(table: pd.DataFrame) -> None:
    file = io.StringIO()
    print_map(table, "upos", Console(file=file, width=100))
    assert " shu\n" in file.getvalue()
    assert "shu: best head on shuffled words" in " ".join(file.getvalue().split())
