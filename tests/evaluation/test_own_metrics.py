"""Metrics of the user's own, from a file to the results and the report of a run."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.core.global_hydra import GlobalHydra

from probes import load_run
from probes.cli import commands as cli
from probes.core.errors import UserError
from probes.corpora.corpus import TEST
from probes.evaluation.own_metrics import check_on_rows, load_metrics
from probes.evaluation.planted import planted_activations, planted_task
from probes.statistics.group_sums import mean_sums
from probes.statistics.groups import Groups
from probes.statistics.metrics import METRICS, Metric
from probes.training.problems import real_problem
from tests.evaluation.fitted_chunks import evaluated
from tests.tiny_checkpoints import write_checkpoint

OWN = '''
import numpy as np

from probes.statistics.group_sums import GroupSums, mean_sums
from probes.statistics.metrics import Metric


def first_class(predicted, labels, groups, classes, scores):
    """Share of rows that are predicted as the first class."""
    return mean_sums("first_class", predicted == 0, groups)


def kappa(predicted, labels, groups, classes, scores):
    """Cohen's kappa, a ratio of sums that differ between heads."""
    agree = groups.sum(predicted == labels)
    guessed = np.stack([groups.sum(predicted == c) for c in range(classes)], axis=-1)
    given = np.stack([groups.sum(labels == c) for c in range(classes)], axis=-1)

    def finish(total, shared):
        n = shared.sum(axis=-1)
        chance = (total[..., 1:] * shared).sum(axis=-1) / n**2
        return (total[..., 0] / n - chance) / (1 - chance)

    return GroupSums("kappa", np.concatenate([agree[..., None], guessed], axis=-1), given, finish)


certain = Metric(
    "certain", "certainty", "Mean margin.", needs_scores=True,
    sums=lambda predicted, labels, groups, classes, scores: mean_sums(
        "certain", np.abs(scores), groups
    ),
)
loss = Metric(
    "errors", "share of errors", "Rows that are wrong.", better="lower", anchor=1.0,
    sums=lambda predicted, labels, groups, classes, scores: mean_sums(
        "errors", predicted != labels, groups
    ),
)
sideways = Metric("sideways", "", "", sums=first_class, better="left")
accuracy = first_class


def broken(predicted, labels, groups, classes, scores):
    raise ValueError("no such thing")


def not_sums(predicted, labels, groups, classes, scores):
    return (predicted == labels).mean(axis=1)


def of_rows(predicted, labels, groups, classes, scores):
    sums = first_class(predicted, labels, groups, classes, scores)
    return GroupSums("of_rows", sums.by_unit[:, :1], sums.shared[:1], sums.finish)
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def test_from_a_file_to_results_map_and_report(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_checkpoint(tmp_path / "model", "bert", max_position_embeddings=256)
    monkeypatch.chdir(tmp_path)
    overrides = [
        "model=hf", f"model.name={model}", "corpus.sentences=200", "features=[number]",
        "evaluation.metrics=[own.py:kappa,own.py:certain,own.py:loss]", "evaluation.bootstrap=50",
        "evaluation.control=false", "baseline.residual=false", "baseline.all_heads=false",
        "probe.l2=[1]", "min_count=5", "trainer.progress=false", "split.source=group",
        "cache_dir=cache", "hydra.run.dir=out",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
    GlobalHydra.instance().clear()
    assert cli.run_command() == 0
    own.unlink()  # reading a run executes nothing
    run = load_run("out")
    rows = run.results[(run.results.metric == "kappa") & (run.results.site == "heads")]
    test = rows[rows.split == "test"]
    assert (test.ci_low <= test.value).all() and (test.value <= test.ci_high).all()
    assert set(rows.split) == {"test", "validation"}
    kappa, certain = run.map("number", metric="kappa"), run.map("number", metric="certain")
    assert kappa.shape == certain.shape == run.map("number").shape
    assert (certain.to_numpy() > 0).all()
    assert run.top("number", k=2, metric="kappa").test.notna().all()
    errors = run.top("number", k=99, metric="errors")
    assert errors.validation.is_monotonic_increasing, "the fewest errors are the best"
    assert set(run.record.metrics) == {"kappa", "certain", "errors"}
    assert run.record.metrics["errors"].description == "Rows that are wrong."
    report = (tmp_path / "out" / "report.html").read_text()
    assert re.search(r'"label": ?"kappa"', report)
    assert re.search(
        r'"label":"share of errors","about":"Rows that are wrong\.",[^{}]*"lower":true', report
    )


def test_values_equal_scikit_learns(own: Path) -> None:
    from sklearn.metrics import cohen_kappa_score

    *_, kappa = load_metrics([f"{own}:kappa"])
    random = np.random.default_rng(0)
    predicted, labels = random.integers(0, 3, (2, 60)), random.integers(0, 3, 60)
    groups = Groups.of(np.arange(60) // 7)
    expected = [cohen_kappa_score(labels, classes) for classes in predicted]
    np.testing.assert_allclose(kappa(predicted, labels, groups, 3).value(), expected)


def test_names_of_the_table_add_nothing() -> None:
    assert load_metrics(["accuracy"]) == tuple(METRICS.values())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sideways", "better='left'; allowed: higher, lower"),
        ("accuracy", "is called 'accuracy', as another column or metric is"),
        ("broken", "raised ValueError on four rows: no such thing"),
        ("not_sums", "returned ndarray, not GroupSums"),
        ("of_rows", r"returned sums \(1, 1, 1\)"),
        ("missing", "defines no 'missing'"),
    ],
)
def test_refused_before_a_model_is_run(own: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_metrics([f"{own}:{name}"])


def test_a_metric_without_a_value_on_a_split_is_refused_before_the_fit(own: Path) -> None:
    metrics = load_metrics([f"{own}:kappa"])
    task = planted_task(12, 20)
    check_on_rows(metrics, task, (real_problem(task),))
    one_class = replace(task, labels=np.where(task.split == TEST, 0, task.labels))
    with pytest.raises(UserError, match=r"'kappa' is nan on the .* test rows .* all of one class"):
        check_on_rows(metrics, one_class, (real_problem(one_class),))
    careful = replace(metrics[-1], needs_both=True)
    check_on_rows((careful,), one_class, (real_problem(one_class),))
    check_on_rows(load_metrics([f"{own}:loss"]), one_class, (real_problem(one_class),))


def test_a_metric_is_one_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Metric(
        "hits_of_class_1",
        "hits of class 1",
        "Share of rows of class 1 that are predicted as such.",
        sums=lambda predicted, labels, groups, *_: mean_sums(
            "hits_of_class_1", np.where(labels == 1, predicted == 1, np.nan), groups
        ),
    )
    monkeypatch.setitem(METRICS, row.name, row)
    planted = planted_activations(planted_task(60, 6), [0.0, 3.0])
    rows = pd.DataFrame(evaluated(planted, metrics=tuple(METRICS.values())).rows)
    heads = rows[(rows.site == "heads") & (rows.split == "test")]
    of_row = heads[heads.metric == row.name]
    assert of_row.ci_low.notna().all()
    recall = heads[heads.metric == "recall:class1"]
    np.testing.assert_allclose(of_row.value.to_numpy(), recall.value.to_numpy())
