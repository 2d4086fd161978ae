"""The documentation shows the catalogue as it is."""

from __future__ import annotations

from pathlib import Path

from probes.catalogue import load_catalogue
from probes.catalogue.table import markdown_table


def test_the_page_has_the_table_of_the_present_catalogue(project: Path) -> None:
    page = (project / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert markdown_table(load_catalogue()) in page, "python docs/update.py writes it"


def test_the_table_has_every_entry_with_its_features() -> None:
    rows = markdown_table(load_catalogue()).splitlines()
    for entry in load_catalogue():
        features = ", ".join(f"`{feature}`" for feature in entry.features)
        same = [row for row in rows if f"| {entry.stage} | {entry.kind} |" in row]
        assert any(f"`{entry.corpus}`" in row and features in row for row in same), entry.name
