"""The fitted probes of a chunk: of one problem, and of all problems of a feature with scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from probes.corpora.tasks import Task
from probes.solver import SelectedRows
from probes.training.bank import ProbeBank
from probes.training.parts import Part
from probes.training.problems import BoolArray, Problem

BLOCK = 2**23
"""Numbers in the largest temporary array of predictions: 32 MB of float32."""


@dataclass(frozen=True)
class Fitted:
    """The probes of one problem, one for each head of the chunk."""

    problem: Problem
    tensors: dict[str, Tensor]
    """As in ``bank.SHAPES``: first axis H, raw activations go in."""
    choice: Tensor
    """(H,) the L2 penalty, or the number of epochs, of each head."""
    select_accuracy: Tensor
    """(H,) accuracy on the rows that chose; NaN where there are none."""
    diagnostics: dict[str, Tensor] = field(default_factory=dict)
    """(H,) each. Linear: ``gap``, ``iterations``, ``converged``; MLP: ``epochs`` that were run."""


@dataclass(frozen=True)
class ChunkFit:
    """All problems of one feature, fitted on some heads of one layer.

    It holds the chunk's activations, so use it inside the callback and do not keep it: the
    activations of one chunk are in memory at a time. Banks are small and may be kept.
    """

    site: str
    """As in the results: ``heads``, ``residual``, ..., or ``all_heads``."""
    probe: str
    """As in the results: ``linear``, ``mlp``, or the name that the source gave."""
    stream: str
    layer: int
    heads: tuple[int, ...]
    """Index in the layer of each head; ``(0,)`` for whole-layer sites."""
    task: Task
    fits: tuple[Fitted, ...]
    """In the order of the problem set's problems."""
    kind: str
    """``linear`` or ``mlp``."""
    z: Tensor | SelectedRows
    """(H, n, D) raw activations on the rows of the task: of linear probes as they are stored and
    no copy, of others in float32."""
    seconds: float
    """Time of the fit, without reading the chunk."""

    def __len__(self) -> int:
        return len(self.fits)

    @property
    def part(self) -> Part:
        """Which part of the run's fits this is."""
        return Part(self.task.feature, self.site, self.probe, self.stream, self.layer, self.heads)

    def index(self, name: str) -> int:
        """Position of the problem of that name."""
        return [fit.problem.name for fit in self.fits].index(name)

    def bank(self, problem: int = 0) -> ProbeBank:
        """The probes of one problem, on the CPU."""
        fit = self.fits[problem]
        return ProbeBank(
            kind=self.kind,
            feature=self.task.feature,
            classes=self.task.classes,
            site=self.site,
            stream=self.stream,
            layer=self.layer,
            heads=self.heads,
            tensors={name: tensor.cpu() for name, tensor in fit.tensors.items()},
            problem=fit.problem.name,
            probe=self.probe,
            choice=tuple(fit.choice.tolist()),
        )

    def blocks(self, problem: int, rows: BoolArray) -> Iterator[tuple[int, Tensor]]:
        """Logits of the rows in the mask ``rows`` (n,), some heads at a time.

        Yields the position of the block's first head and its logits (h, rows, C), on the device of
        the fit; a block has one head or at most ``BLOCK`` numbers.
        """
        bank = replace(self.bank(problem), tensors=self.fits[problem].tensors)
        H, _, D = self.z.shape
        index = torch.from_numpy(rows.nonzero()[0]).to(self.z.device)
        widest = max(D, len(bank.classes), bank.tensors["w1"].shape[2] if self.kind == "mlp" else 0)
        step = max(1, BLOCK // max(len(index) * widest, 1))
        for start in range(0, H, step):
            own = self.z[start : start + step]
            part = bank.slice(start, start + step)
            yield start, part.logits(own[:, index])

    def logits(self, problem: int, rows: BoolArray) -> Tensor:
        """(H, rows, C) at once; see ``blocks`` where that is too much."""
        return torch.cat([block for _, block in self.blocks(problem, rows)])

    def predictions(self, problem: int, rows: BoolArray) -> Tensor:
        """(H, rows) int64, the most probable class, computed in blocks."""
        return torch.cat([block.argmax(dim=-1) for _, block in self.blocks(problem, rows)])
