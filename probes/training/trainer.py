"""What every use of Lightning's ``Trainer`` shares: the device, and a process left as it was."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning_utilities.core.rank_zero import rank_zero_only

from probes.config import TrainerConfig
from probes.config.group_checks import check_trainer
from probes.core.errors import UserError
from probes.core.process import Terminated

_EXPECTED = (
    r".*does not have many workers.*",  # chunks are read once: see ChunkDataModule
    r".*GPU available but not used.*",  # the user said trainer=cpu
    r".*`IterableDataset` has `__len__` defined.*",  # read by one process: see simplified.training
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's own, under newer versions of torch
)


class SingleProcess(LightningEnvironment):
    """One process, whatever a cluster's variables tell: Lightning would take those of a Slurm
    allocation, or of ``torchrun``, for an order to train in several, and raise without them."""

    @property
    def creates_processes_externally(self) -> bool:
        """Never: nobody started other processes of this training."""
        return False

    def local_rank(self) -> int:
        """Always 0."""
        return 0

    def node_rank(self) -> int:
        """Always 0."""
        return 0

    def global_rank(self) -> int:
        """Always 0."""
        return 0

    def world_size(self) -> int:
        """Always 1."""
        return 1


def accelerator_of(config: TrainerConfig) -> str:
    """What Lightning calls the device that is asked for. Raises ``UserError`` without one."""
    check_trainer(config)
    # Not Lightning's "auto": that takes Apple's GPU, which has no float64.
    if config.accelerator == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu: there is no CUDA device", fix="trainer=cpu")
    return config.accelerator


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Lightning's banners off the terminal and put the process back as it was.

    Its rank is 0 inside and afterwards: tasks of an allocation are runs of their own, and loggers
    and progress bars are silent in all but the first.

    Ctrl+C and SIGTERM, which Lightning turns into an exit of the process with status 1 or 0, are
    raised as ``KeyboardInterrupt`` and ``Terminated`` again.
    """
    vars(rank_zero_only)["rank"] = 0
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
        except SystemExit as end:
            raise _interruption(end) from None
        finally:
            for logger, level in zip(talkers, levels, strict=True):
                logger.setLevel(level)
            for number, handler in handlers.items():
                # An interrupted Lightning leaves Ctrl+C switched off for the whole process.
                if handler is not None:
                    signal.signal(number, handler)


def _interruption(end: SystemExit) -> BaseException:
    """What made Lightning leave."""
    if isinstance(end.__context__, KeyboardInterrupt):
        return end.__context__
    return Terminated() if isinstance(end, SIGTERMException) else end
