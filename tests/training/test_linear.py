"""Linear probes of a chunk: the choice of L2 per head, against scikit-learn head by head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from probes.config import LinearConfig
from probes.config.run import PENALTIES, STRONGER, WEAKER
from probes.core.errors import UserError
from probes.corpora.tasks import Task
from probes.training import linear
from probes.training.bank import ProbeBank
from probes.training.chunk_fit import Fitted
from probes.training.linear import fit_linear
from probes.training.problems import Problem, Role, fold_problems, real_problem
from tests.training.synthetic import make_labels, make_layer, make_task

L2 = [1.0, 30.0, 1000.0]


def chunk(
    classes: int, n: int = 300, signals: tuple[float, ...] = (0.1, 0.4, 1.0), width: int = 12
) -> tuple[Tensor, Task]:
    labels = make_labels(n, classes)
    return make_layer(labels, list(signals), width), make_task(labels)


def oracle(z: Tensor, problem: Problem, l2: float) -> Any:
    """scikit-learn on one head: predicted probabilities of all rows."""
    x = z.double().numpy()
    x = StandardScaler().fit(x[problem.train]).transform(x)
    model = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=2000)
    return model.fit(x[problem.train], problem.labels[problem.train]).predict_proba(x)


def probabilities(fitted: Fitted, z: Tensor, classes: int) -> Any:
    names, heads = tuple(map(str, range(classes))), tuple(range(len(z)))
    bank = ProbeBank("linear", "f", names, "heads", "s", 0, heads, fitted.tensors)
    return bank.logits(z).softmax(-1).numpy()


@pytest.mark.parametrize("classes", [2, 4])
def test_each_head_takes_its_own_best_penalty(classes: int) -> None:
    z, task = chunk(classes)
    problem = real_problem(task)
    (fitted,) = fit_linear(z, [problem], LinearConfig(l2=L2), classes=classes)
    ours = probabilities(fitted, z, classes)
    truth = problem.labels[problem.select]
    for h in range(len(z)):
        predicted = [oracle(z[h], problem, value) for value in L2]
        on_select = [p[problem.select] for p in predicted]
        scores = [
            (-accuracy_score(truth, p.argmax(1)), log_loss(truth, p, labels=range(classes)))
            for p in on_select
        ]
        best = min(range(len(L2)), key=lambda k: scores[k])
        assert fitted.choice[h] == L2[best]
        assert fitted.select_accuracy[h] == pytest.approx(-scores[best][0])
        np.testing.assert_allclose(ours[h], predicted[best], atol=5e-3)
    assert len(set(fitted.choice.tolist())) > 1, "the heads must differ for this test to tell"
    assert fitted.diagnostics["converged"].all()


def test_equal_accuracies_are_told_apart_by_log_loss() -> None:
    z, task = chunk(2, signals=(8.0,))  # every penalty is right on every row
    problem = real_problem(task)
    (fitted,) = fit_linear(z, [problem], LinearConfig(l2=L2), classes=2)
    assert fitted.select_accuracy[0] == 1.0
    assert fitted.choice[0] == 1.0  # the least penalty is the most confident


def taken_alone(z: Tensor, problem: Problem, classes: int) -> float:
    """The penalty that the default rule takes on one head of scikit-learn's."""
    truth = problem.labels[problem.select]
    right: dict[float, Any] = {}

    def tried(l2: float) -> tuple[float, float, float]:
        p = oracle(z, problem, l2)[problem.select]
        right[l2] = p.argmax(1) == truth
        return -accuracy_score(truth, p.argmax(1)), log_loss(truth, p, labels=range(classes)), l2

    def clearly(l2: float, other: float) -> bool:
        gain = right[l2].astype(int) - right[other]
        return bool(gain.sum() > np.sqrt(np.square(gain).sum()))

    best = min(tried(l2) for l2 in PENALTIES)
    for path in ((*PENALTIES[::-1], *WEAKER), (*PENALTIES, *STRONGER)):
        for before, last, further in zip(path[1:], path[2:], path[3:], strict=False):
            if best[2] != last or best[0] == -1 or not clearly(last, before):
                break
            best = min(best, tried(further))
    return best[2]


@pytest.mark.parametrize(("classes", "width"), [(2, 24), (4, 8)])
def test_the_default_goes_on_where_its_first_or_last_penalty_is_clearly_best(
    classes: int, width: int
) -> None:
    # Few rows of many features: strong signals want little penalty, none wants the strongest.
    z, task = chunk(classes, 240, signals=(0.0, 0.0, 0.0, 0.2, 0.6, 1.0, 2.0), width=width)
    folds = fold_problems(task, np.arange(len(task.labels)) % 3)
    config = LinearConfig(tolerance=1e-6)
    fits = fit_linear(z, folds, config, classes=classes)
    seen, others = set(), 0
    for fitted in fits:
        ours = probabilities(fitted, z, classes)
        for h in range(len(z)):
            l2 = float(fitted.choice[h])
            theirs = oracle(z[h], fitted.problem, l2)
            np.testing.assert_allclose(ours[h], theirs, atol=5e-3)
            seen.add(l2)
            others += l2 != taken_alone(z[h], fitted.problem, classes)
        assert fitted.diagnostics["converged"].all()
    assert others <= 1, "but for a row that two classes are equally probable for"
    assert seen & set(WEAKER) and seen & set(STRONGER) and seen & set(PENALTIES)


