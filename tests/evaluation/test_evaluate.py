"""From fits to result rows: every number against a direct computation from the exported probes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as oracle

from probes.config import EvaluationConfig, MLPConfig, SignificanceConfig, SplitConfig
from probes.corpora.corpus import TEST, TRAIN, VALIDATION
from probes.evaluation.control import control_labels
from probes.evaluation.evaluate import Evaluation, Evaluator
from probes.evaluation.evidence_problems import positions_by_role
from probes.evaluation.permuted_gains import permuted_gains
from probes.evaluation.planted import Planted, planted_activations, planted_task
from probes.training.problems import Role
from tests.evaluation.fitted_chunks import evaluated, fitted_chunks

EFFECT = [0, 0, 3, 0, 0, 1.5, 0, 0]


@pytest.fixture(scope="module")
def binary() -> Planted:
    """Word rows of two classes; heads (0, 2) and (1, 1) carry the class."""
    return planted_activations(planted_task(120, 6, level="word", types=200), EFFECT)


@pytest.fixture(scope="module")
def results(binary: Planted) -> Evaluation:
    return evaluated(binary, codelength=True)


@pytest.fixture(scope="module")
def table(results: Evaluation) -> pd.DataFrame:
    return pd.DataFrame(results.rows)


@pytest.fixture(scope="module")
def direct(binary: Planted) -> list[np.ndarray]:
    """Logits (8, n, 2) of the real problem and of the control, straight from the banks."""
    # Fitted with what the table's banks were: otherwise they agree only to the tolerance.
    settings = EvaluationConfig(codelength=True), SignificanceConfig(), SplitConfig()
    chunks = fitted_chunks(binary, *settings)
    everything = np.ones(len(binary.task.labels), dtype=bool)
    return [
        np.concatenate([chunk.logits(p, everything).numpy() for chunk in chunks]) for p in (0, 1)
    ]


def values(
    table: pd.DataFrame, metric: str, split: str = "test", site: str = "heads"
) -> np.ndarray:
    rows = table[(table.metric == metric) & (table.split == split) & (table.site == site)]
    return rows.value.to_numpy()


@pytest.mark.parametrize(("split", "code"), [("test", TEST), ("validation", VALIDATION)])
def test_metrics_equal_scikit_learn(
    binary: Planted, table: pd.DataFrame, direct: list[np.ndarray], split: str, code: int
) -> None:
    rows = binary.task.split == code
    labels, logits = binary.task.labels[rows], direct[0][:, rows]
    expected = {
        "accuracy": oracle.accuracy_score,
        "balanced_accuracy": oracle.balanced_accuracy_score,
        "macro_f1": lambda y, p: oracle.f1_score(y, p, average="macro"),
    }
    for metric, function in expected.items():
        want = [function(labels, one.argmax(1)) for one in logits]
        np.testing.assert_allclose(values(table, metric, split), want, atol=1e-9)
    want = [oracle.roc_auc_score(labels, one[:, 1] - one[:, 0]) for one in logits]
    np.testing.assert_allclose(values(table, "auroc", split), want, atol=1e-6)


def test_selectivity_is_accuracy_minus_control(
    binary: Planted, table: pd.DataFrame, direct: list[np.ndarray]
) -> None:
    rows = binary.task.split == TEST
    control = control_labels(binary.task, seed=0)
    want = (direct[1][:, rows].argmax(2) == control[rows]).mean(axis=1)
    np.testing.assert_allclose(values(table, "control_accuracy"), want)
    np.testing.assert_allclose(
        values(table, "selectivity"), values(table, "accuracy") - want, atol=1e-12
    )


def test_recall_of_each_class(
    binary: Planted, table: pd.DataFrame, direct: list[np.ndarray]
) -> None:
    rows = binary.task.split == TEST
    for c in (0, 1):
        want = oracle.recall_score(
            binary.task.labels[rows], direct[0][2, rows].argmax(1), labels=[c], average=None
        )
        assert values(table, f"recall:class{c}")[2] == pytest.approx(want[0])


def test_gain_over_the_majority(binary: Planted, table: pd.DataFrame) -> None:
    gain = values(table, "accuracy") - binary.task.majority[1]
    np.testing.assert_allclose(values(table, "gain_majority"), gain, atol=1e-12)


def test_baselines_of_the_corpus(binary: Planted, table: pd.DataFrame) -> None:
    rows = table[(table.site == "corpus") & (table.metric == "accuracy")]
    majority = rows[(rows.probe == "majority") & (rows.split == "test")]
    assert majority.value.item() == pytest.approx(binary.task.majority[1])
    assert set(rows.probe) == {"majority", "lexical"}
    assert "layer" not in rows or rows.layer.isna().all()


def test_intervals_hold_the_value(table: pd.DataFrame) -> None:
    rows = table[(table.split == "test") & table.ci_low.notna()]
    assert set(rows.metric) >= {"accuracy", "macro_f1", "auroc", "selectivity", "gain_majority"}
    assert (rows.ci_low <= rows.value + 1e-9).all() and (rows.value <= rows.ci_high + 1e-9).all()


def test_informative_heads_are_found_and_no_others(table: pd.DataFrame) -> None:
    tested = table[table.p_value.notna()]
    assert len(tested) == 8 and set(tested.metric) == {"accuracy"}
    informative = np.array(EFFECT) > 0
    np.testing.assert_array_equal(tested.p_familywise <= 0.05, informative)
    np.testing.assert_array_equal(tested.q_value <= 0.05, informative)
    assert (tested.p_control[informative] <= 0.01).all()
    assert set(tested.l2) <= {1.0, 100.0}


def test_codelength(binary: Planted, table: pd.DataFrame) -> None:
    uniform = (binary.task.split == TRAIN).sum()
    bits, compression = (values(table, m, "train") for m in ("codelength_bits", "compression"))
    np.testing.assert_allclose(compression, uniform / bits)
    assert compression.argmax() == 2 and compression[2] > 1.5
    assert compression[0] < 1.05


def test_best_head_is_chosen_on_validation(results: Evaluation, table: pd.DataFrame) -> None:
    best = results.best[0]
    chosen = int(values(table, "accuracy", "validation").argmax())
    assert (best.layer, best.head) == divmod(chosen, 4) == (0, 2)
    assert best.value == pytest.approx(values(table, "accuracy")[chosen])
    assert best.ci_low is not None and best.value is not None and best.ci_high is not None
    assert best.ci_low < best.value < best.ci_high


def test_evidence_of_the_map(binary: Planted, results: Evaluation, table: pd.DataFrame) -> None:
    (evidence,) = results.maps
    rows = binary.task.split == TEST
    assert evidence.keys[5] == ("decoder", 1, 1)
    np.testing.assert_array_equal(evidence.groups, np.unique(binary.task.groups[rows]))
    assert evidence.rows.sum() == rows.sum()
    accuracy = evidence.totals.sum(axis=1) / rows.sum()
    np.testing.assert_allclose(accuracy, values(table, "accuracy"))


def test_tests_say_what_they_refute(results: Evaluation) -> None:
    (test,) = results.tests
    assert "majority" in test.null
    assert (test.significant_familywise, test.significant_q, test.units) == (2, 2, 8)


def test_permutations_refit_every_head(binary: Planted) -> None:
    results = evaluated(binary, permutations=39)
    table = pd.DataFrame(results.rows)
    tested = table[table.p_value.notna()]
    assert tested.p_value.min() == pytest.approx(1 / 40)
    np.testing.assert_array_equal(tested.p_familywise <= 0.05, np.array(EFFECT) > 0)
    assert results.tests[0].null == "activations and labels are independent"
    # Refits differ: the null is not one value repeated.
    assert tested.p_value[tested.p_familywise > 0.05].nunique() > 2


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("folds", [0, 3])
def test_gains_under_permuted_labels_equal_a_loop(
    monkeypatch: pytest.MonkeyPatch, classes: int, folds: int
) -> None:
    monkeypatch.setattr("probes.evaluation.permuted_gains.BLOCK", 2000)  # several blocks
    planted = planted_activations(planted_task(60, 6, classes=classes), [0, 0, 2])
    settings = EvaluationConfig(), SignificanceConfig(permutations=19), SplitConfig(folds=folds)
    (chunk,) = fitted_chunks(planted, *settings)
    found = positions_by_role([fit.problem for fit in chunk.fits])[Role.PERMUTATION]
    got = permuted_gains(chunk, found)
    assert got.shape == (3, 19)
    for number, indices in enumerate(found):
        right, majority, rows = 0, 0, 0
        for index in indices:
            problem = chunk.fits[index].problem
            labels = problem.labels[problem.score]
            right = right + (chunk.predictions(index, problem.score).numpy() == labels).sum(axis=1)
            majority += (labels == np.bincount(problem.labels[problem.train]).argmax()).sum()
            rows += len(labels)
        np.testing.assert_allclose(got[:, number], (right - majority) / rows)


def test_folds_score_every_row_once(binary: Planted) -> None:
    results = evaluated(binary, folds=4)
    table = pd.DataFrame(results.rows)
    accuracy = table[(table.metric == "accuracy") & (table.split == "test")]
    assert (accuracy.n == len(binary.task.labels)).all()
    heads = accuracy[accuracy.site == "heads"].value.to_numpy()
    assert heads.argmax() == 2 and heads[2] > 0.85 and heads[0] < 0.56
    best = results.best[0]
    assert best.method.startswith("chosen and measured on different groups")
    assert best.value is not None and best.naive is not None and best.value <= best.naive
    control = values(table, "control_accuracy")
    assert control.max() < 0.62


def test_no_bootstrap_no_intervals(binary: Planted) -> None:
    results = evaluated(binary, bootstrap=0, control=False)
    table = pd.DataFrame(results.rows)
    assert "ci_low" not in table
    assert "p_control" not in table
    assert results.best[0].value == pytest.approx(values(table, "accuracy")[2])


def test_nothing_there_is_said_plainly() -> None:
    results = evaluated(planted_activations(planted_task(80, 5), np.zeros(8)))
    assert any("no head is significant" in caveat for caveat in results.caveats)
    assert results.tests[0].significant_familywise == 0


def test_many_classes_and_unbalanced() -> None:
    task = planted_task(150, 6, classes=5, lean=1.0)
    results = evaluated(planted_activations(task, [0.0, 5.0]))
    table = pd.DataFrame(results.rows)
    assert set(table[table.site == "heads"].metric) >= {"accuracy", "macro_f1", "recall:class4"}
    assert "auroc" not in set(table.metric)
    accuracy = values(table, "accuracy")
    assert accuracy[1] > accuracy[0] + 0.2


def test_mlp_has_all_the_evidence_and_its_spread_over_seeds() -> None:
    probe = MLPConfig(hidden=8, epochs=12, learning_rate=0.03)
    planted = planted_activations(planted_task(80, 6), [0.0, 3.0])
    results = evaluated(planted, probe, (1, 2, 3), permutations=19, codelength=True)
    table = pd.DataFrame(results.rows)
    heads = table[table.site == "heads"]
    assert set(heads.probe) == {"mlp"} and "l2" not in heads
    mean, spread = (values(table, f"accuracy_seed_{name}") for name in ("mean", "sd"))
    accuracy = values(table, "accuracy")
    assert mean[1] == pytest.approx(accuracy[1], abs=0.05) and accuracy[1] > 0.85
    assert (spread > 0).any() and (spread < 0.08).all()
    assert (heads[heads.metric == "accuracy_seed_mean"].n == 3).all()
    compression = values(table, "compression", "train")
    assert compression[0] < 1.05 < 1.5 < compression[1]
    p = heads.p_familywise.dropna().to_numpy()
    assert p[1] == pytest.approx(0.05) and p[0] > 0.05


def test_whole_layer_sites_have_no_head() -> None:
    planted = planted_activations(planted_task(60, 6), [0.0, 3.0])
    settings = EvaluationConfig(bootstrap=100), SignificanceConfig(), SplitConfig()
    evaluator = Evaluator(*settings[:2])
    for chunk in fitted_chunks(planted, *settings, per_layer=1, site="residual"):
        evaluator.add(chunk)
    rows = [row for row in evaluator.finish().rows if row["site"] == "residual"]
    assert {row["head"] for row in rows} == {None} and {row["layer"] for row in rows} == {0, 1}


def test_texts_get_a_bag_of_words() -> None:
    task = planted_task(80, 4, level="sentence")
    planted = planted_activations(task, [0.0])
    settings = EvaluationConfig(bootstrap=100), SignificanceConfig(), SplitConfig()
    words = ["yes it is" if label else "no way" for label in task.labels]
    evaluator = Evaluator(*settings[:2], texts=lambda task: words)
    for chunk in fitted_chunks(planted, *settings):
        evaluator.add(chunk)
    table = pd.DataFrame(evaluator.finish().rows)
    assert values(table[table.probe == "bag_of_words"], "accuracy", site="corpus") == 1.0
    gain = values(table, "accuracy") - 1.0
    np.testing.assert_allclose(values(table, "gain_bag_of_words"), gain)
