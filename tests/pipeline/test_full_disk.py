"""A disk that fills up, whatever is being written: one message, and the same command goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from probes import load_run
from tests.commands import FULL_DISK_AT, Command
from tests.pipeline.conftest import Small, results_of

OF_A_RUN = (
    *("overrides.yaml", "identity", "manifest.json", "*.part", "results.csv"),
    *("evidence.safetensors", "probes.safetensors", "probes.json", "report.html", "run.json"),
)
"""Every kind of file that a run gives its name when it is complete, in their order."""


def refused(command: Command) -> None:
    """It ended with one message."""
    assert command.wait() == 2, command.text
    assert command.text.count("error: ") == 1 and "Traceback" not in command.text, command.text
    assert "No space left on device" in command.text and "Try " in command.text, command.text


def test_a_run_goes_on_wherever_the_disk_was_full(
    small: Small, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    run_dir, cache = tmp_path / "run", f"cache_dir={tmp_path / 'cache'}"
    for pattern in OF_A_RUN:
        refused(small.start(run_dir, cache, **{FULL_DISK_AT: pattern}))
        assert not (run_dir / "run.json").exists() and not list(tmp_path.rglob("*.new"))
    small.run(run_dir, cache)
    assert results_of(run_dir) == undisturbed


def test_shards_and_what_joins_them_go_on(
    small: Small, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    for index in (0, 1):
        refused(small.start(tmp_path, f"shard={index}/2", **{FULL_DISK_AT: "shard.json"}))
        small.run(tmp_path, f"shard={index}/2")
    for pattern in ("config.yaml", "results.csv", "run.json"):
        refused(small.commands.start("merge", str(tmp_path), **{FULL_DISK_AT: pattern}))
    assert small.merge(tmp_path).wait() == 0
    assert results_of(tmp_path) == undisturbed


def test_a_sweep_goes_on(small: Small, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    command = ["-m", *small.overrides, f"hydra.sweep.dir={tmp_path}", "seed=0", "layers=null"]
    for pattern in ("kept.json", "sweep.csv", "sweep.html"):
        words = [*command, "keep_parts=true"]
        refused(small.commands.start(*words, **{FULL_DISK_AT: pattern}))
    written = (tmp_path / "0" / "run.json").stat().st_mtime_ns
    small.commands.run(*command)
    assert (tmp_path / "sweep.html").is_file() and (tmp_path / "sweep.csv").is_file()
    assert (tmp_path / "0" / "run.json").stat().st_mtime_ns == written, "the job was done before"
    assert results_of(tmp_path / "0") == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def test_a_real_disk_that_is_full_when_results_are_written(
    small: Small, undisturbed: dict[str, bytes], small_disk: Path
) -> None:
    run_dir, ballast = small_disk / "run", small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        command = small.start(run_dir)
        command.wait_for(run_dir, "parts/*.part", 2)
        with suppress(OSError):
            while file.write(bytes(4096)):
                pass
    refused(command)
    ballast.unlink()
    small.run(run_dir)
    assert results_of(run_dir) == undisturbed and load_run(run_dir).features == ["upos"]
