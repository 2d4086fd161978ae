"""Extraction and fits a few layers at a time: the same results, within the disk budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probes.analysis.runs import Run
from probes.config import BaselineConfig, ModelConfig
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.pipeline import whole_layers
from probes.pipeline.disk_budget import next_pass
from probes.pipeline.fits import Fits
from tests.pipeline.deep_runs import deep_run, write_deep_model

BUDGET = 900_000
"""Bytes: two layers of both models in float32, three in float16."""
FILES = ("results.csv", "probes.safetensors", "probes.json", "evidence.safetensors")


@pytest.fixture(autouse=True)
def _deep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_layers, "MOST", 2)


def run_of(folder: Path, name: str, **changes: Any) -> Run:
    """With random weights beside the trained ones, on one feature."""
    return deep_run(folder, name, BaselineConfig(random_init=True), features=["number"], **changes)


def stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "cache").rglob("layer_*.safetensors"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run without a budget."""
    folder = tmp_path_factory.mktemp("whole")
    write_deep_model(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_layers, "MOST", 2)
        return run_of(folder, "run")


def same_results(run: Run, whole: Run) -> None:
    for name in FILES:
        mine, theirs = ((r.directory / name).read_bytes() for r in (run, whole))
        assert mine == theirs, name
    assert run.record.model == whole.record.model
    assert run.record.rows == whole.record.rows
    assert run.record.tests == whole.record.tests
    assert run.record.caveats == whole.record.caveats


def test_passes_give_the_bytes_of_one_extraction(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelConfig(name=whole.record.config["model"]["name"])
    calls: list[int] = []

    def fit(self: Fits, *arguments: Any, _fit: Any = Fits.fit) -> None:
        calls.append(stored_bytes(tmp_path))
        _fit(self, *arguments)

    monkeypatch.setattr(Fits, "fit", fit)
    run = run_of(tmp_path, "run", model=model, disk_budget=str(BUDGET))
    assert len(calls) == 4, "two layers, then twice two and a best head's layer"
    assert min(calls) > 0
    assert max(calls) <= BUDGET
    same_results(run, whole)
    assert not list((tmp_path / "cache").glob("passes-*")), "nothing is left"
    assert stored_bytes(tmp_path) == 0
    with pytest.raises(UserError, match=r"activations were dropped.*disk_budget=null"):
        run.cache()


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelConfig(name=whole.record.config["model"]["name"])
    left_behind = tmp_path / "cache" / "passes-0123456789abcdef" / "0-1"
    left_behind.mkdir(parents=True)  # of a process that was killed
    calls: list[int] = []

    def fit(self: Fits, *arguments: Any, _fit: Any = Fits.fit) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        _fit(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Fits, "fit", fit)
        with pytest.raises(KeyboardInterrupt):
            run_of(tmp_path, "run", model=model, disk_budget=str(BUDGET))
    assert not left_behind.exists()
    assert stored_bytes(tmp_path), "kept for the run that goes on"
    same_results(run_of(tmp_path, "run", model=model, disk_budget=str(BUDGET)), whole)


def test_activations_that_are_stored_are_used(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: Handle, *, head: bool = False) -> None:
        raise AssertionError("the model is not needed")

    monkeypatch.setattr(Handle, "load", load)
    run = run_of(whole.directory.parent, "again", disk_budget=str(BUDGET))
    same_results(run, whole)


def test_a_budget_below_one_layer_is_one_message(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: Handle, *, head: bool = False) -> None:
        raise AssertionError("it is known without the weights")

    monkeypatch.setattr(Handle, "load", load)
    model = ModelConfig(name=whole.record.config["model"]["name"])
    message = r"(?s)disk_budget=1.0 kB is too small .* layer 0, .*Try disk_budget=1MB"
    with pytest.raises(UserError, match=message):
        run_of(tmp_path, "run", model=model, disk_budget="1kB")
    with pytest.raises(UserError, match=r"disk_budget=lots is not a size"):
        run_of(tmp_path, "run", model=model, disk_budget="lots")


@pytest.mark.parametrize("budget", [10, 25, 100])
def test_a_pass_is_full_and_never_above_the_budget(budget: int) -> None:
    n_bytes = {layer: 3 + layer % 7 for layer in range(40)}
    left, passes = list(n_bytes), []
    while left:
        passes.append(next_pass(left, n_bytes, budget))
        left = left[len(passes[-1]) :]
    assert [layer for each in passes for layer in each] == list(n_bytes)
    sums = [sum(n_bytes[layer] for layer in each) for each in passes]
    assert max(sums) <= budget
    for size, after in zip(sums, passes[1:], strict=False):
        assert size + n_bytes[after[0]] > budget
