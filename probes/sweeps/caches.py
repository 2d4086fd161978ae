"""The activations that the jobs of a sweep share: each extracted once, before the jobs.

Jobs that differ in ``layers`` alone share one cache: the union of their layers is extracted.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from probes.config import RunConfig
from probes.config.layers import LayerChoice
from probes.core.files import digest
from probes.sweeps.plan import CorpusSize, PlannedJob, key_of


@dataclass(frozen=True)
class SharedCache:
    """Activations that several jobs read."""

    jobs: tuple[PlannedJob, ...]
    """Those that are to be run."""
    layers: list[int] | str | None
    """The union of theirs, as ``layers`` takes it; None: all."""

    @property
    def config(self) -> RunConfig:
        """Of the run that extracts them."""
        first = self.jobs[0].config
        assert first is not None
        return dataclasses.replace(first, layers=self.layers, until="extraction")

    @property
    def corpus(self) -> CorpusSize:
        """What is read."""
        assert self.jobs[0].corpus is not None
        return self.jobs[0].corpus

    @property
    def name(self) -> str:
        """Of the directory of its run."""
        return f"extraction-{_key(self.jobs[0])[:8]}"

    @property
    def overrides(self) -> list[str]:
        """Of the run that extracts them."""
        layers = "null" if self.layers is None else self.layers
        if isinstance(layers, list):
            layers = f"[{','.join(map(str, layers))}]"
        own = [
            given for given in self.jobs[0].overrides if key_of(given) not in ("layers", "until")
        ]
        return [*own, f"layers={layers}", "until=extraction"]


def shared_caches(jobs: Iterable[PlannedJob]) -> list[SharedCache]:
    """The caches that more than one of the jobs to be run needs, in the order of the jobs.

    Jobs with a ``disk_budget`` drop what they have fitted, so they share nothing.
    """
    groups: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        if job.to_run and job.config is not None and job.config.disk_budget is None:
            groups.setdefault(_key(job), []).append(job)
    return [
        SharedCache(tuple(members), _union(members))
        for members in groups.values()
        if len(members) > 1
    ]


def _key(job: PlannedJob) -> str:
    """What makes two jobs read the same activations, but for the layers."""
    config = job.config
    assert config is not None and job.corpus is not None
    return digest(
        {
            "model": dataclasses.asdict(config.model),
            "texts": job.corpus.text_fingerprint,
            "site": config.site,
            "baselines": [str(config.baseline.residual), config.baseline.random_init],
            "position": dataclasses.asdict(config.position),
            "extraction": dataclasses.asdict(config.extraction),
            "truncate": config.truncate,
            "cache_dir": str(Path(os.path.expanduser(config.cache_dir)).absolute()),
        }
    )


def _union(jobs: Sequence[PlannedJob]) -> list[int] | str | None:
    choices = [LayerChoice.parse(job.config.layers) for job in jobs if job.config is not None]
    spelled = {repr(None if choice is None else choice.plain) for choice in choices}
    if len(spelled) == 1:
        return None if choices[0] is None else choices[0].plain
    numbers: set[int] = set()
    for choice in choices:
        if choice is None or choice.every is not None:
            return None  # a stride is counted when the model is known
        numbers.update(choice.numbers)
    return sorted(numbers)
