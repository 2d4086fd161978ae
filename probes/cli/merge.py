"""The command ``merge``: one finished run from the shards of it that several processes made."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from probes.core.errors import UserError

DESCRIPTION = (
    "Join the shards of a run (shard=0/4, ..., or shard=env) into one finished run, in the "
    "directory that they were given: the rest of their command is carried out, with the "
    "activations and fits that are there. A shard that is missing, of another run, or there twice "
    "is refused."
)

LOG = "headprobes.log"
"""In the run's directory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "directories",
        metavar="DIR",
        nargs="+",
        type=Path,
        help="hydra.run.dir of the shards; the run is written to the first one",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key that differs here from the shards' command, as --set cache_dir=DIR",
    )


def run(given: argparse.Namespace) -> None:
    """Join the shards, and say where the report is.

    Raises:
        UserError: they are not the shards of one run, or the run is finished already.
    """
    # Late: what a wrong path should not wait for.
    from probes.pipeline.sharded_fits import gather

    merged = gather(given.directories)
    first = given.directories[0]
    run_dir = first.parent if first in merged.directories else first
    overrides = [*_overrides(merged.directories[0]), *given.set]
    print(
        f"joining {len(merged.directories)} shards into {run_dir}: headprobes "
        + " ".join(overrides),
        file=sys.stderr,
    )
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
    with redeliver_lost_interrupts(), terminable(), held(run_dir):
        if is_finished(run_dir):
            raise finished_already(run_dir, "run")
        remove_unfinished(run_dir)
        save_configs(run_dir, {"config": cfg, "overrides": OmegaConf.create(overrides)})
        with logged(run_dir, LOG), failures_recorded(run_dir):
            prepared = prepare(config)
            with heavy_imports():
                from probes.pipeline.run import run_prepared
            run_prepared(prepared, run_dir, merged)


def _overrides(directory: Path) -> Sequence[str]:
    """What the command line of a shard set, without the number of the shard."""
    from omegaconf import OmegaConf

    path = directory / ".hydra" / "overrides.yaml"
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:
        raise UserError(f"{path} cannot be read ({error})", fix="running the shard again") from None
    lines = [str(line) for line in content] if isinstance(content, list) else []
    return [line for line in lines if line.partition("=")[0].lstrip("+") != "shard"]
