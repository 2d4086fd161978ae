"""Caches that were stored before a family was proved are not found; others keep their names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from probes.activations.extraction import extract
from probes.activations.key import PROVED_ANEW, VERIFICATION, CacheKey, cache_key
from probes.config import ExtractionConfig, PositionConfig
from probes.models.handle import Handle
from tests.small_corpora import corpus_of_words, random_texts

CORPUS = corpus_of_words(random_texts(4))
SETTINGS: dict[str, Any] = {
    "layers": None,
    "position": PositionConfig(),
    "extraction": ExtractionConfig(dtype="float32"),
    "truncate": False,
}


def key_of(handle: Handle) -> CacheKey:
    return cache_key(handle, CORPUS, "heads", **SETTINGS)


def with_type(handle: Handle, model_type: str) -> Handle:
    return dataclasses.replace(handle, config=AutoConfig.for_model(model_type))


def test_the_key_of_an_accepted_family_has_the_fields_that_it_always_had(llama: Handle) -> None:
    assert "verification" not in key_of(llama).fields
    assert key_of(llama).name == key_of(with_type(llama, "gpt2")).name


@pytest.mark.parametrize("model_type", sorted(PROVED_ANEW))
def test_a_cache_of_before_is_not_found(llama: Handle, model_type: str) -> None:
    """The weights' fingerprint is the same; that the family is proved since then is not in it."""
    assert key_of(with_type(llama, model_type)).name != key_of(llama).name


def test_a_projection_that_was_named_is_proved_again(llama: Handle) -> None:
    settings = dataclasses.replace(llama.settings, head_projection="self_attn.o_proj")
    named = key_of(dataclasses.replace(llama, settings=settings))
    assert named.fields["verification"] == VERIFICATION


def test_stored_numbers_are_not_given_to_a_family_that_is_proved_anew(
    llama: Handle, tmp_path: Path
) -> None:
    extract(llama, CORPUS, cache_dir=tmp_path, **SETTINGS)
    assert key_of(llama).find(tmp_path) is not None
    assert key_of(with_type(llama, "convbert")).find(tmp_path) is None
