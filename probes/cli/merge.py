"""The command ``merge``: one finished run from shards of it, or from runs of some of its layers."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from probes.core.errors import UserError

if TYPE_CHECKING:
    from probes.pipeline.merged import Merged

DESCRIPTION = (
    "Join the shards of a run (shard=0/4, ..., or shard=env) into one finished run, in the "
    "directory that they were given; or finished runs that differ in layers or features alone, as "
    "jobs of a sweep do, into a run in a directory of its own. The rest of their command is "
    "carried out, with the activations, fits and effects that are there. What is missing, of "
    "another run, or there twice is refused."
)

LOG = "headprobes.log"
"""In the run's directory."""
OF_SHARDS = ("shard",)
"""Keys of the commands that are not the joined run's."""
OF_JOBS = ("layers", "features", "keep_parts", "sweep", "plan")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "directories",
        metavar="DIR",
        nargs="+",
        type=Path,
        help="hydra.run.dir of the shards; or directories of runs, or of a sweep of them",
    )
    parser.add_argument(
        "--to", metavar="DIR", type=Path, help="where runs that are joined make their own"
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key that differs here from the first command, as --set cache_dir=DIR",
    )


@dataclass(frozen=True)
class Joining:
    """What is joined, and by which command."""

    merged: Merged
    run_dir: Path
    overrides: list[str]
    what: str


def run(given: argparse.Namespace) -> None:
    """Join the shards or runs, and say where the report is.

    Raises:
        AtWork: a process is still at work on one of them.
        UserError: they are not of one run, or that is finished already.
    """
    joining = _joining(given)
    run_dir, overrides = joining.run_dir, [*joining.overrides, *given.set]
    command = " ".join(overrides)
    print(f"joining {joining.what} into {run_dir}: headprobes {command}", file=sys.stderr)
    # Late: what a wrong path should not wait for.
    from omegaconf import OmegaConf

    from probes.cli.job import (
        failures_recorded,
        finished_already,
        logged,
        parse,
        remove_unfinished,
        save_configs,
    )
    from probes.cli.overrides import composed
    from probes.config.checks import check
    from probes.core.claims import held
    from probes.core.process import heavy_imports, redeliver_lost_interrupts, terminable
    from probes.pipeline.prepare import prepare
    from probes.results.record import is_finished

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    cfg = composed(overrides)
    config = parse(cfg).run_config()
    check(config)
    run_dir.mkdir(parents=True, exist_ok=True)
    with redeliver_lost_interrupts(), terminable(), held(run_dir):
        if is_finished(run_dir):
            raise finished_already(run_dir, "run")
        remove_unfinished(run_dir)
        save_configs(run_dir, {"config": cfg, "overrides": OmegaConf.create(overrides)})
        with logged(run_dir, LOG), failures_recorded(run_dir):
            prepared = prepare(config)
            with heavy_imports():
                from probes.pipeline.run import run_prepared
            run_prepared(prepared, run_dir, joining.merged)


def _joining(given: argparse.Namespace) -> Joining:
    from probes.results.record import is_finished

    directories = list(given.directories)
    if any(list(path.glob("shard*")) for path in directories):
        return _of_shards(directories, given.to)
    jobs: list[Path] = []
    for path in directories:
        if is_finished(path) or (path / ".hydra").is_dir():
            jobs.append(path)
        elif path.is_dir():
            from probes.sweeps.jobs import job_directories  # late: pandas

            jobs += job_directories(path)
    return _of_jobs(jobs, given.to) if jobs else _of_shards(directories, given.to)


def _of_shards(directories: Sequence[Path], to: Path | None) -> Joining:
    from probes.pipeline.sharded_fits import gather

    merged = gather(directories)
    if to is not None:
        raise UserError(
            f"--to {to}: shards are joined in the directory that they were given",
            fix="the command without --to",
        )
    first = directories[0]
    run_dir = first.parent if first in merged.directories else first
    overrides = _overrides(merged.directories[0], without=OF_SHARDS)
    return Joining(merged, run_dir, overrides, f"{len(merged.directories)} shards")


def _of_jobs(directories: Sequence[Path], to: Path | None) -> Joining:
    from probes.core.overrides import quoted
    from probes.pipeline.kept_parts import join

    joined = join(directories)
    if to is None:
        raise UserError("runs are joined in a directory of its own", fix="--to DIRECTORY")
    features = ",".join(quoted(name) for name in joined.features)
    overrides = [
        *_overrides(joined.directories[0], without=OF_JOBS),
        f"layers=[{','.join(map(str, joined.layers))}]",
        f"features=[{features}]",
    ]
    return Joining(joined, to, overrides, f"{len(joined.directories)} runs")


def _overrides(directory: Path, *, without: Container[str]) -> list[str]:
    """What the command line of a shard or run set, without some keys."""
    from omegaconf import OmegaConf

    path = directory / ".hydra" / "overrides.yaml"
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:
        raise UserError(f"{path} cannot be read ({error})", fix="running it again") from None
    lines = [str(line) for line in content] if isinstance(content, list) else []
    return [line for line in lines if line.partition("=")[0].lstrip("+") not in without]
