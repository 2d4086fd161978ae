"""One trained probe as a scikit-learn classifier, for analysis code.

>>> import numpy as np
>>> z = np.random.default_rng(0).normal(size=(200, 32))   # (rows, d_head)
>>> probe = LinearProbe(l2=10.0).fit(z, np.where(z[:, 0] > 0, "Sing", "Plur"))
>>> probe.predict(z[:3]).shape, probe.predict_proba(z[:3]).shape, probe.coef_.shape
((3,), (3, 2), (1, 32))
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from probes.config import MLPConfig
from probes.config.group_checks import check_probe
from probes.solver import class_logits, fit_logistic
from probes.training.bank import ProbeBank
from probes.training.mlp import fit_mlp
from probes.training.problems import Problem, Role

Floats = npt.NDArray[np.float64]


class HasFingerprint(Protocol):
    """A loaded model, such as ``probes.models.handle.Handle``."""

    name: str
    fingerprint: str


class Probe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What linear and MLP probes share: they take raw head outputs, ``(rows, d_head)``.

    Arrays and torch tensors of any floating dtype are taken; results are NumPy arrays.
    """

    classes_: npt.NDArray[Any]
    n_features_in_: int
    base_model_: dict[str, Any]
    """Name and fingerprint of the model whose activations it was trained on (loaded probes)."""
    origin_: dict[str, Any]
    """Feature, site, stream, layer, head and problem that it was trained for (loaded probes)."""

    def decision_function(self, X: Any) -> Floats:
        """Scores (rows, classes); for two classes (rows,), the log-odds of the second."""
        scores = self._scores(self._inputs(X))
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities (rows, classes), in the order of ``classes_``."""
        probabilities: Floats = softmax(self._scores(self._inputs(X)), axis=1)
        return probabilities

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable class of each row."""
        best = self._scores(self._inputs(X)).argmax(axis=1)
        classes: npt.NDArray[Any] = self.classes_[best]
        return classes

    def check_model(self, model: HasFingerprint) -> bool:
        """Whether the probe was trained on this model's activations; warns where it was not.

        A probe that was fitted by hand does not know its model: then this is true.
        """
        base = getattr(self, "base_model_", {})
        if not base or base.get("fingerprint") == model.fingerprint:
            return True
        warnings.warn(
            f"this probe was trained on '{base.get('name')}' ({base.get('fingerprint')}), not on "
            f"'{model.name}' ({model.fingerprint}): its predictions mean nothing there",
            stacklevel=2,
        )
        return False

    def _scores(self, X: Floats) -> Floats:
        raise NotImplementedError

    def _inputs(self, X: Any) -> Floats:
        check_is_fitted(self)
        checked: Floats = validate_data(self, _as_array(X), dtype=np.float64, reset=False)
        return checked

    def _training_data(self, X: Any, y: Any) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Checked inputs and class indices; sets ``classes_``."""
        X, y = validate_data(self, _as_array(X), y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a probe needs two classes; y has one class, {self.classes_[0]!r}")
        return X, codes.astype(np.int64)


class LinearProbe(Probe):
    """Multinomial logistic regression with L2 on standardised features, at its optimum.

    The optimum is that of ``LogisticRegression(C=1/l2)`` after a ``StandardScaler``; ``coef_`` and
    ``intercept_`` have the scaler folded in.

    l2: penalty; larger is more stable and blurs rare classes. tolerance: relative gap of the
    objective to its optimum. max_iterations: of the solver.
    """

    coef_: Floats
    """(classes, d_head), or (1, d_head) for two classes."""
    intercept_: Floats
    """(classes,), or (1,) for two classes."""

    def __init__(
        self, *, l2: float = 1.0, tolerance: float = 1e-5, max_iterations: int = 500
    ) -> None:
        self.l2 = l2
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def fit(self, X: Any, y: Any) -> LinearProbe:
        """Fit on rows X (rows, d_head) with classes y."""
        X, codes = self._training_data(X, y)
        fit = fit_logistic(
            torch.tensor(X, dtype=torch.float32)[None],  # (1, N, D)
            torch.from_numpy(codes)[None],
            torch.ones(1, len(codes)),
            [self.l2],
            classes=len(self.classes_),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        for message in fit.messages:
            warnings.warn(message, stacklevel=2)
        self.coef_ = fit.weight[0, 0, 0].double().numpy()
        self.intercept_ = fit.bias[0, 0, 0].double().numpy()
        self.n_iter_ = int(fit.iterations.max())
        return self

    def _scores(self, X: Floats) -> Floats:
        scores = X @ self.coef_.T + self.intercept_  # (n, C')
        all_scores: Floats = class_logits(torch.from_numpy(scores)).numpy()  # (n, C)
        return all_scores


class MLPProbe(Probe):
    """One hidden layer of rectified units, trained by AdamW with early stopping.

    validation: share of the rows (stratified) that decide when to stop; 0 trains for ``epochs``.
    The other arguments are those of ``probe=mlp``.
    """

    coefs_: list[Floats]
    """Weights (d_head, hidden) and (hidden, classes)."""
    intercepts_: list[Floats]

    def __init__(
        self,
        *,
        hidden: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        epochs: int = 30,
        patience: int = 3,
        batch_size: int = 512,
        validation: float = 0.15,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.validation = validation
        self.seed = seed

    def fit(self, X: Any, y: Any) -> MLPProbe:
        """Fit on rows X (rows, d_head) with classes y."""
        X, codes = self._training_data(X, y)
        names = ("hidden", "learning_rate", "weight_decay", "epochs", "patience", "batch_size")
        config = MLPConfig(**{name: getattr(self, name) for name in names})
        check_probe(config)
        select = self._held_out(codes)
        problem = Problem(Role.REAL, codes, ~select, select, select & False, seed=self.seed)
        z = torch.tensor(X, dtype=torch.float32)[None]  # (1, N, D)
        with torch.no_grad():
            fitted = fit_mlp(z, [problem], config, classes=len(self.classes_), names=["probe"])[0]
        self._take(fitted.tensors)
        self.n_iter_ = int(fitted.choice[0])
        return self

    def _held_out(self, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(n,) rows that decide when to stop; none where a class has too few rows to share."""
        held = np.zeros(len(codes), dtype=bool)
        size = round(self.validation * len(codes))
        if size >= len(self.classes_) and np.bincount(codes).min() >= 2:
            splitter = StratifiedShuffleSplit(1, test_size=size, random_state=self.seed)
            held[next(splitter.split(codes[:, None], codes))[1]] = True
        return held

    def _take(self, tensors: dict[str, torch.Tensor]) -> None:
        parts = {name: tensor[0].double().numpy() for name, tensor in tensors.items()}
        self.coefs_ = [parts["w1"], parts["w2"]]
        self.intercepts_ = [parts["b1"], parts["b2"]]

    def _scores(self, X: Floats) -> Floats:
        hidden = np.maximum(X @ self.coefs_[0] + self.intercepts_[0], 0)  # (n, M)
        scores: Floats = hidden @ self.coefs_[1] + self.intercepts_[1]  # (n, C)
        return scores


