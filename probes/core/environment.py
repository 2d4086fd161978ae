"""Versions and machine of a run, and records without the home directory in them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import TypeVar, cast

T = TypeVar("T")

REPORTED_PACKAGES = (
    "headprobes", "torch", "transformers", "lightning", "hydra-core", "numpy", "scikit-learn",
)  # fmt: skip


def environment(device: str) -> dict[str, str]:
    """Versions and machine, for ``run.json``; nothing that names the user or a path."""
    return {
        "python": platform.python_version(),
        **_versions(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "device": device,
    }


def _versions() -> dict[str, str]:
    versions = {}
    for package in REPORTED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def software() -> dict[str, str]:
    """Versions of Python and of the libraries, and the kind of processor."""
    return {"python": platform.python_version(), **_versions(), "machine": platform.machine()}


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model of this machine's processor, as its system names it."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def without_home(value: T) -> T:
    """A copy of plain data (dicts, lists, strings, ...) with ``~`` for the home directory."""
    return cast(T, _replaced(value, os.path.expanduser("~").rstrip("/")))


def text_without_home(text: str) -> str:
    """``~`` for the home directory wherever a path in the text begins with it.

    A longer name of which it is a part (``/home/me2``, ``/data/home/me``) is another path.
    """
    home = os.path.expanduser("~").rstrip("/")
    if len(home) < 2:
        return text
    return re.sub(rf"(?<![^\s,'\"=:\[{{(]){re.escape(home)}(?![^/\s,'\"\]}}):;])", "~", text)


def _replaced(value: object, home: str) -> object:
    if isinstance(value, dict):
        return {key: _replaced(item, home) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, home) for item in value]
    if isinstance(value, str) and len(home) > 1:
        return "~" + value[len(home) :] if value == home or value.startswith(home + "/") else value
    return value
