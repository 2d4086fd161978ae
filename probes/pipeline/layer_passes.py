"""The activations of a run: all at once, or a few layers at a time where ``disk_budget`` is small.

In passes, each extracts some layers into a directory of this run's own; they are dropped when the
next is asked for. The batches, and so the numbers, are those of an extraction of all layers.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock

from probes.activations.cache import Cache
from probes.activations.dtypes import AUTO
from probes.activations.extraction import extract
from probes.activations.key import cache_key
from probes.activations.layout import LayerInfo, data_bytes, layer_file
from probes.activations.start import ExtractionStart, OnStart
from probes.activations.waiting import PATIENCE
from probes.core.errors import UserError
from probes.core.files import digest, disk_errors, size
from probes.corpora.corpus import TEXT_LEVELS
from probes.models.depth import known_sites
from probes.models.handle import Handle
from probes.passes.alignment import align
from probes.pipeline.disk_budget import next_pass
from probes.pipeline.fit_plan import TRAINED, layer_order
from probes.pipeline.prepare import PreparedRun
from probes.pipeline.whole_layers import is_sampled
from probes.training.problems import LayerOrder

log = logging.getLogger(__name__)

Caches = dict[str, dict[str, Cache]]
"""By name of the model (``trained``, ``random_init``) and kind of site."""


@dataclass
class Activations:
    """What a run reads of its models.

    ``first`` gives the caches, or those of the first pass; ``rest`` the others, one after another.
    """

    prepared: PreparedRun
    wanted: Sequence[tuple[str, Handle, list[str]]]
    """As ``wanted_sites`` gives them."""
    layers: list[int] | None
    """Those of the run; None: all."""
    run_dir: Path
    phase: Callable[[str], AbstractContextManager[None]]
    """Times an extraction."""
    on_start: OnStart
    stored_only: bool = False
    """Refuse to run the model."""
    patience: float | None = PATIENCE
    """Of a shard: see ``extract``."""
    in_passes: bool = False
    _infos: dict[str, list[LayerInfo]] = field(default_factory=dict)
    """Of all layers, by kind of site."""
    _left: list[int] = field(default_factory=list)
    _rows: int = 0
    _dtypes: dict[tuple[str, str], str] = field(default_factory=dict)
    """By model and kind of site, what ``extraction.dtype`` came to."""
    _last: Caches = field(default_factory=dict)
    _lock: filelock.BaseFileLock | None = None

    def first(self) -> Caches:
        """The caches of all layers, or in passes of the first ones.

        Raises:
            UserError: a disk budget that does not hold one layer, and what ``extract`` refuses.
        """
        budget = self.prepared.disk_budget
        if budget is not None and not self._stored():
            with self.phase("extract"):
                self._plan()
            self.in_passes = sum(self._bytes().values()) > budget
        if not self.in_passes:
            with self.phase("extract"):
                self._last = self._extract(self.layers, self.prepared.cache_dir, self.on_start)
            return self._last
        self._drop_left_behind()
        return self._next()

    def rest(self) -> Iterator[Caches]:
        """The caches of each further pass; those before it are gone by then."""
        while self.in_passes and self._left:
            yield self._next()

    def holding(self, layers: Iterable[int]) -> Iterator[Caches]:
        """Caches that hold these layers: those there are, or in a few passes more."""
        self._left = sorted(set(layers))
        there = {i.layer for of in self._last[TRAINED].values() for i in of.layers}
        if self._left and there.issuperset(self._left):
            self._left = []
            yield self._last
        yield from self.rest()

    @property
    def order(self) -> LayerOrder:
        """Of all layers of the run."""
        if not self.in_passes:
            return layer_order(self._last[TRAINED])
        return self._order()

    def _order(self) -> LayerOrder:
        """As the model's structure gives it."""
        return LayerOrder(
            {site: [(i.stream, i.layer) for i in infos] for site, infos in self._infos.items()}
        )

    def described(self) -> tuple[Cache, dict[str, Cache]]:
        """For the record: the cache of the run's own site, with all layers though they may be
        gone; and the caches that stay, by kind of site."""
        site = self.prepared.config.site
        main = self._last[TRAINED][site]
        if not self.in_passes:
            return main, self._last[TRAINED]
        return replace(main, layers=self._infos[site]), {}

    def __enter__(self) -> Activations:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what passes have stored, unless the run was interrupted: it is gone on with."""
        if self._lock is None:
            return
        if error is None or isinstance(error, Exception):
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.with_suffix(".lock").unlink(missing_ok=True)
        self._lock.release()

    @property
    def _directory(self) -> Path:
        """Of the run directory, so that the run that goes on there goes on with it."""
        name = f"passes-{digest(str(self.run_dir.resolve()))[:16]}"
        return self.prepared.cache_dir / name

    def _extract(
        self,
        layers: list[int] | None,
        cache_dir: Path,
        on_start: OnStart | None,
        among: list[int] | None = None,
    ) -> Caches:
        prepared, config = self.prepared, self.prepared.config
        levels = {prepared.corpus.feature(name).level for name in prepared.features}
        return {
            name: extract(
                handle,
                prepared.corpus,
                sites=sites,
                layers=layers,
                among=among,
                position=config.position,
                extraction=config.extraction,
                cache_dir=cache_dir,
                truncate=config.truncate,
                whole_texts=not levels.isdisjoint(TEXT_LEVELS),
                memory_budget=prepared.memory_budget,
                shard=prepared.shard,
                patience=self.patience,
                stored_only=self.stored_only,
                progress=config.trainer.progress,
                on_start=on_start if name == TRAINED else None,
            )
            for name, handle, sites in self.wanted
        }

    def _stored(self) -> bool:
        """Whether all activations are on the disk already."""
        prepared, config = self.prepared, self.prepared.config
        settings: dict[str, Any] = {
            "layers": self.layers,
            "position": config.position,
            "extraction": config.extraction,
            "truncate": config.truncate,
        }
        return all(
            cache_key(handle, prepared.corpus, site, **settings).find(prepared.cache_dir)
            for _, handle, sites in self.wanted
            for site in sites
        )

    def _plan(self) -> None:
        """Count rows and layers, without the model's weights."""
        prepared, config = self.prepared, self.prepared.config
        _, handle, kinds = self.wanted[0]
        for kind in kinds:
            sites = [
                site
                for site in known_sites(handle, kind)
                if self.layers is None or site.layer in self.layers
            ]
            single = len({site.stream for site in sites}) == 1
            self._infos[kind] = [
                LayerInfo(
                    s.stream,
                    s.layer,
                    s.units,
                    s.width,
                    layer_file(s.stream, s.layer, single_stream=single),
                )
                for s in sites
            ]
        self._require_same_layers()
        levels = {prepared.corpus.feature(name).level for name in prepared.features}
        prepared.cache_dir.mkdir(parents=True, exist_ok=True)
        with disk_errors(prepared.cache_dir, 0):
            alignment = align(
                prepared.corpus,
                handle,
                config.position,
                truncate=config.truncate,
                whole_texts=not levels.isdisjoint(TEXT_LEVELS),
                directory=prepared.cache_dir,
            )
        self._rows = len(alignment)
        self._left = sorted({info.layer for info in self._infos[config.site]})

    def _require_same_layers(self) -> None:
        """Passes over the layers with heads would miss the others of a hybrid."""
        order, config = self._order(), self.prepared.config
        heads = set(order.layers[config.site])
        for site, layers in order.layers.items():
            sampled = is_sampled(config.baseline.residual, order.layers[config.site])
            if not (sampled or heads.issuperset(layers)):
                raise UserError(
                    f"disk_budget={config.disk_budget}: this model has layers without heads, whose "
                    f"{site} no pass would read",
                    fix=f"baseline.{site}=none, or disk_budget=null",
                )

    def _bytes(self) -> dict[int, int]:
        """What each layer takes on the disk; ``auto`` counts as float32 until it is settled."""
        asked = self.prepared.config.extraction.dtype
        asked = "float32" if asked == AUTO else asked
        total = dict.fromkeys(self._left, 0)
        for name, _, sites in self.wanted:
            for site in sites:
                dtype = self._dtypes.get((name, site), asked)
                for info in self._infos[site]:
                    n_bytes = data_bytes(info.units, self._rows, info.width, dtype)
                    if info.layer in total:
                        total[info.layer] += n_bytes
        return total

    def _next(self) -> Caches:
        budget = self.prepared.disk_budget
        assert budget is not None
        layers = next_pass(self._left, self._bytes(), budget)
        own = self._directory / f"{layers[0]}-{layers[-1]}"
        for other in self._directory.glob("*"):
            if other != own:
                shutil.rmtree(other, ignore_errors=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        more = f"; {len(self._left) - len(layers)} layers follow" if self._left != layers else ""
        log.info("disk_budget=%s: layers %s%s", size(budget), ", ".join(map(str, layers)), more)
        every = sorted({info.layer for infos in self._infos.values() for info in infos})
        first = not self._last
        with self.phase("extract"):
            caches = self._extract(layers, own, self._started if first else None, every)
        self._left = self._left[len(layers) :]
        for name, of_model in caches.items():
            for site, cache in of_model.items():
                dtype = str(cache.manifest["dtype"])
                if self._dtypes.setdefault((name, site), dtype) != dtype:
                    raise UserError(
                        f"extraction.dtype=auto came to other dtypes in other layers ({site}): "
                        "values beyond float16 that no sample showed",
                        fix="extraction.dtype=float32",
                    )
        self._last = caches
        return caches

    def _started(self, start: ExtractionStart) -> None:
        """Announce all layers, of which the first pass has some."""
        caches = {k: replace(c, layers=self._infos[k]) for k, c in start.caches.items()}
        numbers = [info.layer for infos in self._infos.values() for info in infos]
        done = max(info.layer for cache in start.caches.values() for info in cache.layers) + 1
        # Each pass runs the model up to its last layer.
        passes = -(-(max(numbers) + 1) // done)
        seconds = start.seconds * passes * (passes + 1) / 2
        self.on_start(replace(start, caches=caches, seconds=seconds))

    def _drop_left_behind(self) -> None:
        """Remove what passes of processes that were killed have left, and lock this run's own."""
        cache_dir, own = self.prepared.cache_dir, self._directory
        for directory in cache_dir.glob("passes-*"):
            if directory.suffix or directory == own:
                continue
            try:
                with filelock.FileLock(directory.with_suffix(".lock"), timeout=0):
                    shutil.rmtree(directory, ignore_errors=True)
            except filelock.Timeout:
                continue
        self._lock = filelock.FileLock(own.with_suffix(".lock"))
        self._lock.acquire()
