from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from probes.core.overrides import quoted
from tests.commands import Command, Commands
from tests.tiny_checkpoints import make_tokenizer
from tests.tiny_handles import llama_directory, talking
from tests.tiny_models import build_with_head

__all__ = [
    "commands", "edited_ioi", "llama_directory", "small", "talking", "undisturbed",
    "undisturbed_effects",
]  # fmt: skip

RUN_FILES = ("results.csv", "probes.safetensors", "probes.json", "evidence.safetensors")


@dataclass
class Small:
    """A run of seconds whose fits have twelve parts, as a command."""

    commands: Commands
    overrides: list[str]

    def start(self, run_dir: Path, *more: str, **variables: str) -> Command:
        own = f"hydra.run.dir={quoted(str(run_dir))}"
        return self.commands.start(*self.overrides, own, *more, **variables)

    def merge(self, *directories: Path, more: Sequence[str] = ()) -> Command:
        return self.commands.start("merge", *map(str, directories), *more)

    def run(self, run_dir: Path, *more: str, **variables: str) -> Command:
        command = self.start(run_dir, *more, **variables)
        assert command.wait() == 0, command.text
        return command


def results_of(run_dir: Path) -> dict[str, bytes]:
    """The files of a finished run in which equal runs are equal."""
    names = [*RUN_FILES, *(f"maps/{path.name}" for path in (run_dir / "maps").iterdir())]
    return {name: (run_dir / name).read_bytes() for name in sorted(names)}


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path_factory.mktemp("commands"), project)
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def small(
    commands: Commands, llama_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Small:
    cache_dir = tmp_path_factory.mktemp("cache")
    overrides = [
        "model=hf",
        f"model.name={llama_directory}",
        f"cache_dir={cache_dir}",
        "corpus.sentences=60",
        "features=[upos]",
        "min_count=5",
        "evaluation.bootstrap=20",
        "trainer.progress=false",
    ]
    return Small(commands, overrides)


@pytest.fixture(scope="session")
def undisturbed(small: Small, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed run leaves."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    small.run(run_dir)
    return results_of(run_dir)


@pytest.fixture(scope="session")
def edited_ioi(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A run whose effects have dozens of parts: batches of few texts."""
    directory, tokenizer = tmp_path_factory.mktemp("models") / "long", make_tokenizer()
    model = build_with_head(
        "llama_gqa", torch.float32, vocab_size=len(tokenizer), max_position_embeddings=256
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    overrides = [
        "model=hf", f"model.name={directory}", "corpus=ioi", "corpus.examples=24",
        "features=[indirect_object]", "min_count=1",
        "methods=[probe,ablation,patching,attribution,direct_logit]",
        "extraction.tokens_per_batch=512", "evaluation.bootstrap=20", "trainer.progress=false",
        f"cache_dir={tmp_path_factory.mktemp('edited') / 'cache'}",
    ]  # fmt: skip
    return Small(commands, overrides)


@pytest.fixture(scope="session")
def undisturbed_effects(edited_ioi: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of that run, from one process."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "effects"
    edited_ioi.run(run_dir)
    return run_dir
