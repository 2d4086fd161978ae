"""Run the model over a corpus once and store the activations of every site kind asked for."""

from __future__ import annotations

import contextlib
import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import tokenizers
import torch
import transformers
from torch import Tensor, nn

from probes.activations.background_writer import BackgroundWriter
from probes.activations.cache import Cache
from probes.activations.key import CacheKey, cache_key
from probes.activations.layout import SCHEMA_VERSION, LayerInfo, layer_file
from probes.activations.writer import CacheWriter, Progress, RowFields
from probes.config import ExtractionConfig, PositionConfig
from probes.config.checks import check_extraction
from probes.core.errors import UserError
from probes.core.files import disk_errors, locked
from probes.core.process import return_freed_memory
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.models.sites import Site, find_sites
from probes.models.verification import verify_sites
from probes.passes.alignment import Alignment, align
from probes.passes.batches import BatchPlan
from probes.passes.loop import Passes
from probes.passes.progress import ProgressBar

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 20.0
STAGED_BYTES = 32 << 20  # rows that may wait for the disk; more would only use memory
INDEX_BYTES = 24  # of a row on disk while it is extracted: see ``Alignment``
ROWS_AT_ONCE = 1 << 20  # of the index, when it is copied into the cache
WORKING_SET = 32  # bytes that a forward pass holds per token and unit of d_model, roughly


