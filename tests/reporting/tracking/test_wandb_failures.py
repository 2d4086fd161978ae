"""W&B may fail at any call: the run goes on, and that is told once."""

from __future__ import annotations

import errno
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from probes.config import LoggerConfig
from probes.reporting.tracking.make_logger import make_logger
from probes.reporting.tracking.run_numbers import run_numbers
from probes.reporting.tracking.tables import heads_table
from tests.reporting.tracking.conftest import RECORD, TABLE, described
from tests.reporting.tracking.failing_wandb import Calls, install
from tests.reporting.tracking.test_wandb_run import CACHES, fits_of
from tests.reporting.tracking.wandb_files import offline_logs, read_log

pytestmark = pytest.mark.usefixtures("clean_wandb")

ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    RuntimeError("key planted-12345 refused"),
    SystemExit(1),
    ConnectionResetError("Connection lost"),
]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The warnings of a test."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                lines.append(record.getMessage())

    handler = Lines()
    logging.getLogger("probes").addHandler(handler)
    yield lines
    logging.getLogger("probes").removeHandler(handler)


def whole_run(run_dir: Path, mode: str) -> None:
    """Everything that a run tells its logger."""
    with make_logger(LoggerConfig(name="wandb", mode=mode), described(run_dir)) as logger:
        logger.log_facts(CACHES)
        logger.log_phase("fit")
        logger.log_curve([{"step": 1.0, "accuracy": 0.5}])
        logger.log_fits([fits_of(0, [0.3, 0.5])])
        logger.log_run(TABLE, RECORD)


@pytest.fixture(scope="module")
def computed() -> dict[str, Any]:
    """What the logger computes from the one run of this file, which dozens of attempts log."""
    return {"run_numbers": run_numbers(TABLE, RECORD), "heads_table": heads_table(TABLE)}


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_any_call_may_fail(
    run_dir: Path,
    mode: str,
    for_good: bool,
    told: list[str],
    computed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in computed.items():
        logger = "probes.reporting.tracking.wandb_logger"
        monkeypatch.setattr(f"{logger}.{name}", lambda *_, value=value: deepcopy(value))
    monkeypatch.setenv("PLANTED_TOKEN", "planted-12345")
    module = "probes.reporting.tracking.wandb_mode"
    monkeypatch.setattr(f"{module}.has_key", lambda: True)
    monkeypatch.setattr(f"{module}.server_address", lambda: "https://wandb.invalid")
    monkeypatch.setattr(f"{module}.reachable", lambda url: True)
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}

    def attempt(first: int) -> Calls:
        error = ERRORS[first % len(ERRORS)]
        calls = Calls(first, error, for_good=for_good)
        with pytest.MonkeyPatch.context() as patch:
            install(patch, calls, run_dir / "wandb" / "offline-run-1")
            whole_run(run_dir, mode)
        return calls

    whole = attempt(-1).names
    assert {"setup", "init", "define_metric", "config.update", "summary.update", "log", "Table",
            "Image", "Html", "Artifact", "log_artifact", "finish"} <= set(whole)  # fmt: skip
    assert not told and len(whole) > 20
    ends = {len(whole) - 1 - whole[::-1].index(name) for name in whole}
    for first in sorted(ends | {whole.index(name) for name in whole}):
        name = whole[first]
        told.clear()
        calls = attempt(first)
        # An offline start that fails once is tried again and told only if that fails, too.
        begun_again = name == "init" and not for_good and mode == "offline"
        assert len(told) == (0 if begun_again else 2 if _started_twice(told) else 1), (name, told)
        assert not any("planted" in line for line in told)
        if "settings" in calls.names:
            assert "finish" in calls.names, "whatever fails, the run is ended"
    for path, content in before.items():
        assert path.read_bytes() == content


def _started_twice(told: list[str]) -> bool:
    """Neither online nor offline: these are two failures, with a line each."""
    return len(told) == 2 and "did not start online" in told[0] and "starting failed" in told[1]


