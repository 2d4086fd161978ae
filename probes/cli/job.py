"""One job: a run or an atlas in a directory that no other process writes meanwhile.

Hydra makes the directory and nothing in it (``hydra.output_subdir=null``). A finished run is
refused before anything is written there, and kept where it is the same job of a sweep.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from probes.cli.messages import describe
from probes.cli.overrides import check_keys
from probes.config import ComposedConfig
from probes.config.checks import check, check_atlas
from probes.core.claims import AlreadyFinished, InUse, held
from probes.core.directories import make_directory
from probes.core.environment import text_without_home
from probes.core.errors import ERROR_FILE, UserError
from probes.core.files import write_atomically
from probes.core.process import Terminated, heavy_imports
from probes.core.quiet import quiet_console
from probes.core.shown import ShownFormatter
from probes.passes.shard_choice import chosen_shard
from probes.passes.shards import WHOLE
from probes.pipeline.sharded_fits import shard_directory
from probes.results.integrity import RUN_FILES, has_content
from probes.results.record import IDENTITY_FILE, RECORD, intact, is_finished, read_record
from probes.sweeps.refusals import note_refusal

log = logging.getLogger("probes")

CONFIGS, ATLAS = ".hydra", "atlas.json"
LINE = "[%(asctime)s][%(name)s][%(levelname)s] %(message)s"


def run_job(cfg: DictConfig) -> float | None:
    """Claim the directory that Hydra chose, and run the job that ``cfg`` describes there.

    An error or an interruption is left in the directory (``error.json``), unless it is another
    run's. What a job of a sweep prints and logs is written to the directory alone, but for lines
    about progress.

    Returns:
        What a search maximises (``objective``); None for an atlas.

    Raises:
        UserError: what is wrong, what is allowed and which override fixes it.
    """
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    if not in_sweep and (cfg.get("sweep") is not None or cfg.get("plan")):
        key = "sweep" if cfg.get("sweep") is not None else "plan"
        raise UserError(
            f"{key}={cfg[key]}: only a sweep has a {'name' if key == 'sweep' else 'plan'}",
            fix=f"-m {key}={str(cfg[key]).lower() if key == 'plan' else cfg[key]}",
        )
    try:
        return _claimed(cfg, run_dir)
    except (AlreadyFinished, InUse) as error:
        if in_sweep:
            note_refusal(Path(HydraConfig.get().sweep.dir), run_dir, error)
        raise


def _claimed(cfg: DictConfig, run_dir: Path) -> float | None:
    """Run the job in its directory, unless that is finished; its objective."""
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    if is_finished(run_dir) and _keep_or_refuse(cfg, run_dir):
        return _objective(cfg, run_dir)
    if has_content(run_dir / ATLAS):
        _refuse_other_atlas(cfg, run_dir)
    shard = chosen_shard(cfg.get("shard"), os.environ)
    if shard != WHOLE:
        _check_shard(cfg)
        run_dir = shard_directory(run_dir, shard)
        run_dir.mkdir(exist_ok=True)
    with held(run_dir):
        if is_finished(run_dir) and _keep_or_refuse(cfg, run_dir):  # since
            return _objective(cfg, run_dir)
        _begin(cfg, run_dir)
        log_file = logged(run_dir, log_name())
        with log_file, quiet_console(run_dir / log_name()) if in_sweep else nullcontext():
            with failures_recorded(run_dir):
                _carry_out(cfg, run_dir)
            # A run without the number that is asked for is finished nevertheless.
            return _objective(cfg, run_dir) if in_sweep else None


def _check_shard(cfg: DictConfig) -> None:
    """Refuse shards of what is no single run."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError(
            f"shard={cfg.shard} goes with one run, not with a sweep (-m)",
            fix="shard=null, or a command for each job of the sweep",
        )
    if cfg.get("atlas") is not None:
        raise UserError(
            f"shard={cfg.shard} goes with one run, not with an atlas",
            fix="atlas.corpora=[...] to divide an atlas over several commands",
        )


def _carry_out(cfg: DictConfig, run_dir: Path) -> None:
    composed = parse(cfg)
    base = composed.run_config()
    check(base)
    make_directory(Path(os.path.expanduser(base.cache_dir)), "cache_dir")
    # Late: NumPy, which --help and a mistyped key should not wait for; then torch, which takes
    # seconds and which nothing that was checked so far should wait for.
    if composed.atlas is None:
        from probes.pipeline.identity import job_identity
        from probes.pipeline.prepare import prepare
        from probes.results.objective import check_objective

        check_objective(base.objective)
        prepared = prepare(base)
        identity = job_identity(base, prepared.corpus)
        write_atomically(run_dir / CONFIGS / IDENTITY_FILE, identity, durable=False)
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


def _objective(cfg: DictConfig, run_dir: Path) -> float | None:
    """What a search maximises, from the results of a finished run."""
    composed = parse(cfg)
    if composed.atlas is not None or composed.until != "report" or "probe" not in composed.methods:
        return None
    from probes.results.objective import objective_of
    from probes.results.table import read_results

    return objective_of(read_results(run_dir / "results.csv"), composed.objective)


