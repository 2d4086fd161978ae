"""Writes the reference of configuration keys, from the dataclasses, for ``configuration.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from probes.config.reference import markdown


def write(app: Any) -> None:
    """Sphinx' event before pages are read."""
    page = Path(app.srcdir) / "generated" / "configuration.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(markdown(), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register the event."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
