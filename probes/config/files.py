"""Where the YAML files of the config groups are."""

from __future__ import annotations

from pathlib import Path


def config_dir() -> Path:
    """Where the config groups lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
