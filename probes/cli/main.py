"""The command line: ``python train.py`` and the installed ``headprobes``.

Hydra composes the configuration; this module runs the job and turns what goes wrong into one
message. Exit status: 0 done, 2 the user can fix it, 1 a bug (with its traceback), 130 interrupted.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from probes.config import register
from probes.config.checks import check
from probes.config.files import config_dir
from probes.core.errors import ERROR_FILE, UserError
from probes.core.process import heavy_imports, redeliver_lost_interrupts

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from probes.config import RunConfig

log = logging.getLogger("probes")


def main() -> None:
    """Compose the configuration, run the job or the jobs of a sweep, and exit."""
    sys.exit(_main())


def _main() -> int:
    import hydra

    from probes.sweeps.hydra_callback import sweep_reports

    register()
    failures: list[Exception] = []

    def job(cfg: DictConfig) -> None:
        try:
            _run_job(cfg)
        except Exception as error:
            # Hydra would print a header of its own, and a sweep would stop at the first failure.
            _record_failure(error)
            failures.append(error)

    command = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="config")
    user_wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors of composition come here instead of to exit(1)
    try:
        with redeliver_lost_interrupts(), sweep_reports() as reports:
            command(job)()
    except KeyboardInterrupt:
        print(
            "\nInterrupted. The same command resumes where the extraction stopped.", file=sys.stderr
        )
        return 130
    except Exception as error:
        failures.append(error)
    finally:
        if not user_wants_tracebacks:
            del os.environ["HYDRA_FULL_ERROR"]
    if not failures:  # a launcher may have run the jobs in other processes
        return max((report.exit_status for report in reports), default=0)
    return max(_report(error, user_wants_tracebacks) for error in failures)


def _run_job(cfg: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig

    run_dir = Path(HydraConfig.get().runtime.output_dir)
    hide_home(run_dir / ".hydra")
    if (run_dir / "run.json").exists():
        raise UserError(
            f"hydra.run.dir={run_dir}: a finished run lies there",
            fix="another directory, or leave hydra.run.dir out",
        )
    (run_dir / ERROR_FILE).unlink(missing_ok=True)
    config = parse(cfg)
    check(config)  # before the libraries of the run or the atlas, which take time to import
    # Late: torch takes seconds, a typo should not.
    if config.atlas is not None:
        from probes.atlas.choice import chosen_entries

        chosen_entries(config.atlas)
        with heavy_imports():
            from probes.atlas.run import run_atlas

        run_atlas(config.atlas, replace(config, atlas=None), run_dir)
        return
    from probes.pipeline.run import run

    run(config, run_dir)


def parse(cfg: DictConfig) -> RunConfig:
    """Plain dataclasses from Hydra's composed configuration.

    Raises:
        UserError: a mandatory key (``???``) was not given.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    missing = sorted(str(key) for key in OmegaConf.missing_keys(cfg))
    if missing:
        keys = ", ".join(missing)
        raise UserError(f"{keys} must be given", fix=" ".join(f"{key}=..." for key in missing))
    try:
        config = OmegaConf.to_object(cfg)
    except MissingMandatoryValue as error:
        raise UserError(str(error).splitlines()[0]) from error
    return config  # type: ignore[return-value]


def hide_home(folder: Path) -> None:
    """Write ``~`` for the user's home directory in the configs that Hydra saved."""
    home = os.path.expanduser("~").rstrip("/")
    if len(home) < 2:
        return
    for file in folder.glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        if home in text:
            file.write_text(text.replace(home + "/", "~/").replace(home, "~"), encoding="utf-8")


def _record_failure(error: Exception) -> None:
    """Leave ``error.json`` in the job's directory, which the sweep's report reads."""
    from hydra.core.hydra_config import HydraConfig

    run_dir = Path(HydraConfig.get().runtime.output_dir)
    record = {"kind": type(error).__name__, "error": describe(error) or repr(error)}
    try:
        (run_dir / ERROR_FILE).write_text(json.dumps(record, indent=2), encoding="utf-8")
    except OSError as problem:
        log.warning("could not write %s: %s", run_dir / ERROR_FILE, problem)


def _report(error: Exception, with_traceback: bool) -> int:
    message = describe(error)
    if message is None or with_traceback:
        traceback.print_exception(error)
    if message is None:
        return 1
    print(f"error: {message}", file=sys.stderr)
    return 2


def describe(error: Exception) -> str | None:
    """The message of a mistake that the user can fix; ``None`` for anything else."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return str(UserError(f"no permission to write {error.filename}", fix="hydra.run.dir=DIR"))
    if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return str(UserError(f"{error.filename} is in the way: {error.strerror}"))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(UserError(f"the disk is full: {error}", fix="hydra.run.dir=DIR cache_dir=DIR"))
    if isinstance(error, HydraException | OmegaConfBaseException):
        reasons = [str(error)]
        while (cause := error.__cause__) is not None:
            reasons.append(str(cause))
            error = cause  # type: ignore[assignment]
        lines = [line.strip() for reason in reasons for line in reason.splitlines()]
        noise = ("Config search path", "provider=", "full_key:", "object_type=", "Set the env")
        unique = dict.fromkeys(line for line in lines if line and not line.startswith(noise))
        return "\n       ".join(unique) + "\n       See the keys and choices with --help"
    return None
