"""A run that is killed while it edits heads: the same command goes on, in the same bytes."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from probes.models.handle import Handle
from tests.commands import Commands
from tests.pipeline.conftest import Small, results_of
from tests.pipeline.mood_table import write_table

STORED = re.compile(r"(\d+) parts of the effects were stored before")


@pytest.fixture(scope="module")
def edited(commands: Commands, talking: Handle, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A run whose effects have hundreds of parts: batches of few texts."""
    folder = tmp_path_factory.mktemp("edited")
    write_table(folder / "moods.csv", count=48)
    overrides = [
        "model=hf", f"model.name={talking.name}", "corpus=table",
        f"corpus.path={folder / 'moods.csv'}", "+corpus.labels.mood=mood", "corpus.split=split",
        "corpus.answer=answer", "corpus.alternatives=alternatives", "split.source=shipped",
        "methods=[ablation,steering]", "steering.heads=[1,3]", "steering.strengths=[-4,4]",
        "extraction.tokens_per_batch=128", "evaluation.bootstrap=20", "trainer.progress=false",
        f"cache_dir={folder / 'cache'}",
    ]  # fmt: skip
    return Small(commands, overrides)


def stored(run_dir: Path, method: str = "") -> list[Path]:
    return sorted(run_dir.glob(f"parts/{method}*.effect"))


def kill(small: Small, run_dir: Path, pattern: str, count: int, *more: str) -> str:
    command = small.start(run_dir, *more)
    command.wait_for(run_dir, f"parts/{pattern}*.effect", count)
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL, "it ended before it was killed"
    return command.text


def counted(text: str) -> int:
    found = STORED.search(text)
    return int(found[1]) if found else 0


def test_the_same_command_goes_on_with_the_effects(edited: Small, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    edited.run(undisturbed)
    assert not (undisturbed / "parts").exists()
    run_dir = tmp_path / "killed"
    kill(edited, run_dir, "ablation", 3)
    first = stored(run_dir)
    untouched = {path: path.stat().st_mtime_ns for path in first}
    text = kill(edited, run_dir, "steering", 2)
    assert counted(text) == len(first), "nothing is measured twice"
    assert {path: path.stat().st_mtime_ns for path in first} == untouched
    assert len(stored(run_dir, "ablation")) > len(first)
    damaged = stored(run_dir)[:2]
    damaged[0].write_bytes(damaged[0].read_bytes()[:-1])  # as a power cut may leave one
    damaged[1].write_bytes(bytes(damaged[1].stat().st_size))
    before = len(stored(run_dir))
    text = edited.run(run_dir).text
    assert counted(text) == before - 2 and text.count("it is measured again") == 2
    assert results_of(run_dir) == results_of(undisturbed)
    assert not (run_dir / "parts").exists()


def test_effects_of_other_settings_are_not_taken(edited: Small, tmp_path: Path) -> None:
    kill(edited, tmp_path, "ablation", 3, "ablation.kind=zero")
    text = edited.run(tmp_path).text
    assert "of other settings; it is measured again" in text and not counted(text)
