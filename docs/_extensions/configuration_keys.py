"""Writes the reference of configuration keys, from the dataclasses, for ``configuration.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write(app: Any) -> None:
    """Sphinx' event before pages are read."""
    page = Path(app.srcdir) / "generated" / "configuration.md"
    page.parent.mkdir(exist_ok=True)
    try:
        from probes.config.reference import markdown
    except ImportError:
        page.write_text("`probes/config/run.py` has them.\n")
        return
    page.write_text(markdown(), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register the event."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