def test_a_head_whose_last_penalty_is_hardly_better_stays() -> None:
    """Of 100 validation rows the last penalty gets one more right: within its standard error."""
    z, task = chunk(2, 240, signals=(0.0,) * 40, width=8)
    problem = real_problem(task)
    (default,) = fit_linear(z, [problem], LinearConfig(), classes=2)
    (wide,) = fit_linear(z, [problem], LinearConfig(l2=[*WEAKER, *PENALTIES]), classes=2)
    best_beyond = torch.isin(wide.choice, torch.tensor(WEAKER).double())
    assert best_beyond.any(), "some head would go on if any gain would do"
    assert (default.choice[best_beyond] >= min(PENALTIES)).any()


def test_penalties_that_are_given_are_never_extended() -> None:
    z, task = chunk(4, 240, signals=(0.6, 1.0, 1.5, 2.0), width=8)
    problem = real_problem(task)
    given = LinearConfig(l2=list(PENALTIES))
    (alone,) = fit_linear(z, [problem], given, classes=4)
    (baseline,) = fit_linear(z, [problem], LinearConfig(), classes=4, extend=False)
    (default,) = fit_linear(z, [problem], LinearConfig(), classes=4)
    assert set(alone.choice.tolist()) <= set(PENALTIES)
    assert not set(default.choice.tolist()) <= set(PENALTIES)
    for name, tensor in alone.tensors.items():
        assert torch.equal(tensor, baseline.tensors[name])
    inside = (default.choice == alone.choice).nonzero()[:, 0]
    assert len(inside)
    for name, tensor in alone.tensors.items():  # where no edge was left, not a bit differs
        assert torch.equal(tensor[inside], default.tensors[name][inside])


def test_problems_that_follow_take_the_penalty_that_was_gone_on_to() -> None:
    z, task = chunk(4, 240, signals=(0.6, 1.0, 1.5, 2.0), width=8)
    problem = real_problem(task)
    nothing = np.zeros(len(task.labels), dtype=bool)
    control = replace(
        problem, role=Role.CONTROL, select=nothing, labels=problem.labels[::-1].copy()
    )
    real, followed = fit_linear(z, [problem, control], LinearConfig(tolerance=1e-6), classes=4)
    assert set(real.choice.tolist()) & set(WEAKER)
    assert torch.equal(real.choice, followed.choice)
    ours = probabilities(followed, z, 4)
    for h in range(len(z)):
        np.testing.assert_allclose(ours[h], oracle(z[h], control, float(real.choice[h])), atol=5e-3)


def test_problems_without_rows_to_choose_on_follow_the_first() -> None:
    z, task = chunk(3)
    problem = real_problem(task)
    shuffled = np.random.default_rng(0).permutation(problem.labels)
    nothing = np.zeros(len(shuffled), dtype=bool)
    permutation = replace(problem, role=Role.PERMUTATION, index=0, labels=shuffled, select=nothing)
    config = LinearConfig(l2=L2, tolerance=1e-6)
    real, refit = fit_linear(z, [problem, permutation], config, classes=3)
    assert torch.equal(refit.choice, real.choice)
    assert refit.select_accuracy.isnan().all()
    ours = probabilities(refit, z, 3)
    for h in range(len(z)):
        wanted = oracle(z[h], permutation, float(real.choice[h]))
        np.testing.assert_allclose(ours[h], wanted, atol=5e-3)


def test_folds_equal_fits_on_their_own_rows() -> None:
    z, task = chunk(3)
    folds = fold_problems(task, np.arange(len(task.rows)) // 5 % 4)
    config = LinearConfig(l2=[10.0])
    for fitted, problem in zip(fit_linear(z, folds, config, classes=3), folds, strict=True):
        ours = probabilities(fitted, z, 3)
        for h in range(len(z)):
            np.testing.assert_allclose(ours[h], oracle(z[h], problem, 10.0), atol=5e-3)


def test_a_probe_of_a_bank_is_the_probe_trained_alone() -> None:
    z, task = chunk(3)
    problem = real_problem(task)
    control = replace(problem, role=Role.CONTROL, labels=problem.labels[::-1].copy())
    config = LinearConfig(l2=L2, tolerance=1e-7)
    together = fit_linear(z, [problem, control], config, classes=3)
    for h in range(len(z)):
        (alone,) = fit_linear(z[h : h + 1].clone(), [control], config, classes=3)
        assert alone.choice[0] == together[1].choice[h]
        a, b = probabilities(alone, z[h : h + 1], 3)[0], probabilities(together[1], z, 3)[h]
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_blocks_of_rows_and_problems_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    z, task = chunk(3)
    problem = real_problem(task)
    problems = [replace(problem, role=Role.SEED, index=k) for k in range(3)]
    nothing = np.zeros(len(problem.labels), dtype=bool)
    problems += [replace(problem, role=Role.PERMUTATION, index=k, select=nothing) for k in range(2)]
    whole = fit_linear(z, problems, LinearConfig(l2=L2, tolerance=1e-7), classes=3)
    monkeypatch.setattr(linear, "BLOCK", 200)
    parts = fit_linear(z, problems, LinearConfig(l2=L2, tolerance=1e-7), classes=3)
    for a, b in zip(whole, parts, strict=True):
        assert torch.equal(a.choice, b.choice)
        torch.testing.assert_close(a.select_accuracy, b.select_accuracy, equal_nan=True)
        torch.testing.assert_close(a.tensors["weight"], b.tensors["weight"], rtol=5e-3, atol=1e-3)


def test_a_path_needs_rows_to_choose_on() -> None:
    z, task = chunk(3)
    nothing = np.zeros(len(task.rows), dtype=bool)
    problem = replace(real_problem(task), select=nothing)
    with pytest.raises(UserError, match=r"probe\.l2"):
        fit_linear(z, [problem], LinearConfig(l2=L2), classes=3)
    (fitted,) = fit_linear(z, [problem], LinearConfig(l2=[3.0]), classes=3)
    assert fitted.choice.tolist() == [3.0] * 3
