"""Probes from outside: a user's function fits the heads, from a file of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probes import load_run
from probes.config import CustomProbeConfig
from probes.core.errors import UserError
from probes.training.custom import fit_custom
from probes.training.problems import real_problem
from tests.conftest import PROJECT
from tests.in_process import command
from tests.tiny_checkpoints import write_checkpoint
from tests.training.synthetic import make_labels, make_layer, make_task

EXAMPLE = PROJECT / "examples" / "my_probe.py"
LAYERS = "from probes.training.custom import LinearLayers as L\nimport torch\n"
RETURNED = {
    "None": "returned an object of type NoneType",
    "[]": "returned 0 fits for 1 problems",
    "[1]": "an object of type int for real",
    "[L(torch.zeros(2, 3, 4), torch.zeros(2, 3))]": r"weight of shape \(2, 3, 4\)",
    "[L(torch.zeros(2, 3, 5), torch.zeros(3))]": r"bias of shape \(3,\)",
    "[L(torch.zeros(2, 3, 5) / 0, torch.zeros(2, 3))]": "weight for real that is not finite",
    "[L(torch.zeros(2, 3, 5), torch.zeros(2, 3), torch.zeros(1))]": r"choice of shape \(1,\)",
    "[L(torch.zeros(2, 3, 5), 0)]": "bias of type int",
}


def data(classes: int = 3) -> tuple[torch.Tensor, Any]:
    """z (2, 200, 5), the second head with a signal, and a task."""
    labels = make_labels(200, classes)
    return make_layer(labels, [0.0, 3.0], 5), make_task(labels)


def config_of(folder: Path, code: str) -> CustomProbeConfig:
    file = folder / "mine.py"
    file.write_text(LAYERS + code)
    return CustomProbeConfig(_target_=f"{file}:fit")


@pytest.mark.parametrize("classes", [2, 3])
def test_the_nearest_mean_is_found(classes: int) -> None:
    z, task = data(classes)
    problem = real_problem(task)
    config = CustomProbeConfig(_target_=f"{EXAMPLE}:nearest_mean")
    (fit,) = fit_custom(z, [problem], config, classes=classes)
    assert fit.tensors["weight"].shape == (2, 1 if classes == 2 else 3, 5)
    x, y = z[1].double().numpy(), task.labels
    means = np.stack([x[problem.train & (y == c)].mean(0) for c in range(classes)])
    nearest = ((x[:, None] - means) ** 2).sum(-1).argmin(-1)
    right = float((nearest == y)[problem.select].mean())
    assert float(fit.select_accuracy[1]) == pytest.approx(right)


@pytest.mark.parametrize("returned", RETURNED)
def test_a_wrong_return_value_is_one_message(tmp_path: Path, returned: str) -> None:
    z, task = data()
    config = config_of(
        tmp_path, f"def fit(z, problems, *, classes, options):\n    return {returned}"
    )
    with pytest.raises(UserError, match=RETURNED[returned]):
        fit_custom(z, [real_problem(task)], config, classes=3)


def test_a_function_of_other_arguments_is_one_message(tmp_path: Path) -> None:
    z, task = data()
    with pytest.raises(UserError, match="options"):
        fit_custom(z, [real_problem(task)], config_of(tmp_path, "def fit(z): pass"), classes=3)


SMALL = (
    "probe=custom",
    "corpus.sentences=120",
    "features=[number]",
    "min_count=2",
    "evaluation.bootstrap=20",
    "trainer=cpu",
)


def test_on_the_command_line_and_loaded(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "model", "gpt2", n_positions=256)
    target = (f"probe._target_={EXAMPLE}:nearest_mean", "+probe.options.shrink=0.1")
    where = (f"cache_dir={tmp_path / 'cache'}", "hydra.run.dir=out")
    done = command(tmp_path, "model=hf", f"model.name={model}", *SMALL, *target, *where)
    assert done.status == 0, done.text
    loaded = load_run(tmp_path / "out")
    assert "custom" in set(loaded.results["probe"])
    best = loaded.top("number", k=1).iloc[0]
    layer, head = int(best["layer"]), int(best["head"])
    probe = loaded.probe("number", layer=layer, head=head)
    z = loaded.cache().layer(layer)[head].float().numpy()
    assert set(probe.predict(z)) <= set(probe.classes_)
    assert probe.coef_.shape[1] == z.shape[1]


def test_a_target_that_is_missing_is_one_message(tmp_path: Path) -> None:
    for target in ([], ["probe._target_=nowhere.py:fit"]):
        done = command(tmp_path, *SMALL, *target)
        assert done.status == 2 and "Traceback" not in done.text
        assert "probe._target_" in done.text
