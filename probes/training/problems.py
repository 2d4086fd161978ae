"""What is fitted on a chunk of heads: label vectors with the rows that they are trained on.

Real labels, control labels, folds, permutations and codelength blocks of one feature are all the
same thing here, a ``Problem``; they share the activations and the matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from probes.activations.cache import Cache
from probes.corpora.corpus import TEST, TRAIN, VALIDATION
from probes.corpora.tasks import Task
from probes.statistics.maps import Layer

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Role(StrEnum):
    """What a problem is evidence for."""

    REAL = "real"
    """The task's own labels."""
    CONTROL = "control"
    """Random labels of the same shape (Hewitt and Liang 2019)."""
    PERMUTATION = "permutation"
    """The task's labels, permuted under the null hypothesis."""
    CODELENGTH = "codelength"
    """The task's labels in one block of the online code (Voita and Titov 2020)."""
    SEED = "seed"
    """The task's labels from another initialisation."""


@dataclass(frozen=True)
class Problem:
    """One label vector over the n rows of a task, and which rows are used for what."""

    role: Role
    labels: IntArray
    """(n,) index into the task's classes."""
    train: BoolArray
    """(n,) rows that weights and scaler are fitted on."""
    select: BoolArray
    """(n,) rows that L2 and epochs are chosen on. Without any, the problem takes what the first
    problem of its set chose for the same head."""
    score: BoolArray
    """(n,) rows that are reported on."""
    index: int | None = None
    """Number of the permutation, of the codelength block, or the seed; ``None`` for a role that
    occurs once."""
    fold: int | None = None
    """Number of the fold that is scored; ``None`` without cross-validation."""
    seed: int = 0
    """MLP: which initialisation. The order of the rows is the same for all problems."""

    def __post_init__(self) -> None:
        n = len(self.labels)
        assert len(self.train) == len(self.select) == len(self.score) == n
        assert self.train.any(), f"problem {self.name} has no rows to train on"

    @property
    def name(self) -> str:
        """Key of the problem in files and messages.

        ``real``, ``control``, ``permutation-17``, ``seed-2``, ...; with folds ``fold-0`` for the
        real labels, and ``control/fold-0``, ... for the others.
        """
        variant = self.role.value if self.index is None else f"{self.role}-{self.index}"
        if self.fold is None:
            return variant
        return f"fold-{self.fold}" if self.role is Role.REAL else f"{variant}/fold-{self.fold}"


@dataclass(frozen=True)
class ProblemSet:
    """One feature's problems on the rows of a cache."""

    task: Task
    problems: tuple[Problem, ...]
    """The first is the reference: problems without ``select`` rows take its choices."""
    layers: frozenset[Layer] | None = None
    """Only these layers are fitted; None: all of the cache."""
    extend: bool = True
    """Go on beyond the default penalties of a linear probe where the last one was chosen."""

    def __post_init__(self) -> None:
        assert self.problems, f"no problem for feature {self.task.feature}"
        assert all(len(p.labels) == len(self.task.rows) for p in self.problems)

    def covers(self, stream: str, layer: int) -> bool:
        """Whether the layer is fitted."""
        return self.layers is None or (stream, layer) in self.layers


@dataclass(frozen=True)
class ActivationSource:
    """The activations of one site kind of one model, and all that is to be fitted on them."""

    site: str
    """``heads``, ``residual``, ``attention_output`` or ``mlp_output``."""
    cache: Cache
    problem_sets: tuple[ProblemSet, ...]
    """Fitted on each unit of its own; one set for each feature."""
    together: tuple[ProblemSet, ...] = ()
    """Fitted on the concatenated units of a layer as one vector (site ``all_heads``)."""
    probe: str = ""
    """Name of the probe in the results (``random_init``, ...); empty: the kind of probe."""
    edit: Callable[[Tensor], Tensor] | None = None
    """Changes the activations of a chunk (H, N, D), float32, before anything is fitted on them."""

    def on_units(self, stream: str, layer: int) -> tuple[ProblemSet, ...]:
        """What is fitted on each unit of a layer."""
        return tuple(each for each in self.problem_sets if each.covers(stream, layer))

    def on_layer(self, stream: str, layer: int) -> tuple[ProblemSet, ...]:
        """What is fitted on all units of a layer together."""
        return tuple(each for each in self.together if each.covers(stream, layer))


@dataclass(frozen=True)
class LayerOrder:
    """The order of the layers of each site, in which results stand whatever came in first."""

    layers: Mapping[str, Sequence[Layer]] = field(default_factory=dict)
    """By site; ``all_heads`` has the layers of ``heads``. Without any the order is left alone."""

    def place(self, site: str, layer: Layer) -> int:
        """Sorts the layers of a site; those that are not known come last."""
        layers = self.layers.get("heads" if site == "all_heads" else site, ())
        return layers.index(layer) if layer in layers else len(layers)


def real_problem(task: Task) -> Problem:
    """The task's own labels under its own split."""
    masks = (task.split == TRAIN, task.split == VALIDATION, task.split == TEST)
    return Problem(Role.REAL, np.asarray(task.labels, dtype=np.int64), *masks)


def fold_problems(task: Task, folds: npt.NDArray[np.integer]) -> tuple[Problem, ...]:
    """Nested cross-validation: each fold is scored once, its successor chooses, the rest trains.

    ``folds``: (n,) fold number of each row of the task, from 0; at least three folds.
    """
    count = int(folds.max()) + 1
    assert count >= 3, "one fold each to train, to choose and to score"
    labels = np.asarray(task.labels, dtype=np.int64)
    problems = []
    for fold in range(count):
        score, select = folds == fold, folds == (fold + 1) % count
        train = ~(score | select)
        problems.append(Problem(Role.REAL, labels, train, select, score, fold=fold))
    return tuple(problems)


def seed_problems(problem: Problem, seeds: Sequence[int]) -> tuple[Problem, ...]:
    """The same problem from other initialisations, one for each seed, with the seed as index."""
    return tuple(replace(problem, role=Role.SEED, index=seed, seed=seed) for seed in seeds)


def stack_labels(problems: Sequence[Problem], device: torch.device) -> Tensor:
    """(P, n) int64."""
    return torch.stack([torch.from_numpy(p.labels) for p in problems]).to(device)


def stack_masks(problems: Sequence[Problem], which: str, device: torch.device) -> Tensor:
    """(P, n) bool; ``which`` is ``train``, ``select`` or ``score``."""
    return torch.stack([torch.from_numpy(getattr(p, which)) for p in problems]).to(device)
