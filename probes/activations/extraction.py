"""Run the model over a corpus once and store the activations of every site kind asked for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor, nn

from probes.activations.background_writer import BackgroundWriter, StoredOverflowError
from probes.activations.cache import Cache
from probes.activations.dtypes import AUTO
from probes.activations.key import CacheKey, cache_key
from probes.activations.locks import require_idle, shard_lock, writing
from probes.activations.manifest import layer_infos, new_manifest
from probes.activations.rounding import Rounding
from probes.activations.row_fields import row_fields
from probes.activations.start import OnStart, common_progress, log_plan, on_first_batch
from probes.activations.stored_dtype import settle_dtypes, warn_of_rounding
from probes.activations.storing import StoringVisitor
from probes.activations.waiting import wait_for_others
from probes.activations.writer import CacheWriter, CheckpointError
from probes.config import ExtractionConfig, PositionConfig
from probes.config.group_checks import check_extraction
from probes.core.errors import UserError
from probes.core.files import disk_errors
from probes.core.process import return_freed_memory
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.models.padding import PaddingError
from probes.models.sites import Site, find_sites
from probes.models.verification import verify_sites
from probes.passes.alignment import Alignment, align
from probes.passes.batches import BatchPlan
from probes.passes.loop import CHECKPOINT_SECONDS, run_passes
from probes.passes.progress import Progress
from probes.passes.shards import WHOLE, Shard

log = logging.getLogger(__name__)

WAITING_BYTES = 32 << 20
"""Rows that may wait for the disk; more would only use memory."""
INDEX_BYTES = 24
"""Of a row on disk while it is extracted: see ``Alignment``."""
WORKING_SET = 32
"""Bytes that a forward pass holds for each token and unit of d_model, roughly."""


def extract(
    handle: Handle,
    corpus: Corpus,
    *,
    sites: Sequence[str] = ("heads",),
    layers: list[int] | None = None,
    among: list[int] | None = None,
    position: PositionConfig | None = None,
    extraction: ExtractionConfig | None = None,
    cache_dir: str | Path = "outputs/cache",
    truncate: bool = False,
    whole_texts: bool = True,
    memory_budget: int = 1 << 30,
    shard: Shard = WHOLE,
    patience: float | None = None,
    stored_only: bool = False,
    progress: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    on_start: OnStart | None = None,
) -> dict[str, Cache]:
    """The activations of ``corpus`` at the given kinds of sites, from disk where they are there.

    All kinds that are missing are computed in one run of the model; what is there is neither
    tokenised nor computed again, and the model is not even loaded. One process extracts a cache
    (or a shard of it) at a time; others that need it wait and then use it. An interrupted run is
    resumed from its last checkpoint and ends in the same bytes as an undisturbed one.

    sites: of heads, residual, attention_output, mlp_output. layers: only these are computed and
    stored, and the forward pass stops after the last of them; a cache of more layers serves too.
    among: the layers that ``layers`` are a part of, where parts are extracted one after another:
    ``extraction.dtype=auto`` is decided on all of these, as if they were one extraction.
    truncate: read the end of texts beyond the context where their sentence or answer is labelled.
    whole_texts: labels of sentences or answers are wanted, so texts beyond the context are refused
    (unless ``truncate``) instead of read for their words alone.
    memory_budget: bytes; bounds the batch and the rows that wait for the disk.
    shard: run only this part of the corpus' batches. The parts may run at the same time, and their
    bytes are those of a single process. The result is empty while any of them is not done.
    patience: wait for the other parts, but only so many seconds for one that no process works on.
    stored_only: refuse to run the model.
    progress: show a bar where standard error is a terminal.
    checkpoint_seconds: work that a kill may cost; each checkpoint waits for the disk.
    on_start: called once after the first batch, unless nothing has to be extracted; an error that
    it raises ends the extraction.

    Returns a cache for each kind of ``sites``.

    Raises:
        UserError: for a disk that is too small or not writable, a damaged cache, values that the
            stored dtype cannot hold, a text that does not fit into memory, other shards that are
            being written, and whatever ``align``, ``find_sites`` and loading the model refuse.
    """
    cache_dir = Path(cache_dir)
    position, extraction = position or PositionConfig(), extraction or ExtractionConfig()
    check_extraction(extraction)
    keys = {
        kind: cache_key(
            handle,
            corpus,
            kind,
            layers=layers,
            position=position,
            extraction=extraction,
            truncate=truncate,
        )
        for kind in dict.fromkeys(sites)
    }
    caches = _find(keys, cache_dir)
    if len(caches) < len(keys):
        missing = {kind: key for kind, key in keys.items() if kind not in caches}
        if stored_only:
            raise UserError(
                f"cache_dir={cache_dir} does not have the activations ({', '.join(missing)})",
                fix="cache_dir=DIRECTORY that they were stored in",
            )
        run = _Extraction(
            handle, corpus, missing, layers, among, position, extraction, cache_dir, truncate,
            whole_texts, memory_budget, shard, on_start,
        )  # fmt: skip
        caches |= run.run(progress, checkpoint_seconds)
        if len(caches) < len(keys) and patience is not None:
            caches |= run.wait(patience)
        if len(caches) < len(keys):
            log.info("shard %d of %d is done; others are not", shard.index, shard.count)
            return {}
    counts = [cache.manifest["counts"] for cache in caches.values()]
    unread = max(of.get("unread_texts", 0) - of.get("empty_texts", 0) for of in counts)
    if whole_texts and unread:
        raise UserError(
            f"{unread} texts exceed the model's context of {handle.context}, so their sentence or "
            "answer labels cannot be read",
            fix="truncate=true to read only the end of long texts",
        )
    for kind, cache in caches.items():
        if not cache.fresh:
            log.info("%s: activations reused from %s; the model is not run", kind, cache.directory)
        warn_of_rounding(kind, cache, extraction.dtype)
    return {kind: caches[kind] for kind in keys}


def _find(keys: dict[str, CacheKey], cache_dir: Path) -> dict[str, Cache]:
    caches = {kind: key.find(cache_dir) for kind, key in keys.items()}
    return {kind: cache for kind, cache in caches.items() if cache is not None}


@dataclass
class _Extraction:
    """One run of the model over a corpus, for the caches that are missing."""

    handle: Handle
    corpus: Corpus
    keys: dict[str, CacheKey]
    layers: list[int] | None
    among: list[int] | None
    position: PositionConfig
    extraction: ExtractionConfig
    cache_dir: Path
    truncate: bool
    whole_texts: bool
    memory_budget: int
    shard: Shard
    on_start: OnStart | None
    one_by_one: bool = False
    """Whether padding would change the model's numbers, so that no batch may have any."""
    rounding: dict[str, Rounding] = field(default_factory=dict)
    """What storage loses of each kind of site, where it was measured."""

    def run(self, progress: bool, checkpoint_seconds: float) -> dict[str, Cache]:
        """The caches that are complete in the end: all of them, unless other shards are missing."""
        with writing(self._lock_names(), self.cache_dir):
            # Another process may have finished some while this one waited.
            caches = self._take_finished()
            if self.keys:
                with disk_errors(self.cache_dir, INDEX_BYTES * len(self.corpus.units)):
                    alignment = align(
                        self.corpus,
                        self.handle,
                        self.position,
                        truncate=self.truncate,
                        whole_texts=self.whole_texts,
                        directory=self.cache_dir,
                    )
                caches |= self._extract(alignment, progress, checkpoint_seconds)
                return_freed_memory()  # the model's, before probes are fitted
        return caches

    def wait(self, patience: float) -> dict[str, Cache]:
        """The caches that were not complete, when the other shards are done."""
        caches = self._take_finished()
        while self.keys:
            wait_for_others(
                lambda: [key.name for key in self._unfinished().values()],
                self.cache_dir,
                self.shard,
                patience,
            )
            caches |= self._take_finished()
            if self.keys:  # the process that should have completed them was killed
                caches |= self.run(progress=False, checkpoint_seconds=CHECKPOINT_SECONDS)
        return caches

    def _unfinished(self) -> dict[str, CacheKey]:
        return {k: key for k, key in self.keys.items() if key.find(self.cache_dir) is None}

    def _extract(
        self, alignment: Alignment, progress: bool, checkpoint_seconds: float
    ) -> dict[str, Cache]:
        body = self.handle.load()
        sites = {kind: self._sites(body, kind) for kind in self.keys}
        plan = BatchPlan(alignment, self._tokens_per_batch(body))
        judged = sites
        if self.among is not None:
            projection = self.handle.settings.head_projection
            every = {kind: find_sites(body, kind, head_projection=projection) for kind in self.keys}
            judged = {
                kind: [site for site in every[kind] if site.layer in self.among] for kind in every
            }
        self.keys, self.rounding = settle_dtypes(
            self.handle.kind, body, plan, judged, self.keys, self.cache_dir
        )
        caches = self._take_finished()  # under the dtypes that auto came to
        while True:
            try:
                return caches | self._store(body, plan, sites, progress, checkpoint_seconds)
            except StoredOverflowError as error:
                if self.extraction.dtype != AUTO or self.shard != WHOLE:
                    raise
                site = error.site
            # Beyond float16, and not in the sample that decided: what was stored is gone already.
            log.warning("%s: values beyond float16; begun anew in float32", site)
            self.keys[site] = self.keys[site].stored_as("float32")
            self.rounding[site] = replace(self.rounding[site], overflow=True)
            caches |= self._take_finished()

    def _store(
        self,
        body: nn.Module,
        plan: BatchPlan,
        sites: dict[str, list[Site]],
        progress: bool,
        checkpoint_seconds: float,
    ) -> dict[str, Cache]:
        writers: dict[str, CacheWriter] = {}
        try:
            with self._keys_locked():
                caches = self._take_finished()
                for kind in self.keys:
                    writers[kind] = self._writer(kind, sites[kind], plan)
            if not writers:
                return caches
            done = common_progress(list(writers.values()), plan.start(self.shard))
            log_plan(list(self.keys), plan, self.shard, done, self.cache_dir)
            capacity = min(WAITING_BYTES, self.memory_budget // 4)
            with BackgroundWriter(list(writers.values()), capacity) as writer:
                done = run_passes(
                    self.handle,
                    body,
                    plan,
                    StoringVisitor(
                        self.handle.kind,
                        {k: sites[k] for k in writers},
                        writer,
                        on_first_batch(self.on_start, plan, self.shard, writers, done),
                    ),
                    progress=done,
                    shard=self.shard,
                    checkpoint_seconds=checkpoint_seconds,
                    label="extracting" if progress else None,
                )
            return caches | self._finish(writers, done)
        except BaseException as error:
            for of_kind in writers.values():
                of_kind.close()
                vain = isinstance(error, UserError) and not isinstance(error, CheckpointError)
                if vain or not of_kind.progress.sequences:  # it would only take up the disk
                    of_kind.discard()
            raise

    def _take_finished(self) -> dict[str, Cache]:
        """The caches that another run has finished by now, which are no longer extracted here."""
        caches = _find(self.keys, self.cache_dir)
        self.keys = {kind: key for kind, key in self.keys.items() if kind not in caches}
        return caches

    def _finish(self, writers: dict[str, CacheWriter], done: Progress) -> dict[str, Cache]:
        if self.shard != WHOLE:
            for writer in writers.values():
                writer.checkpoint(done)
        with self._keys_locked():
            # The last shard that is done completes the cache, perhaps while this one waited.
            caches = self._take_finished()
            for kind in self.keys:
                if (cache := writers[kind].finish(done)) is not None:
                    caches[kind] = cache
            return caches

    def _sites(self, body: nn.Module, kind: str) -> list[Site]:
        projection = self.handle.settings.head_projection
        sites = find_sites(body, kind, layers=self.layers, head_projection=projection)
        try:
            verify_sites(body, sites)
        except PaddingError as error:
            if not self.one_by_one:
                log.warning("%s: texts are run one at a time", error.wrong)
            self.one_by_one = True
        return sites

    def _tokens_per_batch(self, body: nn.Module) -> int:
        """The configured batch size, or less where a small budget or the model asks for it."""
        if self.one_by_one:
            return 1  # fewer than any text has: a batch is a single text
        weight: Tensor = body.get_input_embeddings().weight  # type: ignore[operator]
        affordable = self.memory_budget // (WORKING_SET * weight.shape[-1])
        return max(1, min(self.extraction.tokens_per_batch, affordable))

    def _writer(self, kind: str, sites: list[Site], plan: BatchPlan) -> CacheWriter:
        key, alignment, own = self.keys[kind], plan.alignment, self._lock_names()
        manifest = new_manifest(key, self.handle, plan, self.rounding.get(kind))
        return CacheWriter(
            self.cache_dir / key.name,
            manifest,
            layer_infos(sites),
            len(alignment),
            row_fields(alignment),
            shard=self.shard,
            span=plan.range_of(self.shard),
            before_discard=lambda: require_idle(key.name, self.cache_dir, own),
        )

    def _lock_names(self) -> list[str]:
        """What only this run may write: the caches, or a shard of each."""
        names = [key.name for asked in self.keys.values() for key in asked.candidates()]
        return names if self.shard == WHOLE else [shard_lock(name, self.shard) for name in names]

    def _keys_locked(self) -> contextlib.AbstractContextManager[None]:
        """The locks of the caches, which a run without shards holds anyway."""
        if self.shard == WHOLE:
            return contextlib.nullcontext()
        return writing([key.name for key in self.keys.values()], self.cache_dir)
