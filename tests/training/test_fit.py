"""One Trainer.fit over all sources, layers, features and problems."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from probes.config import LinearConfig, MLPConfig, ProbeConfig, TrainerConfig
from probes.core.errors import UserError
from probes.solver import SelectedRows
from probes.training.chunk_fit import ChunkFit, Fitted
from probes.training.convergence import Convergence
from probes.training.fit import fit_banks
from probes.training.problems import ActivationSource, ProblemSet, real_problem
from tests.training.synthetic import as_cache, make_labels, make_layer, make_task, memory

N = 240
QUIET = TrainerConfig(accelerator="cpu", progress=False)
LINEAR = LinearConfig(l2=[1.0, 100.0])
MLP = MLPConfig(hidden=8, epochs=20, patience=2)
CONFIGS = [LINEAR, MLP]


def make_source(
    signals: tuple[float, ...] = (0.2, 0.6, 1.2, 2.0), **changes: Any
) -> ActivationSource:
    """Two layers of 4 and 3 heads, signal rising with the head; two features."""
    labels = make_labels(N, 3)
    layers = [make_layer(labels, list(signals)[:H], 6, seed) for seed, H in ((0, 4), (1, 3))]
    upos = make_task(labels)
    some = np.flatnonzero(labels != 2)  # a feature with values on a part of the rows
    number = make_task(labels, some, "number")
    problem_sets = tuple(ProblemSet(task, (real_problem(task),)) for task in (upos, number))
    return replace(
        ActivationSource("heads", as_cache(layers), problem_sets, problem_sets[:1]), **changes
    )


def run(
    source: ActivationSource, config: ProbeConfig, budget: int = 10**8, **keywords: Any
) -> list[ChunkFit]:
    fits: list[ChunkFit] = []
    fit_banks([source], config, QUIET, memory_budget=budget, on_fit=fits.append, **keywords)
    return fits


@pytest.mark.parametrize("config", CONFIGS, ids=["linear", "mlp"])
def test_everything_asked_for_is_fitted_once_and_in_order(config: Any) -> None:
    fits = run(make_source(), config)
    assert [(f.layer, f.site, f.task.feature, f.heads) for f in fits] == [
        (layer, site, feature, heads)
        for layer, H in ((0, 4), (1, 3))
        for site, feature, heads in (
            ("heads", "upos", tuple(range(H))),
            ("heads", "number", tuple(range(H))),
            ("all_heads", "upos", (0,)),
        )
    ]
    assert {f.probe for f in fits} == {config.name}
    for fit in fits:
        problem = fit.fits[0].problem
        logits = fit.logits(0, problem.score)
        assert logits.shape == (len(fit.heads), problem.score.sum(), len(fit.task.classes))
        right = fit.predictions(0, problem.score).numpy() == problem.labels[problem.score]
        np.testing.assert_array_equal(logits.argmax(-1), fit.predictions(0, problem.score))
        bank = fit.bank()
        torch.testing.assert_close(bank.logits(fit.z[:, :])[:, problem.score], logits)
        assert right.mean(axis=1).max() > 0.8, "the strongest head decodes the feature"


@pytest.mark.parametrize("config", CONFIGS, ids=["linear", "mlp"])
def test_small_chunks_give_the_same_probes(config: Any) -> None:
    whole = {
        (f.layer, f.task.feature): f.bank() for f in run(make_source(), config) if f.site == "heads"
    }
    source = make_source(together=())
    small = run(source, config, budget=N * 6 * 12 * 2)
    assert max(len(f.heads) for f in small) == 2
    assert set(memory(source).reads.values()) == {1}
    for fit in small:
        bank = fit.bank()
        for head in fit.heads:
            wanted, found = whole[fit.layer, fit.task.feature].one(head), bank.one(head)
            assert found.choice == wanted.choice
            for name in found.tensors:
                # At the tolerance of the objective, weights differ by its square root.
                torch.testing.assert_close(
                    found.tensors[name], wanted.tensors[name], rtol=2e-2, atol=5e-3
                )


def test_together_is_a_probe_on_the_joined_heads() -> None:
    source = make_source()
    joined = [z.transpose(0, 1).reshape(1, N, -1) for z in memory(source).tensors]
    other = ActivationSource("joined", as_cache(joined), source.problem_sets[:1])
    together = [f for f in run(source, LINEAR) if f.site == "all_heads"]
    for a, b in zip(together, run(other, LINEAR), strict=True):
        torch.testing.assert_close(a.bank().tensors["weight"], b.bank().tensors["weight"])


def test_blocks_of_logits_join_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    (fit, *_) = run(make_source(), LINEAR)
    rows = fit.fits[0].problem.score
    whole = fit.logits(0, rows)
    monkeypatch.setattr("probes.training.chunk_fit.BLOCK", rows.sum() * 6)
    starts = [start for start, _ in fit.blocks(0, rows)]
    assert starts == [0, 1, 2, 3]
    torch.testing.assert_close(fit.logits(0, rows), whole)
    assert fit.index("real") == 0


def test_a_sources_name_of_the_probe_reaches_the_bank() -> None:
    fits = run(make_source(probe="random_init"), LINEAR)
    assert {f.probe for f in fits} == {f.bank().probe for f in fits} == {"random_init"}
    assert {f.bank().kind for f in fits} == {"linear"}


def test_summary_counts_probes_and_notes_what_was_left_out() -> None:
    source = make_source()
    summary = fit_banks([source], LINEAR, QUIET, memory_budget=10**8, on_fit=lambda f: None)
    assert summary.probes == 4 + 4 + 1 + 3 + 3 + 1
    assert summary.seconds > 0 and summary.notes == ()
    small = fit_banks([source], LINEAR, QUIET, memory_budget=N * 72 * 3, on_fit=lambda f: None)
    assert small.probes == summary.probes - 1
    assert "layer 0" in small.notes[0]


def test_probes_short_of_their_optimum_are_counted() -> None:
    stopped = LinearConfig(l2=[1e-3], max_iterations=1)
    source = make_source((9.0, 9.0, 9.0, 9.0), together=())
    summary = fit_banks([source], stopped, QUIET, memory_budget=10**8, on_fit=lambda f: None)
    assert len(summary.notes) == 2  # one a feature, not one a chunk
    assert all("of 7" in n and "probe.max_iterations" in n for n in summary.notes), summary.notes


def test_probes_without_an_optimum_are_told_from_those_that_stopped() -> None:
    gap = torch.tensor([1e-7, 0.5, float("inf")], dtype=torch.float64)
    problem = real_problem(make_task(make_labels(50, 2)))
    diagnostics = {"gap": gap, "converged": gap <= 1e-5}
    found = Convergence()
    found.add(Fitted(problem, {}, gap, gap, diagnostics))
    missed, unbounded = found.notes("upos, heads")
    assert "1 of 3" in missed and "5.0e-01" in missed
    assert "1 of 3" in unbounded and "no optimum" in unbounded
    quiet = Convergence()
    quiet.add(Fitted(problem, {}, gap, gap, {"epochs": gap}))
    assert quiet.notes("upos, heads") == []


def test_nothing_to_fit_is_nothing() -> None:
    summary = fit_banks([], LINEAR, QUIET, memory_budget=10**6, on_fit=lambda f: None)
    assert summary.probes == 0


def test_one_chunk_is_alive_at_a_time() -> None:
    alive: list[weakref.ref[Any]] = []

    def on_fit(fit: ChunkFit) -> None:
        assert isinstance(fit.z, SelectedRows), "no copy of the rows"
        others = {id(tensor) for ref in alive if (tensor := ref()) is not None}
        assert others <= {id(fit.z.stored)}, "only the chunk that is fitted"
        alive.append(weakref.ref(fit.z.stored))

    source = make_source(together=())
    fit_banks([source], LINEAR, QUIET, memory_budget=N * 6 * 12, on_fit=on_fit)
    assert len(alive) == 14


@pytest.mark.parametrize("progress", [False, True])
def test_no_warning_no_banner_and_the_process_as_it_was(
    progress: bool, caplog: pytest.LogCaptureFixture
) -> None:
    before = torch.random.get_rng_state()
    threads, numpy_state = (
        torch.get_num_threads(),
        np.random.get_state(legacy=False)["state"]["key"].copy(),
    )
    handler, level = signal.getsignal(signal.SIGINT), logging.getLogger("lightning.pytorch").level
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        trainer = TrainerConfig(progress=progress)
        fit_banks([make_source()], LINEAR, trainer, memory_budget=10**8, on_fit=lambda f: None)
    assert caplog.text == ""
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_state)
    assert torch.get_num_threads() == threads
    assert signal.getsignal(signal.SIGINT) is handler
    assert logging.getLogger("lightning.pytorch").level == level
    assert torch.is_grad_enabled()


def test_it_runs_outside_the_main_thread() -> None:
    fits: list[ChunkFit] = []
    thread = threading.Thread(target=lambda: fits.extend(run(make_source(), LINEAR)))
    thread.start()
    thread.join()
    assert len(fits) == 6


def test_loggers_receive_the_course_of_the_run(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    run(make_source(), LINEAR, loggers=[logger])
    text = (tmp_path / "metrics.csv").read_text()
    assert "best_validation" in text and "layer" in text
    assert not list(tmp_path.rglob("*.ckpt"))


def test_errors_of_the_consumer_come_through() -> None:
    def on_fit(fit: ChunkFit) -> None:
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="disk is full"):
        fit_banks([make_source()], LINEAR, QUIET, memory_budget=10**8, on_fit=on_fit)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_are_refused(value: float) -> None:
    source = make_source()
    memory(source).tensors[1][2, 5, 0] = value
    with pytest.raises(UserError, match=r"layer 1.*not finite"):
        run(source, LINEAR)


@pytest.mark.parametrize(
    ("config", "trainer", "message"),
    [
        (ProbeConfig(name="tree"), QUIET, "probe=tree"),
        (LinearConfig(l2=[]), QUIET, "probe.l2"),
        (MLPConfig(epochs=0), QUIET, "probe.epochs"),
        (LINEAR, TrainerConfig(accelerator="tpu"), "trainer.accelerator"),
    ],
)
def test_bad_configuration_is_refused_before_anything_is_read(
    config: Any, trainer: TrainerConfig, message: str
) -> None:
    source = make_source()
    with pytest.raises(UserError, match=message):
        fit_banks([source], config, trainer, memory_budget=10**8, on_fit=lambda f: None)
    assert memory(source).reads == {}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_gpu_that_is_not_there_is_said() -> None:
    trainer = TrainerConfig(accelerator="gpu")
    with pytest.raises(UserError, match="no CUDA device"):
        fit_banks([make_source()], LINEAR, trainer, memory_budget=10**8, on_fit=lambda f: None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("config", CONFIGS, ids=["linear", "mlp"])
def test_a_gpu_fits_what_the_cpu_fits(config: Any) -> None:
    found: list[list[Any]] = []
    for accelerator in ("cpu", "gpu"):
        banks: list[Any] = []
        trainer = TrainerConfig(accelerator=accelerator, progress=False)

        def keep(f: ChunkFit, banks: list[Any] = banks) -> None:
            banks.append((f.bank(), f.predictions(0, f.fits[0].problem.score).cpu()))

        fit_banks(
            [make_source()],
            config,
            trainer,
            memory_budget=10**8,
            on_fit=keep,
        )
        found.append(banks)
    for (_, a), (_, b) in zip(*found, strict=True):
        assert (a == b).float().mean() > 0.97


@pytest.mark.parametrize("config", CONFIGS, ids=["linear", "mlp"])
def test_probes_of_float16_are_those_of_the_same_numbers_in_float32(config: Any) -> None:
    source = make_source()
    half = [z.half() for z in memory(source).tensors]
    stored, widened = (
        run(replace(source, cache=as_cache(layers)), config)
        for layers in (half, [z.float() for z in half])
    )
    assert len(stored) == len(widened)
    for mine, theirs in zip(stored, widened, strict=True):
        for name, tensor in mine.bank().tensors.items():
            assert torch.equal(tensor, theirs.bank().tensors[name]), (mine.part, name)
    # Exact probes of all rows take no copy of their own: only blocks of rows are converted.
    whole = next(fit for fit in stored if fit.site == "heads" and len(fit.task.rows) == N)
    assert whole.z.dtype == (torch.float16 if config is LINEAR else torch.float32)
