"""What is done during the passes of a model over a corpus: visitors of its sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from probes.models.sites import Site
from probes.passes.batches import Batch
from probes.passes.progress import Progress


@dataclass(frozen=True)
class Output:
    """What a pass puts out, as far as ``need`` of ``run_passes`` asks for it; else None.

    B sequences (times ``variants``) of T tokens; an encoder-decoder's decoder reads the same
    tokens after a start token, so its outputs have T + 1.
    """

    hidden: Tensor | None = None
    """(B, T, d_model) last hidden state of the body."""
    logits: Tensor | None = None
    """(B, T, vocabulary); at chosen positions (n, vocabulary)."""


class Keeper:
    """Where results of batches go, and how they are made to survive a kill.

    All methods do nothing by default.
    """

    def mark(self, progress: Progress) -> None:
        """Everything up to ``progress`` has been handed over: a good moment for a checkpoint."""

    def settle(self, progress: Progress) -> None:
        """Make everything up to ``progress`` survive a kill before this returns."""

    def drain(self) -> None:
        """Finish what is pending, and let go of the tensors of a batch that ran out of memory."""


class Visitor(Keeper):
    """Reads or edits activations during the passes; subclass it and override what is needed.

    For each batch: ``begin``, ``visit`` at each site in the order of the pass, ``end``. Where
    memory runs out, the batch is begun again with fewer sequences: results are added up in
    ``end``, which no batch reaches twice, and ``begin`` drops what an earlier ``visit`` kept.
    """

    sites: Sequence[Site]
    """Where ``visit`` is called."""

    def begin(self, batch: Batch) -> None:
        """A batch is about to run."""

    def visit(self, site: Site, z: Tensor) -> Tensor | None:
        """Read ``z`` (B, T, units, width), a view of what the model computes with.

        Copy what is kept, and do not write into it. A returned tensor of the same shape replaces
        the activation for the rest of the pass. With several variants the batch is repeated along
        the first axis: ``z.unflatten(0, (variants, -1))`` has the variants first. With gradients
        ``z`` requires them, so that a scalar can be differentiated with respect to it in ``end``.
        """
        return None

    def end(self, batch: Batch, output: Output) -> None:
        """The passes of a batch are done; with gradients their graph still exists."""