def probe_from_bank(
    bank: ProbeBank, head: int, base_model: dict[str, Any] | None = None
) -> LinearProbe | MLPProbe:
    """The fitted probe of one head (its index in the layer; 0 for whole-layer sites).

    base_model: name and fingerprint of the model, as the run saved them.

    Raises:
        KeyError: the bank does not hold this head.
    """
    alone = bank.one(head).to("cpu")
    probe: LinearProbe | MLPProbe
    if bank.kind == "linear":
        probe = LinearProbe(l2=alone.choice[0]) if alone.choice else LinearProbe()
        probe.coef_ = alone.tensors["weight"][0].double().numpy()
        probe.intercept_ = alone.tensors["bias"][0].double().numpy()
    else:
        probe = MLPProbe(hidden=alone.tensors["w1"].shape[2])
        probe._take(alone.tensors)
    probe.classes_ = np.array(bank.classes)
    probe.n_features_in_ = bank.width
    probe.base_model_ = dict(base_model or {})
    names = ("feature", "site", "stream", "layer", "problem")
    probe.origin_ = {name: getattr(bank, name) for name in names} | {"head": head}
    return probe


def _as_array(X: Any) -> Any:
    """Tensors as float arrays (NumPy has no bfloat16); anything else as it is."""
    return X.detach().float().cpu().numpy() if isinstance(X, torch.Tensor) else X
