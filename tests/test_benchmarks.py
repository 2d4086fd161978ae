"""Every benchmark runs, at sizes of seconds, and prints lines of the one schema."""

from __future__ import annotations

import json
import math
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from benchmarks import (
    effects,
    effects_memory,
    effects_peers,
    extract,
    extract_peers,
    fit,
    fit_peers,
    fit_settings,
    known_heads,
    language_model,
    memory,
    mlp,
    scaling,
    truth,
)
from probes.core import process
from probes.models.hooks import hooked
from probes.models.sites import Site
from probes.passes.batches import Batch
from probes.pipeline import publish
from tests.tiny_checkpoints import write_checkpoint

Lines = Callable[[str], list[dict[str, Any]]]
"""Lines of JSON as they come: their values are checked one by one."""

NUMBERS = ("seconds", "ratio", "peak_mb", "value")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """The lines printed so far, each checked against the schema."""

    def read(benchmark: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert found
        for line in found:
            assert line["benchmark"] == benchmark and line["setting"] and line["contestant"]
            for reason in {"missing", "failed"} & set(line):
                assert isinstance(line[reason], str) and line[reason]
                assert "seconds" not in line
            for name in set(NUMBERS) & set(line):
                assert isinstance(line[name], int | float) and math.isfinite(line[name])
            if isinstance(line.get("gap"), float):
                assert math.isfinite(line["gap"])
        assert any(line["contestant"] == "headprobes" for line in found)
        return found

    return read


@pytest.fixture
def in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements in this process: starting others costs seconds each."""
    monkeypatch.setattr(memory, "apart", lambda run, *arguments: run(*arguments))


def test_fit(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_settings, "QUICK_HEADS", 1)
    monkeypatch.setattr(fit_settings, "QUICK_ROWS", 100)
    monkeypatch.setattr(fit_settings, "QUICK_WORDS", 200)
    monkeypatch.setattr(fit_peers, "WORKERS", 1)
    fit.main(["--quick", "--rounds", "1", "--no-slow"])
    found = lines("fit")
    assert {line["setting"] for line in found} == {"A", "A-hard", "B", "C"}
    for setting in ("A", "A-hard", "B", "C"):
        by = {line["contestant"]: line for line in found if line["setting"] == setting}
        assert {"missing"} <= set(by["probelab"]) and {"missing"} <= set(by["probekit"])
        assert {"headprobes", "sklearn-lbfgs-float32-1x2", "torch-lbfgs-1x2"} <= set(by)
        ours = by["headprobes"]
        assert ours["gap"] <= 1e-5 and ours["seconds"] > 0 and ours["peak_mb"] > 0
        peers = [by[c]["ratio"] for c in by if "ratio" in by[c] and c != "headprobes"]
        assert min(peers) == 1.0


@pytest.mark.shared
def test_extract(lines: Lines, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    monkeypatch.setattr(extract, "QUICK", 300)
    monkeypatch.setattr(extract, "CHECKED", 3)
    monkeypatch.setattr(extract_peers, "installed", lambda name: False)
    extract.main(["--quick", "--settings", "stories260K", "--rounds", "1"])
    found = lines("extract")
    by = {line["contestant"]: line for line in found if line["setting"] == "stories260K"}
    for peer in extract_peers.LIBRARIES:
        assert "not installed" in by[peer]["missing"]
    assert by["bare"]["ratio"] == 1.0 and by["bare"]["gap"] is None
    for contestant in ("headprobes", "per_head_script"):
        assert by[contestant]["gap"] < 1e-2 and by[contestant]["seconds"] > 0
    reading = {line["contestant"] for line in found if line["setting"] == "stories260K-read"}
    assert reading == {"sequential", "headprobes"}


@pytest.mark.shared
def test_a_peer_that_fails_is_named(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    def broken(job: extract_peers.Job) -> None:
        raise ImportError("its API has changed")

    def bare(job: extract_peers.Job) -> Callable[[dict[str, torch.Tensor]], list[torch.Tensor]]:
        return lambda inputs: [torch.zeros(*inputs["input_ids"].shape, 64) for _ in job.sites]

    monkeypatch.setattr(extract, "QUICK", 1000)
    monkeypatch.setattr(extract, "CHECKED", 3)
    monkeypatch.setattr(extract, "LIBRARIES", {"old": broken, "wrong": bare})
    monkeypatch.setattr(extract_peers, "installed", lambda name: True)
    extract.main(["--quick", "--settings", "stories260K", "--rounds", "1"])
    by = {line["contestant"]: line for line in lines("extract") if "mb_per_second" not in line}
    assert by["old"]["failed"] == "ImportError: its API has changed"
    assert by["wrong"]["gap"] == 1.0, "rows of zeros are as far off as the largest value"


def test_a_model_that_is_not_at_hand_is_named(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "available", lambda name: "no such model")
    extract.main(["--quick", "--settings", "stories260K"])
    (line,) = lines("extract")
    assert line["missing"] == "no such model"


def test_scaling_of_the_fit(lines: Lines, monkeypatch: pytest.MonkeyPatch, in_place: None) -> None:
    tiny = replace(scaling.QUICK_BASE, rows=200, heads=2)
    axes = {"rows": (200, 400), "heads": (1, 2), "classes": (2, 3), "layers": (1, 2)}
    monkeypatch.setattr(scaling, "QUICK_BASE", tiny)
    monkeypatch.setattr(scaling, "QUICK_AXES", axes | {"replicas": (3, 6)})
    scaling.main(["--quick", "--rounds", "1", "--axes", *axes, "replicas"])
    found = lines("scaling")
    for axis in (*axes, "replicas"):
        first, second, last = (line for line in found if line["setting"] == axis)
        assert first["ratio"] == 1.0 and first["value"] < second["value"]
        assert {"seconds", "peak_mb", "anonymous_mb"} <= set(second)
        assert {"slope", "seconds_each", "seconds_fixed", "r2", "peak_mb_each"} <= set(last)


def test_slopes_of_a_straight_line() -> None:
    found = scaling.slopes([10, 20, 40], [1.5, 2.5, 4.5], [7.0, 7.0, 7.0], [1.0, 2.0, 4.0])
    assert found["anonymous_mb_each"] == pytest.approx(0.1)
    assert found["seconds_each"] == pytest.approx(0.1)
    assert found["seconds_fixed"] == pytest.approx(0.5)
    assert found["r2"] == 1.0 and found["peak_mb_each"] == pytest.approx(0, abs=1e-9)
    assert scaling.slopes([1, 2, 4], [3, 6, 12], [0, 0, 0], [0, 0, 0])["slope"] == 1.0
    assert scaling.slopes([1, 2, 4], [3, 12, 48], [0, 0, 0], [0, 0, 0])["slope"] == 2.0


def test_pages_of_files_are_told_from_memory_of_the_process(tmp_path: Path) -> None:
    size = 64 << 20
    (tmp_path / "file").write_bytes(bytes(size))

    def read_a_map() -> int:
        with open(tmp_path / "file", "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        touched = sum(mapped[:: mmap.PAGESIZE])
        time.sleep(10 * memory.SAMPLED_SECONDS)
        return touched

    def allocate() -> None:
        # Fresh pages, whatever the process has freed before.
        kept = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        kept[:] = b"1" * size
        time.sleep(10 * memory.SAMPLED_SECONDS)
        kept.close()

    of_file, own = memory.peak_above(read_a_map), memory.peak_above(allocate)
    assert of_file.peak_mb > 56 and of_file.anonymous_mb < 8
    assert own.peak_mb > 56 and own.anonymous_mb > 56


@pytest.mark.parametrize("benchmark", [memory, scaling], ids=["memory", "scaling"])
def test_extraction_against_rows(
    benchmark: ModuleType, lines: Lines, monkeypatch: pytest.MonkeyPatch, in_place: None
) -> None:
    monkeypatch.setattr(memory, "QUICK", [100, 200])
    monkeypatch.setattr(scaling, "QUICK_AXES", {"extraction": (100, 200)})
    few = ["--axes", "extraction", "--rounds", "1"] if benchmark is scaling else []
    benchmark.main(["--quick", *few])
    first, second, last = lines(benchmark.__name__.split(".")[-1])
    assert first["ratio"] == 1.0 and first["seconds"] > 0
    assert {"peak_mb", "anonymous_mb"} <= set(second)
    assert ("slope" if benchmark is scaling else "seconds_per_million_rows") in last


@pytest.mark.slow
def test_a_measurement_has_a_process_of_its_own() -> None:
    assert memory.apart(os.getpid) != memory.apart(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        memory.apart(divmod, 1, 0)


def test_mlp(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "QUICK", 100)
    mlp.main(["--quick", "--rounds", "1"])
    found = lines("mlp")
    assert {line["setting"] for line in found} == set(mlp.SETTINGS)
    assert {line["contestant"] for line in found} == {"products", "headprobes"}
    assert all(line["ratio"] == 1.0 for line in found if line["contestant"] == "products")


def test_truth(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    assert truth.main(["--quick", "--only", "codelength"]) == 0
    found = lines("truth")
    assert all(line["low"] <= line["value"] <= line["high"] for line in found)
    assert all(line["setting"] == "codelength" and line["check"] for line in found)
    monkeypatch.setitem(truth.CHECKS, "codelength", lambda size: iter([("wrong", 2.0, 0.0, 1.0)]))
    assert truth.main(["--quick", "--only", "codelength"]) == 1


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
def test_effects(lines: Lines, shared: Path) -> None:
    effects.main(["--quick", "--model", str(shared / "models" / "stories260K"), "--step", "2",
                  "--no-peers"])  # fmt: skip
    *layers, whole = lines("effects")
    assert [line["layer"] for line in layers] == [0, 2, 4] and whole["restarted"]
    assert all(line["heads"] == 8 for line in layers)


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
def test_peers_of_effects(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, in_place: None, shared: Path
) -> None:
    """One that edits by hooks has our scores; what fails is named, and the others go on."""

    def hooks(job: effects_peers.Job) -> effects_peers.Logits:
        def run(site: Site, heads: Sequence[int], batch: Batch) -> torch.Tensor:
            edit = partial(job.edited, site, heads)
            inputs = effects_peers._inputs(batch, len(heads))
            with hooked(job.editor.body, [site], lambda _, z: edit(z)):
                end = job.editor.body(**inputs, use_cache=False).last_hidden_state
            return effects_peers._head(job.editor.model, end, batch, len(heads))

        return run

    def broken(job: effects_peers.Job) -> effects_peers.Logits:
        raise ImportError("its API has changed")

    monkeypatch.setattr(effects_peers, "LIBRARIES", {"hooks": hooks, "old": broken, "none": hooks})
    monkeypatch.setattr(effects, "missing", lambda name: "gone" if name == "none" else "")
    effects.main(["--quick", "--model", str(shared / "models" / "stories260K"), "--step", "4"])
    found = lines("effects")
    by = {name: [line for line in found if line["contestant"] == name] for name in
          ("hooks", "old", "none", "headprobes")}  # fmt: skip
    assert by["old"] == [by["old"][0]] and "its API has changed" in by["old"][0]["failed"]
    assert by["none"][0]["missing"] == "gone"
    *layers, whole = by["hooks"]
    assert len(layers) == 2 and all(line["gap"] < 1e-4 for line in layers)
    assert whole["ours_to_it"] > 0 and len(by["headprobes"]) == 3


def test_memory_of_effects(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, in_place: None, shared: Path
) -> None:
    monkeypatch.setattr(effects_memory, "QUICK", [20, 40])
    effects_memory.main(["--quick", "--model", str(shared / "models" / "stories260K")])
    few, more, last = lines("effects_memory")
    assert (few["prompts"], more["prompts"]) == (20, 40) and few["edits"] == 5 * 10
    assert more["effects_mb"] > 0 and "peak_mb_per_thousand_prompts" in last


def test_known_heads(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"options": {"symbols": 8, "cycle": 4, "length": 16}, "context": 32, "steps": 2}
    monkeypatch.setattr(known_heads, "QUICK", known_heads.QUICK | small | {"target": None})
    monkeypatch.setattr(known_heads, "QUICK_COUNTS", {"prompts": 4, "texts": 100})
    known_heads.main(["--quick"])
    found = lines("known_heads")
    assert [line["role"] for line in found] == ["previous-token", "induction"]
    for line in found:
        assert line["setting"] == "induction" and line["seconds"] > 0
        assert {"none", "all"} <= set(line["ablated_sets"])
        assert len(line["by_probe"]) == len(line["by_attention"]) == len(line["by_ablation"]) == 8


def test_language_model(
    lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    model = write_checkpoint(tmp_path / "model", "llama_gqa", max_position_embeddings=256)
    monkeypatch.setattr(language_model, "SHARED", tmp_path)  # no treebank: the grammar
    monkeypatch.setattr(language_model, "QUICK", 120)
    monkeypatch.setattr(publish, "print_maps", lambda *given, **keywords: None)
    language_model.main(["--quick", "--rounds", "1", "--models", str(model), str(tmp_path)])
    found = lines("language_model")
    assert [line for line in found if "missing" in line and line["setting"] == str(tmp_path)]
    by = {line["contestant"].removeprefix("headprobes-"): line for line in found}
    parts = {"loading", "extraction", "heads", "all_heads", "residual", "report", "after"}
    assert set(by) == {"bare", "headprobes"} | parts
    seconds = {part: by[part]["seconds"] for part in parts}
    assert min(seconds.values()) > 0
    fits = seconds["heads"] + seconds["all_heads"] + seconds["residual"]
    assert fits + seconds["report"] < seconds["after"] + 0.01
    assert by["extraction"]["ratio"] == pytest.approx(
        seconds["extraction"] / by["bare"]["seconds"], rel=0.05
    )


def test_threads_of_a_benchmark_wait_as_those_of_a_run() -> None:
    """torch's threads would spin on the cores of other processes, as ``shorten_waiting`` says."""
    code = "import benchmarks, os, sys; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    own = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={name: value for name, value in os.environ.items() if name not in own},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [process.SPINS, "False"]
