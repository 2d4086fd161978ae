"""Fit everything a run asks for: one ``Trainer.fit`` over the chunks of all sources."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import Logger

from probes.config import ProbeConfig, TrainerConfig
from probes.core.process import single_blas_thread
from probes.core.shown_progress import ShownProgress
from probes.training.convergence import Convergence
from probes.training.data import ChunkDataModule
from probes.training.module import BankModule, OnFit
from probes.training.parts import Part
from probes.training.problems import ActivationSource
from probes.training.trainer import SingleProcess, accelerator_of, undisturbed


@dataclass(frozen=True)
class FitSummary:
    """What fitting took."""

    probes: int
    """Heads x problems, over all features and layers."""
    seconds: float
    """In fits alone: without reading chunks and without what ``on_fit`` did."""
    left_out: tuple[str, ...] = ()
    """What the memory budget left out, for the user to see."""
    convergence: Mapping[str, Convergence] = field(default_factory=dict)
    """Of linear probes, by feature and site."""
    chunks: int = 0
    """Chunks that were read."""

    @property
    def notes(self) -> tuple[str, ...]:
        """For the user to see: what was left out, and probes short of their optimum."""
        missed = [note for name, c in self.convergence.items() for note in c.notes(name)]
        return (*self.left_out, *missed)

    def __add__(self, other: FitSummary) -> FitSummary:
        """Of two calls together."""
        convergence = dict(self.convergence)
        for name, own in other.convergence.items():
            convergence[name] = convergence[name] + own if name in convergence else own
        return FitSummary(
            self.probes + other.probes,
            self.seconds + other.seconds,
            tuple(dict.fromkeys((*self.left_out, *other.left_out))),
            convergence,
            self.chunks + other.chunks,
        )


def fit_banks(
    sources: Sequence[ActivationSource],
    probe: ProbeConfig,
    trainer: TrainerConfig,
    *,
    memory_budget: int,
    on_fit: OnFit,
    loggers: Sequence[Logger] = (),
    first_step: int = 0,
    only: Collection[Part] | None = None,
) -> FitSummary:
    """Fit all problems of all sources with one kind of probe and hand each fit to ``on_fit``.

    Each chunk of heads is read once; ``on_fit`` is called for it once per feature, and again with
    ``site="all_heads"`` for the source's ``together`` problem sets, in the order of sources and
    layers.
    What is in memory at a time is one chunk: ``memory_budget`` bytes bound it. The state of the
    process (random generators, signal handlers, warning filters) is left as it was.

    first_step: number of the first chunk in the loggers: the chunks of earlier calls.
    only: nothing but these of the parts that ``plan_parts`` gives; None: all of them.

    Raises ``UserError`` for a configuration that cannot be fitted, and whatever ``on_fit`` raises.
    """
    module = BankModule(probe, on_fit, first_step)
    data = ChunkDataModule(tuple(sources), probe.name, memory_budget=memory_budget, only=only)
    if not len(data.dataset):
        return FitSummary(0, 0.0, tuple(data.notes))
    accelerator = accelerator_of(trainer)
    with undisturbed(), single_blas_thread():
        lightning.Trainer(
            accelerator=accelerator,
            devices=[torch.cuda.current_device()] if accelerator == "gpu" else 1,
            plugins=[SingleProcess()],
            max_epochs=1,
            logger=list(loggers) or False,
            log_every_n_steps=1,
            callbacks=[_Shown(len(data.dataset))] if trainer.progress else [],
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        ).fit(module, data)
    return FitSummary(
        module.probes,
        module.fit_seconds,
        tuple(data.notes),
        module.convergence,
        len(data.dataset),
    )


class _Shown(lightning.Callback):
    """Chunks done, time left, layer and best validation accuracy."""

    def __init__(self, chunks: int) -> None:
        self.shown, self.chunks = ShownProgress("fitting", chunks), chunks

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.shown.__enter__()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        layer, best = (
            float(trainer.callback_metrics.get(name, nan)) for name in ("layer", "best_validation")
        )
        self.shown.advance(
            1,
            note=f"layer {layer:.0f}: {best:.3f}",
            line=f"{batch_idx + 1} of {self.chunks} chunks",
        )

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self.shown.__exit__(None, None, None)

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self.shown.__exit__(None, None, None)
