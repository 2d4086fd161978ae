"""Probes for attention heads: which heads of a language model carry which information.

>>> from probes import load_run
>>> run = load_run("outputs/2026-11-20/10-00-00")  # doctest: +SKIP
>>> run.map("upos")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from probes.core.version import __version__

if TYPE_CHECKING:
    from probes.analysis.runs import Run, load_run

__all__ = ["Run", "__version__", "load_run"]


def __getattr__(name: str) -> Any:
    # Late, so that the command line answers before pandas and torch are imported.
    if name in ("Run", "load_run"):
        from probes.analysis import runs

        return getattr(runs, name)
    raise AttributeError(f"module 'probes' has no attribute '{name}'")
