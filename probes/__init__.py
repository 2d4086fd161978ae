"""Probes for attention heads: which heads of a language model carry which information.

>>> from probes import load_run
>>> run = load_run("outputs/2026-11-20/10-00-00")  # doctest: +SKIP
>>> run.map("upos")  # doctest: +SKIP

A name of this list is imported when it is first used, so that the command line answers before
pandas and torch are imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from probes.core.version import __version__

if TYPE_CHECKING:
    from probes.activations.extraction import extract
    from probes.analysis.probe import LinearProbe, MLPProbe
    from probes.analysis.runs import Run, load_run
    from probes.models.hooks import hooked
    from probes.models.loading import open_model
    from probes.models.sites import find_sites
    from probes.training.fit import fit_banks

__all__ = [
    "LinearProbe",
    "MLPProbe",
    "Run",
    "__version__",
    "extract",
    "find_sites",
    "fit_banks",
    "hooked",
    "load_run",
    "open_model",
]

_MODULES = {
    "LinearProbe": "probes.analysis.probe",
    "MLPProbe": "probes.analysis.probe",
    "Run": "probes.analysis.runs",
    "extract": "probes.activations.extraction",
    "find_sites": "probes.models.sites",
    "fit_banks": "probes.training.fit",
    "hooked": "probes.models.hooks",
    "load_run": "probes.analysis.runs",
    "open_model": "probes.models.loading",
}
"""Where each name is defined."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'probes' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
