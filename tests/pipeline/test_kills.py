"""A run that is killed while it fits: the same command goes on, and ends in the same bytes."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from tests.pipeline.conftest import Small, results_of

STORED = re.compile(r"(\d+) parts of the fits were stored before")


def stored(run_dir: Path) -> int:
    return len(list(run_dir.glob("parts/*.part")))


def kill_in_fits(small: Small, run_dir: Path, *, after: int, pause: float = 0.0) -> str:
    """Begin the run, or go on with it, and kill it when so many parts are stored; its output."""
    command = small.start(run_dir)
    command.wait_for(run_dir, "parts/*.part", after)
    time.sleep(pause)
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL, "it ended before it was killed"
    return command.text


def test_the_same_command_goes_on_with_the_fits(
    small: Small, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    run_dir = tmp_path / "a run, with = and 'quotes'"
    kill_in_fits(small, run_dir, after=3)
    assert not (run_dir / "run.json").exists()
    before = stored(run_dir)
    text = kill_in_fits(small, run_dir, after=before + 2)
    found = STORED.search(text)
    assert found is not None and int(found[1]) == before, "nothing is fitted twice"
    damaged = sorted(run_dir.glob("parts/*.part"))[:2]
    damaged[0].write_bytes(damaged[0].read_bytes()[:-1])  # as a power cut may leave one
    damaged[1].write_bytes(bytes(damaged[1].stat().st_size))
    before = stored(run_dir) - 2
    text = small.run(run_dir).text
    found = STORED.search(text)
    assert found is not None and int(found[1]) == before
    assert text.count("it is fitted again") == 2
    assert results_of(run_dir) == undisturbed
    assert not (run_dir / "parts").exists()


def test_parts_of_other_settings_are_not_taken(
    small: Small, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    command = small.start(tmp_path, "seed=1")
    command.wait_for(tmp_path, "parts/*.part", 4)
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    text = small.run(tmp_path).text
    assert "of other settings; it is fitted again" in text and not STORED.search(text)
    assert results_of(tmp_path) == undisturbed


@pytest.mark.long
def test_kills_at_random_times(small: Small, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    chosen = random.Random(0)
    for number in range(12):
        run_dir = tmp_path / str(number)
        while True:
            command = small.start(run_dir)
            time.sleep(chosen.uniform(0.3, 4.0))
            os.kill(command.pid, signal.SIGKILL)
            before = stored(run_dir)
            if command.wait() == 0 or chosen.random() < 0.2:
                break
            assert stored(run_dir) >= before
        if not (run_dir / "run.json").exists():
            small.run(run_dir)
        assert results_of(run_dir) == undisturbed
