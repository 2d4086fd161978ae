"""The directory of the YAML files of the config groups."""

from __future__ import annotations

from pathlib import Path


def config_dir() -> Path:
    """``conf/``: inside the installed package, or next to the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
