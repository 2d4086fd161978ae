"""Manifests of caches with changes under a checksum that is right, and bytes of its files damaged:
refused with one message, or the same numbers."""

from __future__ import annotations

import json
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.activations.layout import seal
from probes.core.errors import UserError
from probes.models.handle import Handle
from tests.mutations import EXAMPLES, STRIDES, changed_json, fuzz, written
from tests.small_corpora import corpus_of_words, random_texts

FILES = ("manifest.json", "rows.safetensors", "layer_000.safetensors", "layer_001.safetensors")


@pytest.fixture(scope="module")
def original(llama: Handle, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    corpus = corpus_of_words(random_texts(8))
    return extract(llama, corpus, cache_dir=tmp_path_factory.mktemp("caches"))["heads"]


@pytest.fixture
def directory(original: Cache, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original.directory, tmp_path / original.directory.name))


def same_or_refused(directory: Path, original: Cache) -> None:
    with suppress(UserError):
        cache = Cache.open(directory)
        cache.verify()
        assert set(cache.rows) == set(original.rows)
        for info in cache.layers:
            assert torch.equal(cache.layer(info.layer), original.layer(info.layer))
        for name, values in cache.rows.items():
            assert (values == original.rows[name]).all()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("sealed", [True, False])
def test_changed_manifests(directory: Path, original: Cache, examples: int, sealed: bool) -> None:
    path = directory / "manifest.json"
    content = json.loads(path.read_text())

    def check(changed: Any) -> None:
        try:
            raw = seal(changed) if sealed and isinstance(changed, dict) else written(changed)
        except (ValueError, TypeError):  # keys of several kinds have no order
            raw = written(changed)
        path.write_bytes(raw)
        same_or_refused(directory, original)

    fuzz(changed_json(content), examples, check)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", FILES)
def test_bytes_of_a_header_and_some_of_the_rest(
    directory: Path, original: Cache, name: str, stride: int
) -> None:
    path = directory / name
    content = path.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0] if name != "manifest.json" else len(content)
    rest = range(header, len(content), max(1, (len(content) - header) // 40))
    every = range(0, header, stride if name != "manifest.json" else 3 * stride)
    for place in [*every, *rest]:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        same_or_refused(directory, original)


@pytest.mark.parametrize("name", FILES)
def test_every_length_of_a_header_and_some_of_the_rest(
    directory: Path, original: Cache, name: str
) -> None:
    path = directory / name
    content = path.read_bytes()
    step = max(1, len(content) // 150)
    for length in [*range(0, min(200, len(content))), *range(200, len(content), step)]:
        path.write_bytes(content[:length])
        if name == "manifest.json" and content[length:].isspace():
            continue
        with pytest.raises(UserError):
            Cache.open(directory)
