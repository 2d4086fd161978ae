"""Probes as scikit-learn classifiers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from probes.analysis.probe import Floats, LinearProbe, MLPProbe, probe_from_bank
from probes.training.bank import ProbeBank


@parametrize_with_checks([LinearProbe(), MLPProbe(epochs=20, hidden=16)])  # type: ignore[untyped-decorator]
def test_scikit_learn_accepts_it(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    check(estimator)


def blobs(
    classes: int, n: int = 400, d: int = 8, seed: int = 0
) -> tuple[Floats, npt.NDArray[np.str_]]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, n)
    z = rng.normal(size=(n, d)) * 3 + rng.normal(size=(classes, d))[codes] * 2 + 5
    return z, np.array([f"class {c}" for c in range(classes)])[codes]


@pytest.mark.parametrize("classes", [2, 4])
def test_linear_probe_is_scikit_learns_optimum(classes: int) -> None:
    z, y = blobs(classes)
    probe = LinearProbe(l2=5.0, tolerance=1e-8).fit(z, y)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=1 / 5.0, tol=1e-8, max_iter=999))
    oracle.fit(z, y)
    np.testing.assert_allclose(probe.predict_proba(z), oracle.predict_proba(z), atol=2e-4)
    np.testing.assert_array_equal(probe.classes_, oracle.classes_)


@pytest.mark.parametrize("probe", [LinearProbe(), MLPProbe(epochs=5)])
@pytest.mark.parametrize("classes", [2, 3])
def test_string_classes_tensors_and_pickles(probe: LinearProbe | MLPProbe, classes: int) -> None:
    z, y = blobs(classes)
    probe = clone(probe).fit(torch.from_numpy(z).bfloat16(), y)
    assert set(probe.predict(z)) <= set(y)
    assert probe.score(z, y) > 0.6
    again = pickle.loads(pickle.dumps(probe))
    np.testing.assert_array_equal(again.predict_proba(z), probe.predict_proba(z))
    np.testing.assert_array_equal(
        probe.classes_[probe.predict_proba(z).argmax(1)], probe.predict(z)
    )
    shape = (len(z),) if classes == 2 else (len(z), classes)
    assert probe.decision_function(torch.from_numpy(z)).shape == shape


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="class"):
        LinearProbe().fit(np.zeros((4, 2)), ["a"] * 4)


def test_mlp_decodes_what_no_linear_probe_can() -> None:
    z = np.random.default_rng(0).normal(size=(2000, 4))
    y = (z[:, 0] * z[:, 1] > 0).astype(int)
    assert LinearProbe().fit(z[:1500], y[:1500]).score(z[1500:], y[1500:]) < 0.6
    assert MLPProbe().fit(z[:1500], y[:1500]).score(z[1500:], y[1500:]) > 0.9


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("classes", [2, 3])
def test_probe_of_a_bank_predicts_as_the_bank(kind: str, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    H, D, M, K = 3, 5, 4, 1 if classes == 2 else classes
    shapes = {
        "linear": {"weight": (H, K, D), "bias": (H, K)},
        "mlp": {"w1": (H, D, M), "b1": (H, M), "w2": (H, M, classes), "b2": (H, classes)},
    }[kind]
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    names = tuple("abc"[:classes])
    bank = ProbeBank(kind, "f", names, "heads", "encoder", 2, (4, 7, 9), tensors, choice=(1.0,) * 3)
    z = torch.randn(H, 50, D, generator=generator)
    probe = probe_from_bank(bank, 7, {"name": "m", "fingerprint": "one"})
    probabilities = bank.logits(z)[1].softmax(-1)
    np.testing.assert_allclose(probe.predict_proba(z[1]), probabilities, atol=1e-5)
    assert probe.score(z[1], np.array(names)[probabilities.argmax(-1)]) == 1.0
    assert probe.origin_["head"] == 7 and probe.origin_["layer"] == 2
    assert probe.n_features_in_ == D
    with pytest.raises(KeyError):
        probe_from_bank(bank, 5)
    assert probe.check_model(SimpleNamespace(name="m", fingerprint="one"))
    with pytest.warns(UserWarning, match="trained on 'm'"):
        assert not probe.check_model(SimpleNamespace(name="other", fingerprint="two"))
