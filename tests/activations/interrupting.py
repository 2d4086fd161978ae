"""Ways to disturb an extraction: kills, stops, too little memory; and what it leaves on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from probes.activations import extraction
from probes.activations.extraction import extract
from probes.config import ExtractionConfig
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.passes import loop
from probes.passes.shards import WHOLE, Shard
from tests.fork_server import ForkServer

SMALL = ExtractionConfig(tokens_per_batch=64)


class Forks(ForkServer):
    """Starts extractions in processes of their own; see ``tests.activations.forked``."""

    def __init__(self, model: Path, outputs: Path, project: Path) -> None:
        super().__init__("tests.activations.forked", [str(outputs), str(model)], project)

    def start(
        self,
        cache_dir: Path,
        pause: float = 0.0,
        hold: int = 0,
        shard: tuple[int, int] = (0, 1),
        patience: float | None = None,
    ) -> tuple[int, Path]:
        return self.fork(
            cache_dir=str(cache_dir), pause=pause, hold=hold, shard=shard, patience=patience
        )

    def finish(self, pid: int, output: Path) -> str:
        assert self.ask(wait=pid) == 0, output.read_text()
        return output.read_text()


def content(cache_dir: Path) -> dict[str, bytes]:
    """Every byte below a cache directory, but the locks."""
    return {
        str(path.relative_to(cache_dir)): path.read_bytes()
        for path in sorted(cache_dir.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def wait_for(output: Path, text: str, count: int) -> None:
    """Wait until a process has said ``text`` so many times."""
    end = time.monotonic() + 60
    while output.read_text().count(text) < count:
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.002)


def wait_for_progress(cache_dir: Path, beyond: int) -> int:
    """Wait until more than ``beyond`` sequences are on disk for every kind; how many are."""
    end = time.monotonic() + 60
    while True:
        states = [
            json.loads(path.read_text()) for path in cache_dir.glob("*.partial/manifest.json")
        ]
        assert not any(state["complete"] for state in states)
        done = min((int(state["sequences_done"]) for state in states), default=0)
        if done > beyond:
            return done
        assert time.monotonic() < end
        time.sleep(0.002)


def stop(*args: Any) -> None:
    raise KeyboardInterrupt


def interrupted(
    monkeypatch: pytest.MonkeyPatch,
    handle: Handle,
    corpus: Corpus,
    cache_dir: Path,
    *,
    after: int,
    settings: ExtractionConfig = SMALL,
    sites: Sequence[str] = ("heads",),
    shard: Shard = WHOLE,
) -> None:
    """Run ``after`` passes, with a checkpoint behind each, and stop."""
    real = vars(loop)["forward"]
    passes: list[int] = []

    def counting(*args: Any, **options: Any) -> Any:
        passes.append(1)
        if len(passes) > after:
            raise KeyboardInterrupt
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("probes.passes.loop.forward", counting)
        with pytest.raises(KeyboardInterrupt):
            extract(
                handle,
                corpus,
                sites=sites,
                extraction=settings,
                cache_dir=cache_dir,
                shard=shard,
                checkpoint_seconds=0.0,
            )


def refuse(*args: Any, **options: Any) -> Any:
    raise AssertionError("this must not be called")


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Appends the number of forward passes of each ``extract``."""
    counts: list[int] = []
    real, real_extract = vars(loop)["forward"], extraction._Extraction.run

    def counting(*args: Any, **options: Any) -> Any:
        counts[-1] += 1
        return real(*args, **options)

    def run(self: Any, *args: Any) -> Any:
        counts.append(0)
        return real_extract(self, *args)

    monkeypatch.setattr("probes.passes.loop.forward", counting)
    monkeypatch.setattr(extraction._Extraction, "run", run)
    return counts


def limit_tokens(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """A machine that runs out of memory above ``limit`` padded tokens, half-way through."""
    real = vars(loop)["forward"]

    def limited(body: Any, kind: Any, ids: torch.Tensor, mask: torch.Tensor, **options: Any) -> Any:
        result = real(body, kind, ids, mask, **options)
        if ids.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return result

    monkeypatch.setattr("probes.passes.loop.forward", limited)