def extract(
    handle: Handle,
    corpus: Corpus,
    *,
    sites: Sequence[str] = ("heads",),
    layers: list[int] | None = None,
    position: PositionConfig | None = None,
    extraction: ExtractionConfig | None = None,
    cache_dir: str | Path = "outputs/cache",
    truncate: bool = False,
    whole_texts: bool = True,
    memory_budget: int = 1 << 30,
    progress: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> dict[str, Cache]:
    """The activations of ``corpus`` at the given kinds of sites, from disk where they are there.

    All kinds that are missing are computed in one run of the model; what is there is neither
    tokenised nor computed again, and the model is not even loaded. One process extracts a cache
    at a time; others that need it wait and then use it. An interrupted run is resumed from its
    last checkpoint and ends in the same bytes as an undisturbed one.

    sites: of heads, residual, attention_output, mlp_output. layers: only these are computed and
    stored, and the forward pass stops behind the last of them; a cache of more layers serves too.
    whole_texts: labels of sentences or answers are wanted, so texts beyond the context are refused
    (unless ``truncate``) instead of read for their words alone.
    memory_budget: bytes; bounds the batch and the rows that wait for the disk.
    checkpoint_seconds: work that a kill may cost; each checkpoint waits for the disk.

    Raises ``UserError`` for a disk that is too small or not writable, a damaged cache, values
    that the stored dtype cannot hold, a text that does not fit into memory, and whatever
    ``align``, ``find_sites`` and the loading of the model refuse.
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
    found = _find(keys, cache_dir)
    if len(found) < len(keys):
        missing = {kind: key for kind, key in keys.items() if kind not in found}
        with _locked(missing, cache_dir):
            # Another process may have finished them while this one waited.
            found |= _find(missing, cache_dir)
            missing = {kind: key for kind, key in missing.items() if kind not in found}
            if missing:
                job = _Extraction(handle, corpus, missing, layers, position, extraction, cache_dir)
                with disk_errors(cache_dir, INDEX_BYTES * len(corpus.units)):
                    alignment = align(
                        corpus,
                        handle,
                        position,
                        truncate=truncate,
                        whole_texts=whole_texts,
                        directory=cache_dir,
                    )
                found |= job.run(alignment, memory_budget, progress, checkpoint_seconds)
                return_freed_memory()  # the model's, or it would lie beside the chunks of the fits
    unread = max(cache.manifest["counts"].get("unread_texts", 0) for cache in found.values())
    if whole_texts and unread:
        raise UserError(
            f"{unread} texts exceed the model's context of {handle.context} or are empty, so "
            "their sentence or answer labels cannot be read",
            fix="truncate=true to read only the end of long texts",
        )
    for kind, cache in found.items():
        if not cache.fresh:
            log.info("%s: activations reused from %s; the model is not run", kind, cache.directory)
    return {kind: found[kind] for kind in keys}


def _find(keys: dict[str, CacheKey], cache_dir: Path) -> dict[str, Cache]:
    caches = {kind: key.find(cache_dir) for kind, key in keys.items()}
    return {kind: cache for kind, cache in caches.items() if cache is not None}


@contextlib.contextmanager
def _locked(keys: dict[str, CacheKey], cache_dir: Path) -> Iterator[None]:
    """Hold the locks of all keys, taken in one order everywhere so that none wait in a circle."""
    with disk_errors(cache_dir, 0):
        cache_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for name in sorted(key.name for key in keys.values()):
            waiting = f"another run is extracting {cache_dir / name}; waiting for it"
            with disk_errors(cache_dir, 0):
                stack.enter_context(locked(cache_dir / f"{name}.lock", wait_message=waiting))
        yield


@dataclass
class _Extraction:
    """One run of the model over a corpus, for the caches that are missing."""

    handle: Handle
    corpus: Corpus
    keys: dict[str, CacheKey]
    layers: list[int] | None
    position: PositionConfig
    extraction: ExtractionConfig
    cache_dir: Path

    def run(
        self, alignment: Alignment, memory_budget: int, progress: bool, checkpoint_seconds: float
    ) -> dict[str, Cache]:
        body = self.handle.load()
        sites = {kind: self._sites(body, kind) for kind in self.keys}
        budget = self._tokens_per_batch(body, memory_budget)
        plan = BatchPlan(alignment, budget)
        writers: dict[str, CacheWriter] = {}
        try:
            for kind in self.keys:
                writers[kind] = self._writer(kind, sites[kind], alignment, budget)
            state = _common_progress([w.progress for w in writers.values()], budget)
            log.info(
                "%s: %d sequences, %d tokens, %d rows -> %s%s",
                ", ".join(self.keys),
                len(plan),
                alignment.offsets[-1],
                len(alignment),
                self.cache_dir,
                f" (resumed at sequence {state.sequences})" if state.sequences else "",
            )
            stage = BackgroundWriter(list(writers.values()), min(STAGED_BYTES, memory_budget // 4))
            with stage, ProgressBar(plan, state.sequences, shown=progress) as meter:
                passes = Passes(self.handle, body, sites, plan, stage, meter)
                state = passes.run(state, checkpoint_seconds)
            return {kind: writer.finish(state) for kind, writer in writers.items()}
        except BaseException as error:
            for writer in writers.values():
                writer.close()
                # Nothing done, or done in vain: what is left would only take up the disk.
                if isinstance(error, UserError) or not writer.progress.sequences:
                    writer.discard()
            raise

    def _sites(self, body: nn.Module, kind: str) -> list[Site]:
        projection = self.handle.settings.head_projection
        sites = find_sites(body, kind, layers=self.layers, head_projection=projection)
        verify_sites(body, sites)
        return sites

    def _tokens_per_batch(self, body: nn.Module, memory_budget: int) -> int:
        """The configured batch size, or less where a small budget asks for it."""
        weight: Tensor = body.get_input_embeddings().weight  # type: ignore[operator]
        affordable = memory_budget // (WORKING_SET * weight.shape[-1])
        return max(1, min(self.extraction.tokens_per_batch, affordable))

    def _writer(
        self, kind: str, sites: list[Site], alignment: Alignment, budget: int
    ) -> CacheWriter:
        key = self.keys[kind]
        single = len({site.stream for site in sites}) == 1
        infos = [
            LayerInfo(
                stream=site.stream,
                layer=site.layer,
                units=site.units,
                width=site.width,
                file=layer_file(site.stream, site.layer, single_stream=single),
            )
            for site in sites
        ]
        manifest: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "key": key.name,
            "fields": key.fields | {"layers": key.layers and list(key.layers)},
            "site": kind,
            "dtype": self.extraction.dtype,
            "model_name": self.handle.name,
            "device": self.handle.device,
            "tokens": int(alignment.offsets[-1]),
            "sequences": len(alignment.example),
            "tokens_per_batch": budget,
            "counts": alignment.counts,
            "versions": _versions(),
        }
        directory = self.cache_dir / key.name
        return CacheWriter(directory, manifest, infos, len(alignment), _rows(alignment))


def _common_progress(found: Sequence[Progress], budget: int) -> Progress:
    """Where all caches can go on together: the least of them, if they used the same batches."""
    least = min(found, key=lambda progress: progress.sequences)
    if least.sequences == 0 or any(p.batching != least.batching for p in found):
        return Progress(0, 0, ((0, budget),))
    return least


def _rows(alignment: Alignment) -> RowFields:
    """What ``rows.safetensors`` holds."""
    example = alignment.example  # (S,)
    order = np.lexsort((np.arange(len(example)), example))
    rank = np.empty(len(example), dtype=np.int32)
    rank[order] = np.arange(len(example)) - np.searchsorted(example[order], example[order])
    columns: dict[str, Callable[[slice], npt.NDArray[np.int32]]] = {
        "unit": lambda at: alignment.unit[at],
        "example": lambda at: example[alignment.sequence[at]],
        "window": lambda at: rank[alignment.sequence[at]],
        "first_token": lambda at: alignment.first[at],
        "last_token": lambda at: alignment.last[at],
    }

    def pieces(field: str) -> Iterator[npt.NDArray[np.int32]]:
        for start in range(0, len(alignment), ROWS_AT_ONCE):
            yield columns[field](slice(start, start + ROWS_AT_ONCE))
            alignment.release()

    return pieces


def _versions() -> dict[str, str]:
    from probes.core.version import __version__

    modules = (torch, transformers, tokenizers, safetensors, np)
    versions = {module.__name__: str(module.__version__) for module in modules}
    return versions | {"headprobes": __version__, "python": platform.python_version()}
