"""Writes one API page for each package of ``probes/``, with all its modules."""

from __future__ import annotations

import shutil
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import probes


def write(app: Any) -> None:
    """Sphinx' event before pages are read: ``docs/api/PACKAGE.rst``."""
    folder = Path(app.srcdir) / "api"
    shutil.rmtree(folder, ignore_errors=True)  # pages of modules that are gone would be errors
    folder.mkdir()
    pages: dict[str, list[str]] = {}
    for module in walk_packages(probes.__path__, "probes."):
        name = module.name
        if name == "probes.__main__":
            continue
        lines = pages.setdefault(name.split(".")[1], [])
        lines += [name, ("=" if not lines else "-") * len(name), ""]
        lines += [f".. automodule:: {name}", ""]
    for package, lines in pages.items():
        (folder / f"{package}.rst").write_text("\n".join(lines), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register the event."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
