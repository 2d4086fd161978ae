"""The Lightning module: a training step fits everything that is asked of one chunk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from probes.config import CustomProbeConfig, LinearConfig, MLPConfig, ProbeConfig
from probes.config.group_checks import check_probe
from probes.core.errors import UserError
from probes.core.process import return_freed_memory
from probes.solver import SelectedRows
from probes.training.chunk_fit import BLOCK, ChunkFit, Fitted
from probes.training.convergence import Convergence
from probes.training.custom import fit_custom
from probes.training.data import Chunk
from probes.training.linear import fit_linear
from probes.training.mlp import fit_mlp
from probes.training.parts import Part
from probes.training.problems import ProblemSet

OnFit = Callable[[ChunkFit], None]
LARGE = 32 << 20
"""Bytes of the rows of a fit after which memory is given back; small fits use it again sooner than
the system could hand out fresh pages."""


class ExactSolver(torch.optim.Optimizer):
    """One ``step`` fits everything to the end; there is nothing left for a second one.

    The closure does the fits and returns them; ``step`` hands them back. Lightning's hooks around
    an optimiser step (profilers, callbacks) see one step a chunk. The module sets
    ``automatic_optimization = False``, as there is no backward pass:

        def configure_optimizers(self):
            return ExactSolver()

        def training_step(self, chunk):
            fit = self.optimizers().step(lambda: fit_logistic(chunk.z, ...))
    """

    def __init__(self) -> None:
        # torch wants a parameter to optimise; the solver's are created by each fit.
        super().__init__([nn.Parameter(torch.empty(0))], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """What the closure returns. Raises ``ValueError`` without one."""
        if closure is None:
            raise ValueError("ExactSolver.step needs a closure that does the fits")
        return closure()


class BankModule(lightning.LightningModule):
    """Fits the probes of each chunk to the end and hands them to ``on_fit``.

    Optimisation is manual: linear probes have an exact solver, MLP banks drop the heads that have
    stopped from their products, and neither fits a loop that steps one optimiser for everything.
    Chunks are independent of each other, so one ``Trainer.fit`` of one epoch trains a whole run.
    """

    def __init__(self, config: ProbeConfig, on_fit: OnFit, first_step: int = 0) -> None:
        """first_step: chunks that were fitted before, by other trainers with the same loggers."""
        super().__init__()
        self.automatic_optimization = False
        check_probe(config)
        self.config = config
        self.on_fit = on_fit
        self.first_step = self.steps = first_step
        self.probes = 0
        """Probes fitted so far."""
        self.fit_seconds = 0.0
        """Time in fits so far, without reading chunks or evaluating them."""
        self.convergence: dict[str, Convergence] = {}
        """By feature and site, for linear probes."""

    def configure_optimizers(self) -> ExactSolver:
        """One step is one chunk solved, whatever the kind of probe."""
        return ExactSolver()

    def training_step(self, chunk: Chunk) -> None:
        """Fit all problems of a chunk."""
        self.steps += 1
        if chunk.source.edit is not None:
            chunk = replace(chunk, z=chunk.source.edit(chunk.z.float()))
        for planned in chunk.parts:
            rows = torch.from_numpy(planned.problem_set.task.rows)
            # The exact solver takes some rows at a time; other probes take copies in float32.
            linear = isinstance(self.config, LinearConfig)
            together = planned.part.site != chunk.source.site
            take = chunk.stored if linear else chunk.copied
            z = take(rows, together=together)  # (H, n, D), or (1, n, H*D)
            self._fit(chunk, planned.problem_set, z, planned.part)
            del z  # free it first: two copies do not fit the budget

    def _fit(
        self, chunk: Chunk, problem_set: ProblemSet, z: Tensor | SelectedRows, part: Part
    ) -> None:
        site, heads = part.site, part.heads
        if not _finite(z):
            raise UserError(
                f"activations of layer {chunk.layer} ({chunk.stream}, {site}) are not finite",
                fix="extraction.dtype=float32, or a fresh cache_dir=...",
            )
        start = time.perf_counter()
        solver = self.optimizers()
        assert not isinstance(solver, list)
        fits = solver.step(lambda: self._fit_problems(chunk, problem_set, z, site, heads))
        if z.is_cuda:
            torch.cuda.synchronize(z.device)
        seconds = time.perf_counter() - start
        self.probes += len(heads) * len(fits)
        self.fit_seconds += seconds
        name = f"{problem_set.task.feature}, {site}"
        convergence = self.convergence.setdefault(name, Convergence())
        for fit in fits:
            convergence.add(fit)
        self.on_fit(
            ChunkFit(
                site=site,
                probe=part.probe,
                stream=chunk.stream,
                layer=chunk.layer,
                heads=heads,
                task=problem_set.task,
                fits=tuple(fits),
                kind="mlp" if isinstance(self.config, MLPConfig) else "linear",
                z=z,
                seconds=seconds,
            )
        )
        if z.nbytes >= LARGE:
            return_freed_memory()  # or what fits have freed piles up beside the next chunk
        accuracy = fits[0].select_accuracy.nan_to_num(0.0)
        logged = {"layer": float(chunk.layer), "best_validation": float(accuracy.max())}
        if self.first_step:  # what Lightning takes in place of its own count, which begins anew
            logged["step"] = float(self.steps - 1)
        self.log_dict(logged, prog_bar=True, batch_size=1)

    def _fit_problems(
        self,
        chunk: Chunk,
        problem_set: ProblemSet,
        z: Tensor | SelectedRows,
        site: str,
        heads: tuple[int, ...],
    ) -> list[Fitted]:
        classes = len(problem_set.task.classes)
        if isinstance(self.config, LinearConfig):
            return fit_linear(
                z, problem_set.problems, self.config, classes=classes, extend=problem_set.extend
            )
        assert isinstance(z, Tensor)
        if isinstance(self.config, CustomProbeConfig):
            return fit_custom(z, problem_set.problems, self.config, classes=classes)
        assert isinstance(self.config, MLPConfig)
        names = [f"{site}/{chunk.stream}/{chunk.layer}/{head}" for head in heads]
        return fit_mlp(z, problem_set.problems, self.config, classes=classes, names=names)


def _finite(z: Tensor | SelectedRows) -> bool:
    """Whether all numbers are, looked at in blocks of rows."""
    H, n, D = z.shape
    step = max(1, BLOCK // (H * D))
    return all(
        bool(torch.isfinite(z[:, start : start + step]).all()) for start in range(0, n, step)
    )
