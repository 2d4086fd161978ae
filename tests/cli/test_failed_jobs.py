"""A job that failed leaves nothing in the process: open files, activations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from omegaconf import DictConfig

from probes.cli import run as module
from probes.core.errors import UserError

JOBS = 8
"""Enough for what each leaves to be seen."""


class _Big:
    """Stands for activations."""

    alive = 0

    def __init__(self) -> None:
        _Big.alive += 1

    def __del__(self) -> None:
        _Big.alive -= 1


@pytest.mark.parametrize("kind", [UserError, ValueError])
def test_failing_jobs_of_a_sweep(
    kind: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened: list[int] = []
    alive: list[int] = []

    def fail(cfg: DictConfig) -> None:
        if cfg.until == "extraction":  # the sweep begins with it
            return
        opened.append(len(os.listdir("/proc/self/fd")))
        alive.append(_Big.alive)
        file, big = (tmp_path / "file").open("wb"), _Big()
        big.itself = big  # type: ignore[attr-defined]
        try:
            raise OSError("the first reason")
        except OSError as error:
            raise kind(f"wrong in {file.name} {len(vars(big))}") from error

    monkeypatch.setattr(module, "run_job", fail)
    seeds = ",".join(str(seed) for seed in range(JOBS))
    status = module.run(["-m", f"seed={seeds}", f"hydra.sweep.dir={tmp_path / 'sweep'}"])
    assert status == (2 if kind is UserError else 1)
    assert len(opened) == JOBS and max(opened) <= opened[0] + 2, opened
    assert max(alive) == 0
    shown = capsys.readouterr().err
    assert shown.count("wrong in") >= JOBS
    assert ("Traceback" in shown) == (kind is ValueError)
