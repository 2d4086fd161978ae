"""A bank is a set of independent fits, whatever shares its products; and an optimiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from probes.solver import fit_logistic, solver
from probes.solver import rows as products
from probes.training.module import ExactSolver
from tests.solver.solver_oracle import assert_optimal, objective
from tests.solver.test_solver import N, labels_of, rows

TENSORS = ("weight", "bias", "gap", "iterations", "converged")


def bank(classes: int) -> tuple[Tensor, Tensor, Tensor]:
    z = torch.stack([rows(seed) for seed in range(3)])
    y = labels_of(z[0], classes, 1.0)
    rng = np.random.default_rng(0)
    labels = torch.stack([y, torch.from_numpy(rng.permutation(y.numpy()))])
    return z, labels, torch.stack([torch.ones(N), torch.from_numpy(rng.random(N)).float()])


@pytest.mark.parametrize("classes", [2, 3])
def test_bank_equals_each_column_alone(classes: int) -> None:
    z, labels, weights = bank(classes)
    l2 = [10.0, 0.1]
    together = fit_logistic(z, labels, weights, l2, classes=classes)
    for h in range(len(z)):
        x = z[h].double().numpy()
        for p in range(2):
            w = weights[p].double().numpy()
            mean = np.average(x, axis=0, weights=w)
            scale = np.average((x - mean) ** 2, axis=0, weights=w) ** 0.5
            for k, penalty in enumerate(l2):
                alone = fit_logistic(
                    z[h : h + 1], labels[p : p + 1], weights[p : p + 1], [penalty], classes=classes
                )
                values = [
                    objective(
                        x, labels[p].numpy(), w, f.weight[at].double().numpy(),
                        f.bias[at].double().numpy(), penalty, scale,
                    )
                    for f, at in ((together, (h, p, k)), (alone, (0, 0, 0)))
                ]  # fmt: skip
                assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_deterministic_and_independent_of_threads() -> None:
    z, labels, weights = bank(3)
    before = torch.get_num_threads()
    first = fit_logistic(z, labels, weights, [1.0, 0.1], classes=3)
    again = fit_logistic(z, labels, weights, [1.0, 0.1], classes=3)
    assert torch.get_num_threads() == before
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    try:
        torch.set_num_threads(1)
        single = fit_logistic(z, labels, weights, [1.0, 0.1], classes=3)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(first.weight, single.weight, atol=5e-3, rtol=5e-3)


def test_small_memory_budget_changes_nothing_but_the_blocks() -> None:
    z, labels, weights = bank(3)
    fit = fit_logistic(z, labels, weights, [1.0, 0.1], classes=3, memory_budget=1)
    assert_optimal(z, labels, weights, fit, [1.0, 0.1])


def test_blocks_of_one_column_follow_the_path() -> None:
    x = rows(0, 900, 70)
    labels, weights = labels_of(x, 4, 1.0)[None], torch.ones(1, 900)
    path = [100.0, 10.0, 1.0, 0.1, 0.01]
    fit = fit_logistic(x[None], labels, weights, path, classes=4, memory_budget=1)
    assert_optimal(x[None], labels, weights, fit, path)


def test_blocks_that_go_from_one_problem_to_the_next() -> None:
    x, path = rows(0, 900, 70), [100.0, 1.0, 0.01]
    labels = torch.stack([labels_of(x, 4, 1.0), labels_of(x.flip(1), 4, 2.0)])
    weights = torch.ones(2, 900)
    weights[1, ::3] = 0
    two = 4 * 2 * 4 * 4 * 900  # bytes that give room to the logits of two columns
    fit = fit_logistic(x[None], labels, weights, path, classes=4, memory_budget=two)
    assert_optimal(x[None], labels, weights, fit, path)


@pytest.mark.parametrize("width", [130, 300])
def test_units_as_wide_as_a_layer(width: int) -> None:
    """All heads of a layer together: many features, and weak penalties that hardly hold them."""
    x = rows(0, 700, width)
    labels, weights = labels_of(x, 4, 1.0)[None], torch.ones(1, 700)
    path = [100.0, 1.0, 0.01]
    fit = fit_logistic(x[None], labels, weights, path, classes=4)
    assert_optimal(x[None], labels, weights, fit, path)


def test_own_hessians_do_not_stiffen_what_all_classes_have_in_common() -> None:
    """Each class's own Hessian holds a step that all take, which only the penalty really does."""
    x, path = rows(0, 900, 70), [100.0, 1.0, 0.01]
    labels, weights = labels_of(x, 4, 1.0)[None], torch.ones(1, 900)
    fit = fit_logistic(x[None], labels, weights, path, classes=4)
    assert_optimal(x[None], labels, weights, fit, path)
    assert int(fit.iterations.max()) <= 60, "34; 100 where steps have it"


