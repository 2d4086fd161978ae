"""The command ``run``: from overrides to a run, a sweep or an atlas.

Hydra composes the configuration; a multirun calls ``_run_job`` for each of its jobs.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from probes.cli.messages import DONE, INTERRUPTED, describe, hide_home, report
from probes.cli.overrides import check_keys, checked, explained
from probes.config import ComposedConfig, register
from probes.config.checks import check, check_atlas
from probes.config.files import config_dir
from probes.core.errors import ERROR_FILE, UserError
from probes.core.files import write_atomically
from probes.core.process import heavy_imports, redeliver_lost_interrupts
from probes.sweeps.hydra_callback import sweep_reports

log = logging.getLogger("probes")


def run(overrides: Sequence[str]) -> int:
    """Compose the configuration and run the job, or the jobs of a sweep; the exit status."""
    register()
    failures: list[Exception] = []

    def job(cfg: DictConfig) -> None:
        try:
            _run_job(cfg)
        except Exception as error:
            # Hydra would print a header of its own, and a sweep would stop at the first failure.
            _record_failure(error)
            failures.append(error)

    try:
        overrides = checked(overrides)
    except UserError as error:
        return report(error)
    command = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")
    wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    try:
        with (
            redeliver_lost_interrupts(),
            sweep_reports() as reports,
            _arguments(overrides),
            _full_errors(),
        ):
            command(job)()
    except KeyboardInterrupt:
        print(
            "\nInterrupted. The same command resumes where the extraction stopped.", file=sys.stderr
        )
        return INTERRUPTED
    except HydraException as error:
        failures.append(explained(error, overrides) or error)
    except Exception as error:
        failures.append(error)
    statuses = [report(error, with_traceback=wants_tracebacks) for error in failures]
    if statuses:
        return max(statuses)
    # A launcher may have run the jobs in other processes: their failures are in the reports.
    return max((sweep.exit_status for sweep in reports), default=DONE)


@contextmanager
def _arguments(overrides: Sequence[str]) -> Iterator[None]:
    """Give Hydra these arguments: it takes them from the process only."""
    before = sys.argv
    sys.argv = [before[0], *overrides]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _full_errors() -> Iterator[None]:
    """Have Hydra raise its errors of composition, where it would print them and exit with 1."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _run_job(cfg: DictConfig) -> None:
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    hide_home(run_dir / ".hydra")
    if (run_dir / "run.json").exists():
        raise UserError(
            f"hydra.run.dir={run_dir}: it already holds a finished run",
            fix="another directory, or leave hydra.run.dir out",
        )
    (run_dir / ERROR_FILE).unlink(missing_ok=True)
    composed = parse(cfg)
    base = composed.run_config()
    check(base)
    # Late: NumPy, which --help and a mistyped key should not wait for; then torch, which takes
    # seconds and which nothing that was checked so far should wait for.
    if composed.atlas is None:
        from probes.pipeline.prepare import prepare

        prepared = prepare(base)
        with heavy_imports():
            from probes.pipeline.run import run_prepared
        run_prepared(prepared, run_dir)
    else:
        from probes.atlas.choice import chosen_entries

        check_atlas(base)
        chosen_entries(composed.atlas)
        with heavy_imports():
            from probes.atlas.run import run_atlas
        run_atlas(composed.atlas, base, run_dir)


def parse(cfg: DictConfig) -> ComposedConfig:
    """Plain dataclasses from Hydra's composed configuration.

    Raises:
        UserError: a mandatory key (``???``) was not given, or a key that a run does not have.
    """
    check_keys(cfg)
    missing = sorted(str(key) for key in OmegaConf.missing_keys(cfg))
    if missing:
        keys = ", ".join(missing)
        raise UserError(f"{keys} must be given", fix=" ".join(f"{key}=..." for key in missing))
    try:
        config = OmegaConf.to_object(cfg)
    except MissingMandatoryValue as error:
        raise UserError(str(error).splitlines()[0]) from error
    assert isinstance(config, ComposedConfig)
    return config


def _record_failure(error: Exception) -> None:
    """Leave ``error.json`` in the job's directory, which the sweep's report reads."""
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    record = {"kind": type(error).__name__, "error": describe(error) or repr(error)}
    try:
        write_atomically(run_dir / ERROR_FILE, json.dumps(record, indent=2))
    except OSError as problem:
        log.warning("could not write %s: %s", run_dir / ERROR_FILE, problem)
