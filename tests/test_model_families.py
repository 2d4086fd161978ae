"""The table of model families in the documentation is what the code does."""

from __future__ import annotations

import pytest
import transformers

from benchmarks.model_families import PAGE, model_types, row, rows_of

VERSION = "5.23"
"""Of transformers, which the page names."""
SAMPLE = ("llama", "bert", "bart", "longt5", "nystromformer", "convbert", "mamba", "nemotron_h")

pytestmark = pytest.mark.skipif(
    not transformers.__version__.startswith(f"{VERSION}."), reason=f"the table is of {VERSION}"
)


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_every_class_that_reads_text_has_a_row(page: str) -> None:
    assert f"transformers {VERSION} " in page
    assert list(rows_of(page)) == model_types()


def test_the_rows_are_what_a_run_would_do(page: str) -> None:
    assert [rows_of(page)[name] for name in SAMPLE] == [row(name) for name in SAMPLE]


def test_most_classes_can_be_read(page: str) -> None:
    read = [line for line in rows_of(page).values() if "refused:" not in line]
    assert sum("not tried:" not in line for line in read) >= 200


@pytest.mark.long
def test_all_rows_are_what_a_run_would_do(page: str) -> None:
    """Where it fails: ``python -m benchmarks.model_families`` writes the table anew."""
    found = {name: row(name) for name in model_types()}
    assert rows_of(page) == found
