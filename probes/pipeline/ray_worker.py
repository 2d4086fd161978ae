"""What a worker of a cluster does: one shard of the extraction, one part of the fits, or a share of
the effects.

Ray starts a process on a node and gives it one task after another; what it has opened (texts,
model, activations) is kept for the next task of the same run.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from probes.config import RunConfig
from probes.core.environment import software
from probes.core.errors import UserError
from probes.core.files import digest
from probes.evaluation.part_result import PartResult, part_bytes
from probes.passes.shards import Shard
from probes.pipeline.effect_share import EffectShare
from probes.pipeline.effect_store import effect_identity, node_of
from probes.pipeline.fit_identity import fit_identity, node_name
from probes.pipeline.fit_plan import TRAINED, FitPlan
from probes.pipeline.fits import part_result
from probes.pipeline.identity import Settings
from probes.pipeline.layer_passes import Activations, Caches
from probes.pipeline.prepare import prepare
from probes.pipeline.sent_effects import SentEffects
from probes.pipeline.work import Work
from probes.statistics.maps import Layer, MapEvidence
from probes.training.chunk_fit import ChunkFit
from probes.training.fit import fit_banks
from probes.training.parts import Part
from probes.training.trainer import accelerator_of

T = TypeVar("T")


@dataclass(frozen=True)
class RayJob:
    """What travels to the nodes: settings and names."""

    config: RunConfig
    directory: str
    """Working directory of the driver, where relative paths begin."""
    token: str
    """Name of a file in ``cache_dir`` that the driver has written."""


@dataclass(frozen=True)
class NodeFacts:
    """What the driver wants to know of a node before any work."""

    name: str
    sees_cache: bool
    processor: str
    machine: dict[str, Any]
    """As in an identity (``identity.MACHINE``)."""


def node_facts(job: RayJob) -> NodeFacts:
    """Of the node that this task runs on."""
    import torch

    device = accelerator_of(job.config.trainer)
    sees = os.path.isdir(job.directory)
    if sees:
        os.chdir(job.directory)
        sees = (Path(job.config.cache_dir).expanduser() / job.token).is_file()
    machine = {"versions": software(), "device": device, "threads": torch.get_num_threads()}
    return NodeFacts(platform.node(), sees, node_name(device), machine)


def extract_shard(job: RayJob, index: int, count: int) -> int:
    """Store one shard of the activations; returns its number."""
    shard = Shard(index, count)
    _told(f"shard {index} of {count} of the extraction", lambda: _worker(job).extract(shard))
    return index


def fit_one(job: RayJob, part: Part, identity: Settings, best: Mapping[str, Layer] | None) -> bytes:
    """The result of one part as a file.

    identity: of the fits as the driver knows it. best: see ``Engine.fit``.
    """
    where = f"layer {part.layer}, {part.feature}, {part.site} ({part.probe})"
    return _told(where, lambda: _worker(job).fit(part, identity, best))


def edit_share(
    job: RayJob,
    shard: Shard,
    identity: Settings,
    probed: Sequence[MapEvidence],
    stored: Collection[str],
) -> dict[str, bytes]:
    """A share of the effects as files by name.

    identity: of the effects as the driver knows it. probed: the maps of the run's probes. stored:
    names of the files that the driver has.
    """
    where = f"share {shard.index} of {shard.count} of the effects"
    return _told(where, lambda: _worker(job).edit(shard, identity, probed, stored))


class Worker:
    """What a process keeps between the tasks of one run."""

    def __init__(self, job: RayJob) -> None:
        os.chdir(job.directory)
        config = replace(job.config, trainer=replace(job.config.trainer, progress=False))
        self.prepared = prepare(config)
        self.work = Work.of(self.prepared)

    def extract(self, shard: Shard) -> None:
        """Store one shard of the activations."""
        self._activations(shard, stored_only=False)

    def fit(self, part: Part, identity: Settings, best: Mapping[str, Layer] | None) -> bytes:
        """Fit one part."""
        config = self.prepared.config
        sources = self.plan.sources(self.caches)
        own = fit_identity(self.prepared, self.work.handle, sources)
        self._require_same(own, identity)
        if best is not None:
            sources = self.plan.sources_of_best(self.caches, best)
        results: list[PartResult] = []

        def on_fit(fit: ChunkFit) -> None:
            results.append(part_result(fit, self.evaluator))

        fit_banks(
            sources,
            config.probe,
            config.trainer,
            memory_budget=self.prepared.memory_budget,
            on_fit=on_fit,
            only={part},
        )
        (result,) = results
        node = node_name(accelerator_of(config.trainer))
        return part_bytes(result, {"identity": digest(own), "node": node})

    def edit(
        self,
        shard: Shard,
        identity: Settings,
        probed: Sequence[MapEvidence],
        stored: Collection[str],
    ) -> dict[str, bytes]:
        """Measure a share of the effects."""
        prepared, work = self.prepared, self.work
        own = effect_identity(fit_identity(prepared, work.handle, []), prepared.corpus)
        self._require_same(own, identity)
        about = {"identity": digest(own), "node": node_of(work.handle)}
        effects = SentEffects(EffectShare(shard), about, stored)
        methods = work.methods()
        methods.probed, methods.parts = probed, effects
        methods.edit()
        return effects.files

    def _require_same(self, own: Settings, identity: Settings) -> None:
        if digest(own) != digest(identity):
            raise UserError("this node sees other files, or has other versions, than the driver")

    @cached_property
    def caches(self) -> Caches:
        """The activations, which are all stored."""
        return self._activations(Shard(), stored_only=True)

    @cached_property
    def plan(self) -> FitPlan:
        """What the run fits."""
        from probes.pipeline.fit_plan import layer_order

        units = self.caches[TRAINED][self.prepared.config.site].rows["unit"]
        tasks, erased = self.work.tasks(units)
        return FitPlan(self.prepared.config, tasks, erased, layer_order(self.caches[TRAINED]))

    @cached_property
    def evaluator(self) -> Any:
        """Of all fits of this process."""
        return self.work.evaluator(self.plan)

    def _activations(self, shard: Shard, *, stored_only: bool) -> Caches:
        activations = Activations(
            replace(self.prepared, shard=shard),
            self.work.wanted,
            self.work.layers,
            Path(),
            lambda name: nullcontext(),
            lambda start: None,
            stored_only=stored_only,
            patience=None,
        )
        with activations:
            return activations.first()


_workers: dict[str, Worker] = {}
"""Of the last run only: models are large."""


def _worker(job: RayJob) -> Worker:
    if job.token not in _workers:
        _workers.clear()
        _workers[job.token] = Worker(job)
    return _workers[job.token]


def _told(what: str, work: Callable[[], T]) -> T:
    """Name node and part in whatever goes wrong."""
    where = f"on node {platform.node()}, {what}"
    try:
        return work()
    except UserError as error:
        raise UserError(f"{where}: {error.wrong}", allowed=error.allowed, fix=error.fix) from None
    except Exception as error:
        raise RuntimeError(f"{where}: {type(error).__name__}: {error}") from error
