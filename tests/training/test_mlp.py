"""MLP banks: gradients, independence, early stopping, against torch's own modules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from probes.config import MLPConfig
from probes.corpora.tasks import Task
from probes.training import mlp
from probes.training.bank import ProbeBank
from probes.training.chunk_fit import Fitted
from probes.training.mlp import fit_mlp
from probes.training.mlp_network import Network, Optimiser
from probes.training.problems import Role, fold_problems, real_problem, seed_problems
from tests.training.synthetic import make_labels, make_layer, make_task

CONFIG = MLPConfig(hidden=8, epochs=12, patience=2, batch_size=32)
NAMES = ("head 0", "head 1", "head 2", "head 3")


def chunk(
    signals: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0),
    classes: int = 3,
    n: int = 500,
    width: int = 6,
) -> tuple[torch.Tensor, Task]:
    labels = make_labels(n, classes)
    return make_layer(labels, list(signals), width), make_task(labels)


def assert_same(
    a: Fitted, b: Fitted, heads_a: Any = slice(None), heads_b: Any = slice(None)
) -> None:
    assert a.choice[heads_a].tolist() == b.choice[heads_b].tolist()
    for name in a.tensors:
        torch.testing.assert_close(
            a.tensors[name][heads_a], b.tensors[name][heads_b], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("replicas", [1, 3])
def test_gradients_are_those_of_autograd(replicas: int) -> None:
    H, D, M, C, B = 2, 5, 4, 3, 7
    seeds = [[10 * h + r for r in range(replicas)] for h in range(H)]
    network = Network.fresh(seeds, (D, M, C), torch.device("cpu"))
    x, y = torch.randn(H, B, D), torch.randint(0, C, (replicas, B))
    optimiser = Optimiser(network, 1e-3, 0.0)
    with torch.no_grad():
        optimiser.gradients(x, y)
    for h in range(H):
        for r in range(replicas):
            w1, b1, w2, b2 = (t[h, r].clone().requires_grad_() for t in network.tensors)
            hidden = torch.relu(x[h] @ w1.T + b1.T)
            torch.nn.functional.cross_entropy(hidden @ w2.T + b2.T, y[r]).backward()
            for own, ours in zip((w1, b1, w2, b2), optimiser.gradient.tensors, strict=True):
                torch.testing.assert_close(ours[h, r], own.grad)


def test_training_is_that_of_torchs_own_modules() -> None:
    """One head for two epochs beside nn.Sequential and AdamW from the same start."""
    z, task = chunk((1.0,))
    problem = real_problem(task)
    nothing = np.zeros(len(z[0]), dtype=bool)
    config = replace(CONFIG, epochs=2)
    blind = replace(problem, select=nothing)
    (fitted,) = fit_mlp(z, [blind], config, classes=3, names=NAMES[:1])

    train = torch.from_numpy(problem.train)
    mean, scale = z[0, train].mean(0), z[0, train].std(0, correction=0)
    x, y = (z[0] - mean) / scale, torch.from_numpy(problem.labels)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    start = Network.fresh([[mlp._seed(f"0/{NAMES[0]}")]], (6, 8, 3), torch.device("cpu"))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), start.tensors, strict=True):
            parameter.copy_(value.reshape(parameter.shape))
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": biases, "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=config.learning_rate)
    x_train, y_train = x[train], y[train]
    size = max(len(x_train) // mlp.LEAST_STEPS, 16)
    for epoch in (1, 2):
        order = torch.randperm(len(x_train), generator=mlp._generator(f"rows/{epoch}"))
        for at in order.split(size):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(model(x_train[at]), y_train[at]).backward()
            adam.step()
    bank = ProbeBank("mlp", "f", ("a", "b", "c"), "heads", "s", 0, (0,), fitted.tensors)
    torch.testing.assert_close(bank.logits(z)[0], model(x).detach(), rtol=1e-3, atol=1e-3)


def test_a_probe_of_a_bank_is_the_probe_trained_alone() -> None:
    z, task = chunk()
    problem = real_problem(task)
    control = replace(problem, role=Role.CONTROL, labels=problem.labels[::-1].copy())
    problems = [problem, control, *seed_problems(problem, [5])]
    bank = fit_mlp(z, problems, CONFIG, classes=3, names=NAMES)
    for h in range(4):
        for p, one in enumerate(problems):
            part = z[h : h + 1].clone()
            (alone,) = fit_mlp(part, [one], CONFIG, classes=3, names=NAMES[h : h + 1])
            assert_same(bank[p], alone, heads_a=slice(h, h + 1))


def test_place_in_the_bank_does_not_matter_but_name_and_seed_do() -> None:
    z, task = chunk((1.0, 1.0))
    problem = real_problem(task)
    forth = fit_mlp(z, [problem], CONFIG, classes=3, names=NAMES[:2])[0]
    back = fit_mlp(z.flip(0), [problem], CONFIG, classes=3, names=NAMES[:2][::-1])[0]
    assert_same(forth, back, [0, 1], [1, 0])
    renamed = fit_mlp(z, [problem], CONFIG, classes=3, names=("other", NAMES[1]))[0]
    assert not torch.allclose(renamed.tensors["w1"][0], forth.tensors["w1"][0])
    assert torch.allclose(renamed.tensors["w1"][1], forth.tensors["w1"][1], atol=1e-4)
    seeded = fit_mlp(z, seed_problems(problem, [1]), CONFIG, classes=3, names=NAMES[:2])[0]
    assert not torch.allclose(seeded.tensors["w1"], forth.tensors["w1"])


def test_the_same_twice_and_the_global_generator_untouched() -> None:
    z, task = chunk()
    state = torch.random.get_rng_state()
    first = fit_mlp(z, [real_problem(task)], CONFIG, classes=3, names=NAMES)[0]
    torch.manual_seed(1)
    second = fit_mlp(z, [real_problem(task)], CONFIG, classes=3, names=NAMES)[0]
    assert all(torch.equal(first.tensors[n], second.tensors[n]) for n in first.tensors)
    torch.random.set_rng_state(state)


def test_each_head_stops_for_itself_and_keeps_its_best_epoch() -> None:
    z, task = chunk()
    config = replace(CONFIG, epochs=25)
    (fitted,) = fit_mlp(z, [real_problem(task)], config, classes=3, names=NAMES)
    ran, best = fitted.diagnostics["epochs"], fitted.choice.long()
    assert len(set(ran.tolist())) > 1, "heads of different signal stop at different epochs"
    assert ((ran == best + config.patience) | (ran == config.epochs)).all()
    # Trained blindly for exactly its best number of epochs, a head ends at the same weights.
    h = int(ran.argmin())
    nothing = np.zeros(len(task.rows), dtype=bool)
    blind = replace(real_problem(task), select=nothing)
    short = replace(config, epochs=int(best[h]))
    (again,) = fit_mlp(z[h : h + 1], [blind], short, classes=3, names=NAMES[h : h + 1])
    assert_same(fitted, again, heads_a=slice(h, h + 1))


def test_problems_without_rows_to_choose_on_train_as_long_as_the_first() -> None:
    z, task = chunk()
    problem = real_problem(task)
    nothing = np.zeros(len(task.rows), dtype=bool)
    twin = replace(problem, role=Role.PERMUTATION, index=0, select=nothing)
    real, refit = fit_mlp(z, [problem, twin], CONFIG, classes=3, names=NAMES)
    assert_same(real, refit)
    assert refit.select_accuracy.isnan().all()


def test_select_accuracy_is_that_of_the_exported_probe() -> None:
    z, task = chunk()
    problems = [real_problem(task), *fold_problems(task, np.arange(len(task.rows)) // 5 % 3)]
    for problem, fitted in zip(
        problems, fit_mlp(z, problems, CONFIG, classes=3, names=NAMES), strict=True
    ):
        bank = ProbeBank("mlp", "f", ("a", "b", "c"), "heads", "s", 0, (0, 1, 2, 3), fitted.tensors)
        right = bank.logits(z).argmax(-1).numpy() == problem.labels
        np.testing.assert_allclose(
            right[:, problem.select].mean(1), fitted.select_accuracy, atol=0.011
        )


def test_blocks_of_replicas_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    z, task = chunk()
    problems = seed_problems(real_problem(task), [0, 1, 2])
    whole = fit_mlp(z, problems, CONFIG, classes=3, names=NAMES)
    monkeypatch.setattr(mlp, "BLOCK", 1)
    for a, b in zip(whole, fit_mlp(z, problems, CONFIG, classes=3, names=NAMES), strict=True):
        assert_same(a, b)


@pytest.mark.parametrize(
    ("regime", "floor"),
    [("scale", 0.9), ("shift", 0.9), ("constant", 0.9), ("few rows", 0.0), ("no features", 0.0)],
)
def test_regimes(regime: str, floor: float) -> None:
    z, task = chunk((3.0,), width=64 if regime == "few rows" else 6, n=500)
    if regime == "scale":
        z = z * 1e-4
    elif regime == "shift":
        z = z + 1000 * z.std()
    elif regime == "constant":
        z[..., 0] = 7.3
    elif regime == "few rows":
        task = make_task(task.labels, np.arange(40))
        z = z[:, :40]
    elif regime == "no features":
        z = torch.full_like(z, 0.1)
    (fitted,) = fit_mlp(z, [real_problem(task)], CONFIG, classes=3, names=NAMES[:1])
    assert all(t.isfinite().all() for t in fitted.tensors.values())
    assert fitted.select_accuracy[0] >= floor
