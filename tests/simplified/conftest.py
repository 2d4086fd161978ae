"""A task that is learned in seconds: say the second word of the text again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from random import Random
from types import ModuleType

import pytest

from probes.config import GeneratedConfig, ModelConfig, SimplifiedConfig, TrainerConfig
from probes.corpora import generated
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt
from probes.simplified import examples, store

WORDS = [f"word{number}" for number in range(8)]
SILENT = TrainerConfig(accelerator="cpu", progress=False)


def _generate(config: GeneratedConfig) -> GeneratedCorpus:
    chosen = options("copy", config.options, {"length": 5, "rare": False, "silent": False})
    random = Random(config.seed)

    def stream() -> Iterator[Prompt]:
        for number in count():
            said = [random.choice(WORDS) for _ in range(chosen["length"])]
            if chosen["rare"] and number == 0:
                said[0] = f"rare{config.seed}"
            text = " ".join(said) + ", then?"
            targets = () if chosen["silent"] else ((len(text), said[1]),)
            yield Prompt(text, said[0], (), {"answer": said[1]}, targets)

    return GeneratedCorpus("copy", stream(), "first word", ("answer",), {})


@pytest.fixture(autouse=True)
def copy_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generated task ``copy``, in small blocks."""
    module = ModuleType("probes.corpora.generated.copy")
    module.generate = _generate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = (*generated.names(), "copy")
    monkeypatch.setattr(generated, "names", lambda: names)
    monkeypatch.setattr(examples, "BLOCK", 64)
    monkeypatch.setattr(store, "HELD_OUT", 32)


def model(**changes: object) -> ModelConfig:
    """A tiny model of that task."""
    small = {"task": "copy", "layers": 1, "heads": 2, "width": 16, "batch_size": 16, "steps": 12,
             "warmup": 2, "evaluate_every": 5, "target": None, "checkpoints": [0, 6],
             "context": 32}  # fmt: skip
    return ModelConfig(
        name="simplified",
        device="cpu",
        simplified=SimplifiedConfig(**(small | changes)),  # type: ignore[arg-type]
    )
