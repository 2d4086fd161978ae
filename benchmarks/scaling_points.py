"""The points of the scaling benchmark: caches and tasks of a given size, and one fit of them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.memory import Measured, peak_above
from probes.activations.cache import Cache
from probes.activations.layout import SCHEMA_VERSION, LayerInfo, layer_file
from probes.activations.writer import CacheWriter
from probes.config import LinearConfig, TrainerConfig
from probes.config import run as config
from probes.corpora.tasks import Task
from probes.evaluation.planted import planted_task
from probes.passes.progress import Progress
from probes.training.fit import fit_banks
from probes.training.problems import ActivationSource, ProblemSet, Role, real_problem

WIDTH = 32
ROWS_A_GROUP = 10
MEMORY_BUDGET = 10**9
PENALTIES = len(config.PENALTIES)


@dataclass(frozen=True)
class Shape:
    """What is fitted: a cache and its problems."""

    rows: int
    heads: int
    """Of each layer."""
    classes: int
    layers: int
    replicas: int
    """Problems x penalties of each head."""

    def task(self) -> Task:
        return planted_task(
            self.rows // ROWS_A_GROUP, ROWS_A_GROUP, classes=self.classes, shares=(0.7, 0.1)
        )


WARM = Shape(rows=400, heads=2, classes=3, layers=1, replicas=PENALTIES)


def write_cache(shape: Shape, directory: Path) -> Path:
    """A cache on disk whose heads carry the classes of the shape's task, every layer the same."""
    rng = np.random.default_rng(0)
    task = shape.task()
    rows = len(task.labels)
    files = [layer_file("encoder", layer, single_stream=True) for layer in range(shape.layers)]
    infos = [
        LayerInfo("encoder", layer, shape.heads, WIDTH, file) for layer, file in enumerate(files)
    ]
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "key": directory.name,
        "fields": {},
        "site": "heads",
        "dtype": "float16",
    }
    numbers = np.arange(rows, dtype=np.int32)
    writer = CacheWriter(directory, manifest, infos, rows, lambda field: [numbers])
    means = rng.standard_normal((shape.classes, shape.heads, WIDTH), dtype=np.float32) / 2
    for start in range(0, rows, 4096):
        at = np.arange(start, min(start + 4096, rows))
        z = rng.standard_normal((len(at), shape.heads, WIDTH), dtype=np.float32)
        z += means[task.labels[at]]  # (n, H, D)
        for layer in range(shape.layers):
            writer.write(layer, [(at, z.astype(np.float16).view(np.int16))])
    writer.finish(Progress(sequences=1, rows=rows))
    return directory


def fit_point(shape: Shape, cache: Path, threads: int) -> Measured:
    """Seconds and memory of the fit stage of a run, in this process: reading and fitting."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as directory:  # first calls load and allocate
        _fit(WARM, write_cache(WARM, Path(directory) / "warm"))
    return peak_above(lambda: _fit(shape, cache))


def _fit(shape: Shape, directory: Path) -> None:
    task = shape.task()
    real = real_problem(task)
    rng = np.random.default_rng(1)
    # Labels that are half noise: replicas of the same difficulty, but of different optima.
    others = (
        np.where(rng.random(len(real.labels)) < 0.5, real.labels, rng.permutation(real.labels))
        for _ in range(shape.replicas // PENALTIES - 1)
    )
    problems = [
        replace(real, role=Role.PERMUTATION, index=i, labels=y) for i, y in enumerate(others)
    ]
    source = ActivationSource(
        "heads", Cache.open(directory), (ProblemSet(task, (real, *problems)),)
    )
    fit_banks(
        [source],
        LinearConfig(l2=list(config.PENALTIES)),
        TrainerConfig(accelerator="cpu", progress=False),
        memory_budget=MEMORY_BUDGET,
        on_fit=lambda fit: None,
    )
