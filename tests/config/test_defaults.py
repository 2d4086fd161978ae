"""Defaults are said in the dataclasses; a file of conf/ repeats one only to show it, never another.

Each value of a choice is the default of its dataclass, or listed below as meant to differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import OmegaConf

from probes.config import (
    SCHEMAS,
    LoggerConfig,
    ModelConfig,
    SimplifiedConfig,
    TrainerConfig,
)
from probes.config.files import config_dir

BY_GROUP: dict[str, Any] = {
    "logger": LoggerConfig(),
    "model": ModelConfig(simplified=SimplifiedConfig()),
    "trainer": TrainerConfig(),
}
FILES = sorted(
    f"{group}/{file.stem}"
    for group in (*SCHEMAS, *BY_GROUP)
    for file in (config_dir() / group).glob("*.yaml")
)
CHOSEN = {"name"}
"""What makes a choice that choice."""

DIFFERENT: dict[str, str] = {
    "corpus/acronyms": "options",
    "corpus/ag_news": "path splits labels classes max_examples",
    "corpus/agenda": "splits",
    "corpus/binary": "examples",
    "corpus/blimp": "path files pairs preferred",
    "corpus/choices": "examples",
    "corpus/coloured_objects": "examples options",
    "corpus/consistency": "examples options",
    "corpus/ethos": "path files format delimiter text labels threshold",
    "corpus/ethos_targets": "path files format delimiter text labels threshold",
    "corpus/facts": "examples options",
    "corpus/faithfulness": "examples",
    "corpus/few_shot": "examples options",
    "corpus/function_vectors": "outputs",
    "corpus/functions": "examples options",
    "corpus/induction": "examples options",
    "corpus/insertion": "examples",
    "corpus/ioi": "examples options",
    "corpus/iteration": "options",
    "corpus/key_value": "options",
    "corpus/known_1000": "path files text labels group answer peers swap level classes",
    "corpus/languages": "examples options",
    "corpus/logiqa": "path revision question options answer max_characters",
    "corpus/markov": "options",
    "corpus/mmlu": "path config splits",
    "corpus/moods": "examples options",
    "corpus/mquake": "path splits text labels group level answer",
    "corpus/needle": "options",
    "corpus/reviews": "examples",
    "corpus/senteval": "path files feature_per_file format header split labels text",
    "corpus/sst": "path train validation test format labels classes",
    "corpus/sst2": "path splits text labels classes max_examples",
    "corpus/sst_fine": "path train validation test format labels classes",
    "corpus/structure": "options",
    "corpus/subwords": "options",
    "corpus/succession": "examples options",
    "corpus/trec": "path train test format encoding labels cut",
    "corpus/trivia_qa": "path config splits text labels group level max_examples",
    "corpus/wnut17": "path train validation test",
    "corpus/word_relations": "examples",
    "trainer/cpu": "accelerator",
    "trainer/gpu": "accelerator",
}
"""Choice -> keys whose values are its own and not the dataclass's default."""


def schema_of(choice: str, content: dict[str, Any]) -> Any:
    """The configuration that a choice extends, with its defaults."""
    group = choice.partition("/")[0]
    if group in BY_GROUP:
        return BY_GROUP[group]
    for entry in content.get("defaults", []):
        if isinstance(entry, dict):
            (name,) = (str(value) for key, value in entry.items() if f"schema/{group}" in str(key))
            return SCHEMAS[group][name]()
        if entry != "_self_":
            return schema_of(choice, loaded(f"{group}/{entry}"))
    raise AssertionError(f"{choice} extends no schema")


def loaded(choice: str) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(config_dir() / f"{choice}.yaml"))
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def values(content: Any, defaults: Any, prefix: str = "") -> Iterator[tuple[str, object, object]]:
    """(key, value of the file, default) of every leaf."""
    for key, value in content.items():
        default = getattr(defaults, key)
        if dataclasses.is_dataclass(default):
            yield from values(value, default, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value, default


@pytest.mark.parametrize("choice", FILES)
def test_every_value_is_the_default_or_meant_to_differ(choice: str) -> None:
    content = loaded(choice)
    defaults = schema_of(choice, content)
    own = {key: value for key, value in content.items() if key != "defaults"}
    different = {key for key, value, default in values(own, defaults) if value != default}
    assert different - CHOSEN == set(DIFFERENT.get(choice, "").split())


def test_no_choice_is_listed_that_is_gone() -> None:
    assert set(DIFFERENT) <= set(FILES)
