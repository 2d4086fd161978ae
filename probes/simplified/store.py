"""Simplified models on disk: trained once for a configuration, then opened like any checkpoint.

``<cache_dir>/simplified/<task>-<key>/`` holds a Hugging Face checkpoint (config, weights,
tokenizer), ``training.csv`` and ``training.png``, ``simplified.json`` (what it is), and one
checkpoint for each step that was kept, ``steps/<step>/``. It is made under ``<name>.partial`` and
renamed when it is complete; an interrupted training goes on from there.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from probes.config import ModelConfig, SimplifiedConfig, TrainerConfig
from probes.config.names import slug
from probes.core.errors import UserError
from probes.core.files import (
    digest,
    disk_errors,
    locked,
    read_json,
    sync_directory,
    sync_tree,
    write_atomically,
)
from probes.corpora.generated.kit.prompt import Prompt
from probes.models.hf_messages import quiet
from probes.simplified.architecture import build_model, check_shape
from probes.simplified.curve import save_curve
from probes.simplified.examples import HELD_OUT, TrainingBatches, block_size, encode, prompts
from probes.simplified.training import SimplifiedModule, train
from probes.simplified.vocabulary import build_tokenizer, vocabulary

log = logging.getLogger(__name__)

SCHEMA = 1
ABOUT = "simplified.json"
STATE = "state.safetensors"
SPACE = 1 << 24
"""Bytes that a disk should have left, for the message when it has not."""
VOCABULARY_BLOCKS = 2
"""Blocks of prompts whose words are the vocabulary."""


def resolve(
    settings: ModelConfig, cache_dir: str | Path, trainer: TrainerConfig | None = None
) -> ModelConfig:
    """The settings with which ``open_model`` reads a simplified model; others stay as they are.

    Trains the model where ``cache_dir`` does not have it; a second process that needs the same
    model waits for the first. ``settings.checkpoint`` chooses one of the steps that were kept.

    Raises:
        UserError: an unknown task, architecture or option, an impossible shape, a prompt longer
            than the context, words that only later prompts have, or a step that was not kept.
    """
    config = settings.simplified
    if config is None:
        if settings.checkpoint is not None:
            raise UserError(
                f"model.checkpoint={settings.checkpoint}: only simplified models have kept steps",
                fix="model=simplified, or model.revision=REVISION for a model of the Hub",
            )
        return settings
    directory = trained(config, cache_dir, trainer or TrainerConfig())
    return replace(settings, name=str(_at(directory, settings.checkpoint)), revision=None)


def is_trained(config: SimplifiedConfig, cache_dir: str | Path) -> bool:
    """Whether ``cache_dir`` has the model that a configuration describes."""
    return _directory(config, Path(cache_dir)).is_dir()


def about(directory: str | Path) -> dict[str, Any]:
    """``simplified.json`` of a trained model: its configuration, accuracy, steps, seconds."""
    return read_json(Path(directory) / ABOUT)


def training_curve(settings: ModelConfig, cache_dir: str | Path) -> list[dict[str, float]]:
    """``training.csv`` of a simplified model that ``resolve`` has found or trained; else none."""
    if settings.simplified is None:
        return []
    table = _directory(settings.simplified, Path(cache_dir)) / "training.csv"
    with table.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def trained(config: SimplifiedConfig, cache_dir: str | Path, trainer: TrainerConfig) -> Path:
    """The directory of the model that a configuration describes, trained if need be."""
    check_shape(config)
    directory = _directory(config, Path(cache_dir))
    if directory.is_dir():
        log.info("simplified model reused from %s", directory)
        return directory
    with disk_errors(Path(cache_dir), SPACE):
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = directory.with_name(directory.name + ".lock")
        waiting = f"another run is training {directory}; waiting for it"
        with locked(lock, wait_message=waiting):
            # Another process may have finished it while this one waited.
            if not directory.is_dir():
                _train(config, directory, trainer)
    return directory


def _directory(config: SimplifiedConfig, cache_dir: Path) -> Path:
    """Named by everything that changes the weights, the first prompts of the task included."""
    first = prompts(config, 0, 64)
    seen = [(prompt.text, prompt.targets) for prompt in first]
    key = digest({"schema": SCHEMA, "config": asdict(config), "prompts": digest(seen)})
    return cache_dir / "simplified" / f"{slug(config.task)}-{key[:16]}"


def _at(directory: Path, step: int | None) -> Path:
    """The checkpoint after a step, the last for None."""
    if step is None:
        return directory
    last = int(about(directory)["steps"])
    kept = sorted(int(path.name) for path in (directory / "steps").iterdir())
    if step == last:
        return directory
    if step not in kept:
        raise UserError(
            f"model.checkpoint={step}: no checkpoint was kept at that step",
            allowed=", ".join(map(str, sorted({*kept, last}))),
            fix=f"model.checkpoint={min({*kept, last}, key=lambda one: abs(one - step))}, or "
            f"model.simplified.checkpoints=[{step}] model.simplified.target=null",
        )
    return directory / "steps" / str(step)


def _train(config: SimplifiedConfig, directory: Path, trainer: TrainerConfig) -> None:
    blocks = _first_blocks(config)
    tokenizer = build_tokenizer(
        vocabulary([p for block in blocks.values() for p in block], config.task), config.context
    )
    held_out = encode(prompts(config, "held-out", HELD_OUT), tokenizer, config.context, config.task)
    partial = directory.with_name(directory.name + ".partial")
    (partial / "steps").mkdir(parents=True, exist_ok=True)
    model = build_model(config, len(tokenizer))
    module = SimplifiedModule(model, config, held_out)
    log.info(
        "training a simplified model on '%s': %s, %d layers of %d heads, %s parameters, %d words",
        config.task,
        config.architecture,
        config.layers,
        config.heads,
        f"{sum(p.numel() for p in model.parameters()):,}",
        len(tokenizer) - 3,
    )

    def keep(step: int) -> None:
        _save(model, tokenizer, partial / "steps" / str(step))

    state = partial / STATE
    train(module, TrainingBatches(config, tokenizer, blocks), trainer, state=state, keep=keep)
    last = module.curve[-1]
    _warn_if_short(config, last.accuracy)
    _save(model, tokenizer, partial)
    with (partial / "training.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(last)))
        writer.writeheader()
        writer.writerows(asdict(point) for point in module.curve)
    save_curve(module.curve, config, partial / "training.png")
    facts = {
        "schema": SCHEMA,
        "config": asdict(config),
        "accuracy": last.accuracy,
        "steps": module.step,
        "seconds": last.seconds,
        "words": len(tokenizer) - 3,
    }
    write_atomically(partial / ABOUT, json.dumps(facts, indent=1))
    state.unlink(missing_ok=True)
    sync_tree(partial)
    os.replace(partial, directory)
    sync_directory(directory.parent)
    log.info(
        "accuracy %.3f on held-out prompts after %d steps, %.0f s; curve: %s",
        last.accuracy,
        module.step,
        last.seconds,
        directory / "training.png",
    )


def _first_blocks(config: SimplifiedConfig) -> dict[int, list[Prompt]]:
    """The first blocks of training, whose words are the vocabulary."""
    size = block_size(config)
    return {block: prompts(config, block, size) for block in range(VOCABULARY_BLOCKS)}


def _warn_if_short(config: SimplifiedConfig, accuracy: float) -> None:
    if config.target is not None and accuracy < config.target:
        log.warning(
            "the simplified model reached accuracy %.3f, not model.simplified.target=%s, in %d "
            "steps. Try model.simplified.steps=%d, or more layers or width",
            accuracy,
            config.target,
            config.steps,
            2 * config.steps,
        )


def _save(model: Any, tokenizer: Any, directory: Path) -> None:
    """Write a Hugging Face checkpoint; one that exists already is replaced by the same."""
    new = directory.with_name(directory.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    with quiet():
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
    directory.mkdir(exist_ok=True)
    for file in new.iterdir():
        os.replace(file, directory / file.name)
    new.rmdir()
