"""Writes the generated parts of the pages: ``python docs/update.py``. A test compares them."""

from __future__ import annotations

from pathlib import Path

from probes.catalogue import load_catalogue
from probes.catalogue.table import markdown_table

PAGE = Path(__file__).with_name("catalogue.md")
BEGIN, END = "<!-- catalogue: written by docs/update.py -->\n", "<!-- /catalogue -->\n"


def with_table(page: str) -> str:
    """The page with the table of the present catalogue between its marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + markdown_table(load_catalogue()) + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
