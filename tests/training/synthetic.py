"""A small cache in memory with a chosen signal in each head, and a task on its rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from probes.activations.cache import Cache
from probes.corpora.corpus import TEST, TRAIN, VALIDATION
from probes.corpora.tasks import Task
from probes.training.problems import ActivationSource


class MemoryCache:
    """What training uses of a cache; counts how often each head is read."""

    def __init__(self, layers: list[Tensor], stream: str = "encoder") -> None:
        self.tensors = layers
        self.layers = [
            SimpleNamespace(stream=stream, layer=i, units=len(z), width=z.shape[2], file=str(i))
            for i, z in enumerate(layers)
        ]
        self.n_rows = layers[0].shape[1]
        self.dtype = layers[0].dtype
        self.reads: dict[tuple[int, int], int] = {}

    def mapped(self, info: Any, heads: slice = slice(None)) -> Tensor:
        for head in range(*heads.indices(info.units)):
            self.reads[info.layer, head] = self.reads.get((info.layer, head), 0) + 1
        z: Tensor = self.tensors[info.layer][heads]
        return z


def as_cache(layers: list[Tensor]) -> Cache:
    """A ``MemoryCache`` where a cache is asked for."""
    return cast(Cache, MemoryCache(layers))


def memory(source: ActivationSource) -> MemoryCache:
    """The ``MemoryCache`` of a source."""
    return cast(MemoryCache, source.cache)


def make_labels(n: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, n)


def make_layer(labels: np.ndarray, signals: list[float], width: int, seed: int = 0) -> Tensor:
    """(H, N, D): class means of the given strength in noise, at scales that differ by head."""
    rng = np.random.default_rng(seed)
    heads = []
    for h, signal in enumerate(signals):
        means = rng.normal(size=(labels.max() + 1, width)) * signal
        z = rng.normal(size=(len(labels), width)) + means[labels]
        heads.append((z + 3) * 10.0 ** (h % 3 - 1))
    return torch.tensor(np.stack(heads), dtype=torch.float32)


def make_task(labels: np.ndarray, rows: np.ndarray | None = None, feature: str = "upos") -> Task:
    """Rows in runs of ten: seven to train, one to choose, two to score."""
    n = len(labels)
    rows = np.arange(n) if rows is None else rows
    tenth = rows % 10
    split = np.select([tenth < 7, tenth < 8], [TRAIN, VALIDATION], TEST).astype(np.int8)
    codes = rows.astype(np.int32)
    classes = tuple(f"class {c}" for c in range(labels[rows].max() + 1))
    return Task(
        feature=feature,
        level="word",
        classes=classes,
        rows=rows.astype(np.int64),
        labels=labels[rows].astype(np.int64),
        split=split,
        groups=codes // 10,
        types=codes,
        examples=codes // 10,
        texts=codes // 10,
        dropped={},
    )