def test_an_unknown_failure_of_ours_is_one_of_wandb(
    run_dir: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("no such column")

    monkeypatch.setattr("probes.reporting.tracking.wandb_logger.heads_table", broken)
    install(monkeypatch, Calls(-1, OSError(), for_good=False), run_dir)
    whole_run(run_dir, "offline")
    assert len(told) == 1 and "no such column" in told[0]


def test_a_broken_package_costs_nothing(
    run_dir: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError):
        import wandb  # noqa: F401
    whole_run(run_dir, "offline")
    assert len(told) == 1 and "starting failed" in told[0]


def test_a_file_that_holds_a_key_is_not_sent(
    run_dir: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "planted-in-the-environment"
    monkeypatch.setenv("SOME_API_KEY", key)
    for name in ("results.csv", "report.html"):
        (run_dir / name).write_text((run_dir / name).read_text() + key)
    config = {"model": {"name": f"https://me:{key}@host/gpt2"}, "token": "t", "note": key}
    run = described(run_dir, config=config, model=f"m-{key}", corpus=f"c-{key}")
    with (
        pytest.raises(RuntimeError),
        make_logger(LoggerConfig(name="wandb", tags=[key]), run) as logger,
    ):
        logger.log_facts({"directory": key})
        logger.log_fits([fits_of(0, [0.5])])
        logger.log_run(TABLE, RECORD)
        raise RuntimeError(f"refused: {key} " + "hf_" + "x1" * 10)
    [log] = offline_logs(run_dir)
    found = read_log(log)
    [probes] = found["artifacts"]["probes"]
    assert set(probes.files) == {"probes.safetensors", "probes.json", "run.json"}
    assert "report" not in found["history"]
    assert [line.split()[1] for line in told if "not sent" in line] == [
        "report.html",
        "results.csv",
    ]
    assert found["summary"]["error"] == "RuntimeError: refused: *** ***"
    for path in (run_dir / "wandb").rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


def test_nothing_tells_user_machine_or_command(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["planted.py", "--planted"])
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "planted")
    with make_logger(LoggerConfig(name="wandb"), described(run_dir)) as logger:
        logger.log_run(TABLE, RECORD)
    [log] = offline_logs(run_dir)
    content = log.read_bytes()
    assert b"planted" not in content
    assert platform.node().encode() not in content or len(platform.node()) < 4
    assert not list(log.parent.rglob("wandb-metadata.json"))
    assert not list(log.parent.rglob("requirements.txt"))


def services() -> list[int]:
    """Processes of W&B's service that this process has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            command = process.joinpath("cmdline").read_bytes()
        except OSError:
            continue
        if parent == str(os.getpid()) and b"wandb" in command:
            found.append(int(process.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="reads /proc")
@pytest.mark.parametrize("when", ["at the beginning", "after the fits", "at the end", "before"])
def test_the_killed_service(run_dir: Path, told: list[str], when: str) -> None:
    def kill(now: str) -> None:
        if now == when:
            assert services()
            for number in services():
                os.kill(number, signal.SIGKILL)
            time.sleep(0.1)

    wandb = LoggerConfig(name="wandb")
    with make_logger(wandb, described(run_dir / "first")):
        pass
    kill("before")
    with make_logger(wandb, described(run_dir)) as logger:
        kill("at the beginning")
        for layer in range(4):
            logger.log_fits([fits_of(layer, [0.5])])
            time.sleep(0.05)
        kill("after the fits")
        logger.log_run(TABLE, RECORD)
        kill("at the end")
    expected = 0 if when == "before" else 1
    assert len(told) == expected, told
    assert all("wandb sync" in line for line in told)
    with make_logger(wandb, described(run_dir / "next")) as logger:
        logger.log_run(TABLE, RECORD)
    assert len(told) == expected
    [log] = offline_logs(run_dir / "next")
    assert read_log(log)["exit"] == 0, "the next run has a service of its own"
