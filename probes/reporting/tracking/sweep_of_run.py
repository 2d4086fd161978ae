"""The sweep or atlas that a run belongs to, as its directory tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.core.files import digest

CONFIGS, CORPORA = ".hydra", "corpora"
DATED = re.compile(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d(-\d+)?$")


@dataclass(frozen=True)
class SweepOfRun:
    """What groups a run with others."""

    group: str | None = None
    """A name that the jobs of one sweep, or the parts of one atlas, share; None for a single run.
    """
    of_atlas: bool = False
    overrides: tuple[str, ...] = ()
    """What a job of a sweep sets and others do not, as ``KEY=VALUE``."""

    @classmethod
    def of(cls, run_dir: Path) -> SweepOfRun:
        """Read what Hydra's files in the run's directory, or in the atlas' above it, tell."""
        if run_dir.parent.name == CORPORA:
            atlas = run_dir.parent.parent
            config = _mapping(atlas / CONFIGS / "config.yaml")
            if isinstance(config.get("atlas"), dict):
                above = cls.of(atlas)
                name = f"atlas {_directory_name(atlas)}"
                return cls(f"{above.group} {name}" if above.group else name, of_atlas=True)
        hydra = _mapping(run_dir / CONFIGS / "hydra.yaml").get("hydra")
        if not isinstance(hydra, dict) or hydra.get("mode") != "MULTIRUN":
            return cls()
        asked = hydra.get("sweep")
        directory = asked.get("dir") if isinstance(asked, dict) else None
        known = isinstance(directory, str) and "${" not in directory
        where = Path(str(directory)).expanduser() if known else run_dir.parent
        shared = _given(where / "multirun.yaml")
        lines = _lines(_content(run_dir / CONFIGS / "overrides.yaml"))
        overrides = tuple(line for line in lines if line not in shared)
        named = _mapping(run_dir / CONFIGS / "config.yaml").get("sweep")
        group = named if isinstance(named, str) and named else f"sweep {_directory_name(where)}"
        return cls(group, overrides=overrides)


def _directory_name(directory: Path) -> str:
    """Date and time, or the last part with some digits that tell it from others of its name."""
    if DATED.search(directory.as_posix()):
        return f"{directory.parent.name} {directory.name}"
    return f"{directory.name}-{digest(str(directory.resolve()))[:4]}"


def _mapping(path: Path) -> dict[Any, Any]:
    content = _content(path)
    return content if isinstance(content, dict) else {}


def _given(path: Path) -> list[str]:
    """What the command line of a sweep sets, which is the same for a job where it is one value."""
    hydra = _mapping(path).get("hydra")
    overrides = hydra.get("overrides") if isinstance(hydra, dict) else None
    return _lines(overrides.get("task") if isinstance(overrides, dict) else None)


def _lines(content: object) -> list[str]:
    return list(map(str, content)) if isinstance(content, list) else []


def _content(path: Path) -> object:
    """Of a YAML file; None where it is missing or damaged: a name is worth no failure."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
