"""The jobs of a sweep as they stand on disk: finished, failed, in use or unfinished."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from probes.analysis.runs import load_run
from probes.core.claims import holder
from probes.core.errors import ERROR_FILE
from probes.core.files import paths_below
from probes.pipeline.identity import LENGTH
from probes.results.atlas import is_atlas, load_atlas
from probes.results.record import RunRecord, is_finished
from probes.sweeps.values import natural, readable

CONFIGS = ".hydra"
IDENTITY = re.compile(f"[0-9a-f]{{{LENGTH}}}")
OF_THE_SWEEP = ("sweep", "plan", "keep_parts")
"""Keys that say nothing of a job."""
IN_USE = "in use"
"""Status of a job that a process is at work on."""


@dataclass(frozen=True)
class Job:
    """One job of a sweep, finished or not."""

    name: str
    """Name of its directory: its number, its identity or what the sweep names its jobs by."""
    overrides: dict[str, str]
    """What its command line set, by key."""
    results: pd.DataFrame | None
    record: RunRecord | None
    error: str | None
    atlas: pd.DataFrame | None = None
    """Of a job that made an atlas: its table of all heads and features (``atlas.csv``)."""
    page: str = ""
    """Its report, relative to the sweep's directory."""
    begun: float = 0.0
    """When it was last started, in seconds since the epoch."""
    user: str = ""
    """The process that is at work on it."""

    @property
    def label(self) -> str:
        """Its name, or the beginning of an identity."""
        return self.name[:8] if IDENTITY.fullmatch(self.name) else self.name

    @property
    def seconds(self) -> float | None:
        """What its extraction, fits and report took."""
        return None if self.record is None else self.record.seconds

    @property
    def status(self) -> str:
        """finished, failed, in use (a process is at work on it) or unfinished."""
        if self.error is not None:
            return "failed"
        if self.results is not None or self.atlas is not None:
            return "finished"
        return IN_USE if self.user else "unfinished"

    @property
    def remark(self) -> str:
        """Why there are no results, or who is at work on them."""
        return self.user if self.status == IN_USE else self.error or ""


def read_job(directory: Path, sweep: Path | None = None, user: str = "") -> Job:
    """Read one job directory, whatever state it is in; damaged results count as a failure.

    sweep: the directory of the sweep; by default the one that the job's is in. user: a process of
    another machine that is at work on it; those of this one are found by their lock.
    """
    user = holder(directory) or user  # before the results, which may be finished meanwhile
    overrides = _overrides(directory / CONFIGS / "overrides.yaml")
    error = _error(directory / ERROR_FILE)
    results, record, atlas = None, None, None
    try:
        if error is None and is_finished(directory):
            run = load_run(directory)
            results, record = run.results, run.record
        elif error is None and is_atlas(directory):
            atlas = load_atlas(directory).table
    except Exception as damaged:  # whatever is wrong with one job, the others are reported
        results, atlas, error = None, None, str(damaged) or repr(damaged)
    page = f"{directory.relative_to(sweep or directory.parent).as_posix()}/report.html"
    begun = _begun(directory) or 0.0
    return Job(directory.name, overrides, results, record, error, atlas, page, begun, user)


def read_sweep(
    directory: str | os.PathLike[str], users: Mapping[str, str] | None = None
) -> list[Job]:
    """All jobs of a sweep, in the order of their numbers; none where there is no such directory.

    Jobs that are named otherwise follow in the order of their settings. Where two that are named by
    their identity have the same overrides (texts were changed since), the later one counts.

    users: by job, processes of other machines that were at work on it.
    """
    users = users or {}
    directory = Path(directory)
    return [
        read_job(path, directory, users.get(path.name, "")) for path in job_directories(directory)
    ]


def job_directories(directory: Path) -> list[Path]:
    """Those that ``read_sweep`` reads, in its order."""
    # Job directories may be nested more than one level deep, as hydra.sweep.subdir sets them.
    paths = [hydra.parent for hydra in paths_below(directory, CONFIGS)]
    times = {path: _begun(path) for path in paths if path != directory}
    # Another process with the same sweep removes the directories of its extractions.
    begun = {path: time for path, time in times.items() if time is not None}
    given = {path: _overrides(path / CONFIGS / "overrides.yaml") for path in begun}
    latest: dict[object, Path] = {}
    for path in sorted(begun, key=lambda path: begun[path]):
        if given[path].get("until") != "extraction":
            settings = tuple(sorted(given[path].items()))
            latest[settings if IDENTITY.fullmatch(path.name) else path] = path

    def order(path: Path) -> tuple[object, ...]:
        if path.name.isdigit():
            return 0, int(path.name)
        return 1, [natural(f"{key}={value}") for key, value in given[path].items()], str(path)

    return sorted(latest.values(), key=order)


def swept_keys(jobs: Sequence[Job]) -> list[str]:
    """Keys whose value differs between jobs; of a single job all keys that it set."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.overrides))
    if len(jobs) == 1:
        return keys
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


def _begun(directory: Path) -> float | None:
    """When a job was last started, in seconds since the epoch; None where its directory is gone."""
    try:
        return (directory / CONFIGS).stat().st_mtime
    except OSError:
        return None


def _overrides(path: Path) -> dict[str, str]:
    """``key=value`` lines of a job by key; an override without ``=`` (a deletion) stays whole."""
    from omegaconf import OmegaConf

    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception:  # a half-written file of a job that was killed: as if it had set nothing
        return {}
    lines = [str(line) for line in content] if isinstance(content, list) else []
    pairs = [line.partition("=") for line in lines]
    settings = {key.lstrip("+"): readable(value) for key, _, value in pairs}
    return {key: value for key, value in settings.items() if key not in OF_THE_SWEEP}


def _error(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["error"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "failed; its error could not be read"
