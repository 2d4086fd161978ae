"""The plan of a sweep in a few lines, before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from probes.core.files import size
from probes.core.overrides import override
from probes.core.shown_progress import in_words
from probes.sweeps.caches import SharedCache
from probes.sweeps.joinable import joinable
from probes.sweeps.plan import PlannedJob, State, swept_values

if TYPE_CHECKING:
    from probes.sweeps.cache_states import CacheState

SHOWN = 8
"""Values of a swept key, and caches, that are listed."""
WORDS: dict[State, str] = {
    "finished": "finished before",
    "failed": "to be run again",
    "missing": "to be run",
    "refused": "with mistakes",
    "in use": "in use by another process",
    "twin": "the same as another",
}


def plan_lines(
    jobs: Sequence[PlannedJob],
    shared: Sequence[SharedCache],
    states: Mapping[str, CacheState],
    directory: Path,
    config: DictConfig,
) -> Iterator[str]:
    """The grid, the activations that jobs share, how long it may take, and how to go on later."""
    counts = Counter(job.state for job in jobs)
    parts = [f"{counts[state]} {words}" for state, words in WORDS.items() if counts[state]]
    yield f"sweep of {len(jobs)} jobs in {directory}: {', '.join(parts)}"
    for key, values in swept_values([job.overrides for job in jobs]).items():
        more = f", ... ({len(values)} values)" if len(values) > SHOWN else ""
        yield f"  {key}: {', '.join(values[:SHOWN])}{more}"
    mistakes = Counter(job.reason for job in jobs if job.state == "refused")
    for reason, count in mistakes.most_common(SHOWN):
        yield f"  {count} jobs: {reason}" if count > 1 else f"  a job: {reason}"
    for cache in shared[:SHOWN]:
        yield f"  activations for {len(cache.jobs)} jobs: {_cache(cache, states[cache.name])}"
    if len(shared) > SHOWN:
        yield f"  ... and of {len(shared) - SHOWN} more kinds"
    if kept := joinable(jobs):
        yield f"  {len(kept)} jobs are of some layers or features: headprobes merge can join them"
    yield from _time(jobs)
    # An atlas has a directory of its own, which the same command finds again.
    unfinished = any(job.to_run and (job.config or job.reason) for job in jobs)
    if unfinished and config.get("sweep") is None:
        fix = override("hydra.sweep.dir", str(directory))
        yield f"  to go on after an interruption: the same command with {fix}"


def _cache(shared: SharedCache, state: CacheState) -> str:
    corpus = shared.corpus
    layers = "all layers"
    if shared.layers is not None:
        several = isinstance(shared.layers, list)
        layers = f"{len(shared.layers)} layers" if several else f"layers={shared.layers}"
    what = f"{shared.config.model.name} on {corpus.name}, {', '.join(state.sites) or 'sites'}, "
    what += f"{layers}, {corpus.texts:,} texts, up to {corpus.units:,} rows"
    if state.n_bytes is not None:
        what += f", {'' if state.complete else 'about '}{size(state.n_bytes)}"
    if state.unknown:
        return f"{what} ({state.unknown})"
    return f"{what}; {'there' if state.complete else 'extracted once, first'}"


def _time(jobs: Sequence[PlannedJob]) -> Iterator[str]:
    """From the jobs of this sweep that are finished; nothing else was measured here."""
    todo = sum(job.to_run for job in jobs)
    seconds = [job.record.seconds for job in jobs if job.record is not None]
    if todo and seconds:
        each = median(seconds)
        yield (
            f"  about {in_words(each * todo)} of work: {todo} jobs of {in_words(each)}, the median "
            f"of {len(seconds)} finished ones"
        )
    elif todo:
        yield "  time: known when the first job has ended"