def _keep_or_refuse(cfg: DictConfig, run_dir: Path) -> bool:
    """Keep a finished job of a sweep that was begun again; refuse any other finished run.

    Returns:
        Whether it is kept; a job of a sweep whose files are damaged is not, but run again.
    """
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        raise finished_already(run_dir, "run")
    # Late: NumPy and pandas, as above.
    from probes.pipeline.identity import gives_the_results_of
    from probes.pipeline.prepare import prepare

    composed = parse(cfg)
    base = composed.run_config()
    check(base)
    try:
        record = read_record(run_dir / RECORD)
        intact(run_dir, record)
    except UserError as error:
        log.warning("%s; the job is run again", error.wrong)
        return False
    same = composed.atlas is None and gives_the_results_of(record, base)
    if not same or prepare(base).corpus.fingerprint != record.corpus.fingerprint:
        raise AlreadyFinished(
            f"{run_dir} holds a finished run of other settings or texts",
            fix="hydra.sweep.dir=ANOTHER_DIRECTORY",
        )
    log.info("%s: finished before", run_dir)
    if (run_dir / CONFIGS).is_dir():
        os.utime(run_dir / CONFIGS)  # by which the sweep's report knows its own jobs
    return True


def _refuse_other_atlas(cfg: DictConfig, run_dir: Path) -> None:
    """A finished atlas is made again from its parts, by the same settings only."""
    from probes.atlas.identity import is_of_settings  # late: NumPy and pandas

    composed = parse(cfg)
    if composed.atlas is None:
        raise finished_already(run_dir, "atlas")
    if not is_of_settings(run_dir, composed.atlas, composed.run_config()):
        raise AlreadyFinished(
            f"{run_dir} holds a finished atlas of other settings",
            fix="another directory: hydra.run.dir=DIR, or hydra.sweep.dir=DIR of a sweep",
        )


def finished_already(run_dir: Path, kind: str) -> AlreadyFinished:
    """The error for a directory that holds a finished run, or an atlas (``kind``)."""
    return AlreadyFinished(
        f"hydra.run.dir={run_dir}: it already holds a finished {kind}",
        fix="another directory, or leave hydra.run.dir out",
    )


def _begin(cfg: DictConfig, run_dir: Path) -> None:
    """Remove what an unfinished run left, and save the configuration as Hydra would."""
    remove_unfinished(run_dir)
    hydra_config = cast(DictConfig, HydraConfig.instance().cfg)
    save_configs(
        run_dir,
        # The overrides first: by them a sweep's report tells an extraction from a job.
        {"overrides": hydra_config.hydra.overrides.task, "config": cfg, "hydra": hydra_config},
    )


def remove_unfinished(run_dir: Path) -> None:
    """Remove what an unfinished run left, but for what this one can go on with."""
    if (run_dir / CONFIGS / "config.yaml").is_file() and not has_content(run_dir / ATLAS):
        names = (*RUN_FILES, RECORD, "report.html", ERROR_FILE)
        stale = [run_dir / name for name in names]
        stale += [path for end in ("png", "svg") for path in (run_dir / "maps").glob(f"*.{end}")]
        for path in stale:
            path.unlink(missing_ok=True)
    (run_dir / ERROR_FILE).unlink(missing_ok=True)


def save_configs(run_dir: Path, contents: Mapping[str, object]) -> None:
    """Save configurations as Hydra would, by name."""
    configs = run_dir / CONFIGS
    configs.mkdir(exist_ok=True)
    for name, content in contents.items():
        text = text_without_home(OmegaConf.to_yaml(content))
        write_atomically(configs / f"{name}.yaml", text, durable=False)


def log_name() -> str:
    """The file in a run's directory that has what was logged."""
    return f"{HydraConfig.get().job.name}.log"


@contextmanager
def failures_recorded(run_dir: Path) -> Iterator[None]:
    """Leave in the directory how what happens inside has failed."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        _record_failure(error, run_dir)
        raise


class RunLog(logging.FileHandler):
    """A log that goes on where its disk is full: what the run itself writes says so, once."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (of logging)
        """Report what went wrong with a line, unless it is the disk."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def logged(run_dir: Path, name: str) -> Iterator[None]:
    """What is logged inside is written to a file of the directory, too, with times."""
    handler = RunLog(run_dir / name, encoding="utf-8")
    handler.setFormatter(ShownFormatter(LINE))
    loggers = [log, logging.getLogger()]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()


def _record_failure(error: BaseException, run_dir: Path) -> None:
    """Leave ``error.json`` in the job's directory, which the sweep's report reads."""
    if isinstance(error, AlreadyFinished | InUse):
        return
    if isinstance(error, Exception):
        message = describe(error) or repr(error)
    else:
        message = "ended by SIGTERM" if isinstance(error, Terminated) else "interrupted (SIGINT)"
    record = {"kind": type(error).__name__, "error": message}
    try:
        write_atomically(run_dir / ERROR_FILE, json.dumps(record, indent=2))
    except OSError as problem:
        log.warning("could not write %s: %s", run_dir / ERROR_FILE, problem)
