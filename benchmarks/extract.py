"""Time of extraction beside a bare forward pass and the tools a user would pick instead.

    python -m benchmarks.extract [--quick] [--settings minilm gpt2 llama stories260K] [--rounds 3]

Prints JSON lines; a setting is a model. ``bare`` is the forward pass of the body alone over
length-sorted batches of the same token budget (``padding`` says how much they pad): ``ratio`` is
the time relative to it. Ours starts from the texts and ends with a complete cache on disk:
tokenising, alignment, the passes, writing, checksums and waiting for the disk are in it; loading
the model is in nobody's time. The peers get the tokens and their wrapped models ready, and leave
their rows in memory. ``gap`` is the largest error against single texts in float32, relative to the
largest value of the layer. ``peak_mb`` is resident memory above what the process held before. The
per-head script reads a quarter of the texts, and is scaled by tokens.

``read`` is the rate of reading a cache whose pages the system has forgotten, checksums included,
beside a plain sequential read of the same files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import lines
from benchmarks.extract_peers import LIBRARIES, Job, bare, collect, missing, per_head_script
from benchmarks.memory import peak_above, scratch
from benchmarks.shapes import SENTENCES, SETTINGS, available, corpus_of, open_setting
from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.config import ExtractionConfig
from probes.core.process import return_freed_memory
from probes.passes.alignment import align

QUICK = 20
"""The share of the texts is one in so many."""
CHECKED = 20  # texts whose numbers are compared with single passes


def measure(name: str, sentences: int, rounds: int, directory: Path, threads: int) -> None:
    """One setting: all contestants in alternation, then a line for each."""
    corpus = corpus_of(sentences)
    handle = open_setting(name, corpus, directory)
    budget = ExtractionConfig().tokens_per_batch
    job = Job(handle, align(corpus, handle), budget)
    part = corpus_of(max(sentences // 4, 1))
    few = Job(handle, align(part, handle), budget)
    share = len(job.alignment.ids) / len(few.alignment.ids)
    caches: list[Cache] = []

    def ours() -> Any:
        target = directory / f"{name}-{len(caches)}"
        caches.append(extract(handle, corpus, cache_dir=target)["heads"])

    contestants: dict[str, tuple[Callable[[], Any], float]] = {
        "bare": (lambda: bare(job), 1.0),
        "headprobes": (ours, 1.0),
        "per_head_script": (lambda: per_head_script(few), share),
    }
    for peer, prepare in LIBRARIES.items():
        if missing(peer):
            report(name, peer, missing=missing(peer))
            continue
        try:
            run = prepare(job)
            collect(few, run)
        except Exception as error:
            report(name, peer, failed=f"{type(error).__name__}: {error}")
        else:
            contestants[peer] = (lambda run=run: collect(job, run), 1.0)  # type: ignore[misc]

    bare(few)  # first passes allocate and choose kernels
    seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    peaks: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    found: dict[str, list[np.ndarray]] = {}
    for _ in range(rounds):
        for contestant, (run, scale) in list(contestants.items()):
            return_freed_memory()  # nobody finds the pages warm that somebody else has left
            try:
                spent, peak, _ = peak_above(lambda run=run: found.update({contestant: run()}))  # type: ignore[misc]  # noqa: B023
            except Exception as error:
                report(name, contestant, failed=f"{type(error).__name__}: {error}")
                del contestants[contestant]
                continue
            seconds[contestant].append(spent * scale)
            peaks[contestant].append(peak)
    reference = per_head_script(Job(handle, align(corpus_of(CHECKED), handle), budget))
    found["headprobes"] = [
        caches[-1].layer(x.layer).transpose(0, 1).flatten(1).numpy() for x in caches[-1].layers
    ]
    medians = {contestant: statistics.median(seconds[contestant]) for contestant in contestants}
    for contestant, median in medians.items():
        report(
            name,
            contestant,
            seconds=round(median, 3),
            ratio=round(median / medians["bare"], 3),
            gap=gap(found.get(contestant), reference),
            peak_mb=round(max(peaks[contestant]), 1),
            tokens=len(job.alignment.ids),
            rows=len(job.alignment),
            rounds=rounds,
            threads=threads,
            **({"padding": round(job.padding(), 3)} if contestant == "bare" else {}),
        )
    read(name, caches[-1], rounds)


def gap(found: list[np.ndarray] | None, reference: list[np.ndarray]) -> float | None:
    """Largest error over all layers, relative to the largest value of the layer."""
    if found is None:
        return None
    rows = min(len(found[0]), len(reference[0]))
    errors = [
        float(np.abs(z[:rows].astype(np.float32) - r[:rows]).max() / np.abs(r).max())
        for z, r in zip(found, reference, strict=True)
    ]
    return float(f"{max(errors):.2g}")


def read(name: str, cache: Cache, rounds: int) -> None:
    """Rates of reading all layers from disk, ours and the disk's own, in alternation."""
    paths = [cache.directory / info.file for info in cache.layers]
    plain, ours = [], []
    for _ in range(rounds):
        forget(paths)
        start = time.perf_counter()
        buffer = bytearray(1 << 22)
        for path in paths:
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        plain.append(time.perf_counter() - start)
        forget(paths)
        out = torch.empty(max(x.units * cache.n_rows * x.width for x in cache.layers))
        out.zero_()
        start = time.perf_counter()
        for info in cache.layers:
            shape = (info.units, cache.n_rows, info.width)
            cache.read(info, out=out[: info.units * cache.n_rows * info.width].view(shape))
        ours.append(time.perf_counter() - start)
    for contestant, times in (("sequential", plain), ("headprobes", ours)):
        median = statistics.median(times)
        report(
            f"{name}-read",
            contestant,
            seconds=round(median, 4),
            ratio=round(median / statistics.median(plain), 3),
            mb_per_second=round(cache.n_bytes / median / 1e6),
        )


def forget(paths: list[Path]) -> None:
    """Drop the files' pages from the system's cache."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def report(setting: str, contestant: str, **values: Any) -> None:
    lines.report("extract", setting, contestant, **values)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few texts, within a minute")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    for name in given.settings:
        if available(name):
            report(name, "headprobes", missing=available(name))
            continue
        sentences = SENTENCES[name] // (QUICK if given.quick else 1)
        with scratch() as directory:
            measure(name, sentences, given.rounds, Path(directory), torch.get_num_threads())


if __name__ == "__main__":
    main()