def test_so_many_classes_that_they_are_not_coupled() -> None:
    x = rows(0, 900, 6)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 40, (1, 900), generator=generator)
    labels[0, x[:, 0] > 0] %= 10
    fit = fit_logistic(x[None], labels, torch.ones(1, 900), [10.0, 1.0], classes=40)
    assert 8 * 40**2 > 900 * 6, "or they would be"
    assert_optimal(x[None], labels, torch.ones(1, 900), fit, [10.0, 1.0])


def test_codelength_blocks_of_very_different_size() -> None:
    x = rows(0, 2000, 8)
    sizes = [20, 80, 500, 2000]
    weights = torch.stack([(torch.arange(2000) < size).float() for size in sizes])
    labels = labels_of(x, 2, 2.0).expand(len(sizes), -1)
    fit = fit_logistic(x[None], labels, weights, [1.0], classes=2)
    assert_optimal(x[None], labels, weights, fit, [1.0])


def test_many_permutations() -> None:
    x, rng = rows(), np.random.default_rng(0)
    y = labels_of(x, 3, 1.0)
    labels = torch.stack([torch.from_numpy(rng.permutation(y.numpy())) for _ in range(60)])
    fit = fit_logistic(x[None], labels, torch.ones(60, N), [1.0], classes=3)
    assert fit.converged.all()
    some = [0, 31, 59]
    part = replace(fit, messages=(), **{name: getattr(fit, name)[:, some] for name in TENSORS})
    assert_optimal(x[None], labels[some], torch.ones(3, N), part, [1.0])


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> ExactSolver:
        return ExactSolver()

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        z, labels, weights = batch
        solver = self.optimizers()
        assert not isinstance(solver, list)
        self.fit_found = solver.step(lambda: fit_logistic(z, labels, weights, [1.0], classes=2))
        self.stepped = self.trainer.global_step


def test_runs_as_a_lightning_training_step(tmp_path: Path) -> None:
    z, labels, weights = bank(2)
    module = Module()
    batches: Any = [(z, labels, weights)]
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(module, loader)  # fmt: skip
    assert module.fit_found.converged.all()
    assert module.stepped == 1
    assert not module.fit_found.weight.requires_grad
    with pytest.raises(ValueError, match="closure"):
        ExactSolver().step()


@pytest.mark.parametrize("classes", [2, 3])
def test_batched_products_of_many_heads(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that a GPU takes, on a CPU; heads leave the products at different times."""
    z, labels, weights = bank(classes)
    z = torch.cat([z, labels_of(z[0], classes, 0.0)[None, :, None] + 0.05 * z[:1]])
    for module in (products, solver):
        monkeypatch.setattr(module, "on_gpu", lambda x: True)
    fit = fit_logistic(z, labels, weights, [10.0, 1e-2], classes=classes)
    assert_optimal(z, labels, weights, fit, [10.0, 1e-2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("classes", [2, 3])
def test_same_on_a_gpu(classes: int) -> None:
    z, labels, weights = bank(classes)
    l2 = [10.0, 1e-2]
    fit = fit_logistic(z.cuda(), labels.cuda(), weights.cuda(), l2, classes=classes)
    assert fit.weight.is_cuda
    moved = replace(fit, **{name: getattr(fit, name).cpu() for name in TENSORS})
    assert_optimal(z, labels, weights, moved, l2)
