"""A whole run of a language model beside its bare forward pass: where the time goes.

    python -m benchmarks.language_model [--quick] [--models smollm2] [--sentences 900]

JSON lines; a setting is a model. ``bare`` is the body alone over length-sorted batches of the same
token budget, no hooks, loaded before: the median of three. Ours are the parts of one run with the
defaults on UD English EWT (``upos`` and ``deprel``; the generated grammar without the treebank):
``loading`` the model, ``extraction`` (tokens, passes, cache on disk, without loading), fits of the
``heads`` with all evidence, of whole layers (``all_heads``, ``residual``), the ``report``, and
``after``, which is everything after the extraction. ``ratio`` is to the bare pass.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks import lines
from benchmarks.extract_peers import Job, bare
from benchmarks.memory import scratch
from benchmarks.shapes import SHARED, LoadedHandle
from probes.config import ExtractionConfig, GrammarConfig, ModelConfig, RunConfig, UDConfig
from probes.core.errors import UserError
from probes.core.memory import peak_memory_bytes
from probes.models.handle import Handle
from probes.models.loading import open_model
from probes.passes.alignment import align
from probes.pipeline import run as pipeline
from probes.pipeline import work
from probes.pipeline.fits import Fits
from probes.pipeline.prepare import prepare
from probes.results.record import RECORD, read_record
from probes.training.chunk_fit import ChunkFit

QUICK = 40
"""Sentences."""
ROUNDS = 3


class TimedFits(Fits):
    """Adds up the seconds of fits by site."""

    seconds: dict[str, float]

    def _on_fit(self, fit: ChunkFit) -> None:
        TimedFits.seconds[fit.site] = TimedFits.seconds.get(fit.site, 0.0) + fit.seconds
        super()._on_fit(fit)


def run_config(name: str, sentences: int, directory: Path) -> RunConfig:
    """A run with the defaults, of so many sentences."""
    treebank, config = SHARED / "data" / "ud_english_ewt", RunConfig()
    config.model = ModelConfig(name=name)
    config.features = ["upos", "deprel"]
    config.corpus = GrammarConfig(sentences=sentences)
    if treebank.is_dir():
        config.corpus = UDConfig(path=str(treebank), max_examples=sentences)
    config.cache_dir = str(directory / "cache")
    config.trainer = dataclasses.replace(config.trainer, accelerator="cpu", progress=False)
    return config


def measure(name: str, sentences: int, rounds: int, directory: Path) -> None:
    """One model: the bare pass, then a run."""
    config = run_config(name, sentences, directory)
    prepared = prepare(config)
    handle = open_model(config.model, cache_dir=prepared.cache_dir)
    handle.load()  # a GGUF file is unpacked once
    start = time.perf_counter()
    body = handle.load()
    loading = time.perf_counter() - start
    values = {field.name: getattr(handle, field.name) for field in dataclasses.fields(Handle)}
    loaded = LoadedHandle(**values, body=body)
    alignment = align(prepared.corpus, handle)
    job = Job(loaded, alignment, ExtractionConfig().tokens_per_batch)

    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        bare(job)
        seconds.append(time.perf_counter() - start)
    base = statistics.median(seconds)
    TimedFits.seconds = {}
    run_dir = directory / "run"
    run_dir.mkdir()
    with (
        mock.patch.object(pipeline, "Fits", TimedFits),
        mock.patch.object(work, "open_model", return_value=loaded),
    ):
        pipeline.run_prepared(prepared, run_dir)
    record = read_record(run_dir / RECORD)
    timings = record.timings
    parts = {"loading": loading, "extraction": timings["extract_seconds"]}
    parts |= TimedFits.seconds | {"report": timings["report_seconds"]}
    parts["after"] = timings["fit_seconds"] + timings["report_seconds"]
    about = {"tokens": len(alignment.ids), "rows": record.rows, "threads": torch.get_num_threads()}
    rate = round(len(alignment.ids) / base)
    report(name, "bare", base, base, tokens_per_second=rate, rounds=rounds, **about)
    for part, spent in parts.items():
        report(name, f"headprobes-{part}", spent, base)
    total = parts["extraction"] + parts["after"]
    report(name, "headprobes", total, base, peak_mb=round(peak_memory_bytes() / 1e6, 1), **about)


def report(setting: str, contestant: str, seconds: float, base: float, **values: Any) -> None:
    ratio = round(seconds / base, 3)
    lines.report(
        "language_model", setting, contestant, seconds=round(seconds, 3), ratio=ratio, **values
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few sentences, within a minute")
    parser.add_argument("--models", nargs="+", default=["smollm2"], help="as model.name")
    parser.add_argument("--sentences", type=int, default=900)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(arguments)
    for name in given.models:
        try:
            open_model(ModelConfig(name=name))
        except UserError as error:
            lines.report("language_model", name, "headprobes", missing=str(error).splitlines()[0])
            continue
        with scratch() as directory:
            sentences = QUICK if given.quick else given.sentences
            measure(name, sentences, given.rounds, Path(directory))


if __name__ == "__main__":
    main()
