"""Fit everything a run asks for: one ``Trainer.fit`` over the chunks of all sources."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger

from probes.config import ProbeConfig, TrainerConfig
from probes.config.checks import check_trainer
from probes.errors import UserError
from probes.training.arithmetic import one_pool
from probes.training.data import ChunkDataModule
from probes.training.module import BankModule, OnFit
from probes.training.problems import Source

_EXPECTED = (
    r".*does not have many workers.*",  # chunks are read once: see ChunkDataModule
    r".*GPU available but not used.*",  # the user said trainer=cpu
    r".*`IterableDataset` has `__len__` defined.*",  # read by one process: see simplified.training
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's own, under newer versions of torch
)


@dataclass(frozen=True)
class FitSummary:
    """What fitting took."""

    probes: int
    """Heads x problems, over all features and layers."""
    seconds: float
    """In fits alone: without reading chunks and without what ``on_fit`` did."""
    notes: tuple[str, ...]
    """For the user to see: what the memory budget left out, and probes short of their optimum."""


def fit_banks(
    sources: Sequence[Source],
    probe: ProbeConfig,
    trainer: TrainerConfig,
    *,
    memory_budget: int,
    on_fit: OnFit,
    loggers: Sequence[Logger] = (),
) -> FitSummary:
    """Fit all problems of all sources with one kind of probe and hand each fit to ``on_fit``.

    Each chunk of heads is read once; ``on_fit`` is called for it once per feature, and again with
    ``site="all_heads"`` for the source's ``together`` jobs, in the order of sources and layers.
    What is in memory at a time is one chunk: ``memory_budget`` bytes bound it. The state of the
    process (random generators, signal handlers, warning filters) is left as it was.

    Raises ``UserError`` for a configuration that cannot be fitted, and whatever ``on_fit`` raises.
    """
    module = BankModule(probe, on_fit)
    data = ChunkDataModule(tuple(sources), memory_budget=memory_budget)
    if not len(data.dataset):
        return FitSummary(0, 0.0, tuple(data.notes))
    with undisturbed(), one_pool():
        lightning.Trainer(
            accelerator=accelerator_of(trainer),
            devices=1,
            max_epochs=1,
            logger=list(loggers) or False,
            log_every_n_steps=1,
            callbacks=[_Bar()] if trainer.progress else [],
            enable_progress_bar=trainer.progress,
            enable_checkpointing=False,
            enable_model_summary=False,
        ).fit(module, data)
    missed = [note for name, c in module.convergence.items() for note in c.notes(name)]
    return FitSummary(module.probes, module.fit_seconds, (*data.notes, *missed))


def accelerator_of(config: TrainerConfig) -> str:
    """What Lightning calls the device that is asked for. Raises ``UserError`` without one."""
    check_trainer(config)
    # Not Lightning's "auto": that takes Apple's GPU, which has no float64.
    if config.accelerator == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu: there is no CUDA device", fix="trainer=cpu")
    return config.accelerator


class _Bar(RichProgressBar):
    """Chunks done, time left, layer and best validation accuracy; no epoch and no version."""

    def __init__(self) -> None:
        super().__init__(leave=False)

    def _get_train_description(self, current_epoch: int) -> str:
        return "Fitting chunks"

    def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Lightning's banners off the terminal and put the process back as it was."""
    talkers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in talkers]
    main = threading.current_thread() is threading.main_thread()
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)} if main else {}
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        for pattern in _EXPECTED:
            warnings.filterwarnings("ignore", message=pattern)
        for logger in talkers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(talkers, levels, strict=True):
                logger.setLevel(level)
            for number, handler in handlers.items():
                # An interrupted Lightning leaves Ctrl+C switched off for the whole process.
                if handler is not None:
                    signal.signal(number, handler)
