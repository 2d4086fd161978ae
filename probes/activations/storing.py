"""The visitor that stores: it gathers the rows of each batch and hands them to the writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from probes.activations.background_writer import BackgroundWriter
from probes.models.forward import token_offset
from probes.models.hf_config import Kind
from probes.models.sites import Site
from probes.passes.batches import Batch, Gather
from probes.passes.progress import Progress
from probes.passes.visitor import Output, Visitor

OnFirst = Callable[[Batch, float], None]


class StoringVisitor(Visitor):
    """Stores the rows of every batch at its sites, one cache for each kind of site.

    A batch that is run again after memory ran out writes the same rows again.
    """

    def __init__(
        self,
        kind: Kind,
        sites: Mapping[str, Sequence[Site]],
        writer: BackgroundWriter,
        on_first: OnFirst | None = None,
    ) -> None:
        """kind: of the model. sites: for each kind of site, in the order of the writer's caches,
        the sites in the order of the cache's layers. on_first: called once, after the first batch,
        with its seconds."""
        self.kind, self.writer, self.on_first = kind, writer, on_first
        self._began = 0.0
        self.sites = [site for of_kind in sites.values() for site in of_kind]
        self._target = {
            site: (cache, layer)
            for cache, of_kind in enumerate(sites.values())
            for layer, site in enumerate(of_kind)
        }
        self._batch: Batch | None = None
        self._gathers: dict[tuple[int, torch.device], Gather] = {}

    def begin(self, batch: Batch) -> None:
        """Forget what a failed attempt at the batch gathered."""
        self._batch, self._gathers = batch, {}
        self._began = time.perf_counter()

    def visit(self, site: Site, z: Tensor) -> None:
        """Hand the wanted rows of ``z`` to the writer."""
        assert self._batch is not None
        offset = token_offset(self.kind, site.stream)
        gather = self._gathers.get((offset, z.device))
        if gather is None:
            gather = Gather(self._batch, offset=offset, device=z.device)
            self._gathers[offset, z.device] = gather
        cache, layer = self._target[site]
        self.writer.put(cache, layer, self._batch.rows, gather(z))

    def end(self, batch: Batch, output: Output) -> None:
        """Tell how long the first batch took."""
        if self.on_first is not None:
            for device in {device for _, device in self._gathers if device.type == "cuda"}:
                torch.cuda.synchronize(device)
            told, self.on_first = self.on_first, None
            told(batch, time.perf_counter() - self._began)

    def mark(self, progress: Progress) -> None:
        """Let the writer make a checkpoint, unless the disk is busy with the one before."""
        self.writer.mark(progress)

    def settle(self, progress: Progress) -> None:
        """Make everything up to ``progress`` survive a kill."""
        self.writer.settle(progress)

    def drain(self) -> None:
        """Wait until nothing is pending."""
        self.writer.drain()
