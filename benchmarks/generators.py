"""Can every generated task be learned, and does its answer then decode where it should?

    python -m benchmarks.generators [--only TASK ...] [--cache DIR] [--seed N]

For each task a simplified model is trained to at least 95% on fresh prompts. Then the answer is
decoded at END from the residual stream of the trained model (the layer chosen on validation, the
accuracy on test) and from every head of the same model before its first step (the highest test
accuracy). JSON lines {"task", "accuracy", "seconds", "residual", "best_untrained_head", "feature",
"majority", "layers", "steps", "broken"}. ``broken`` says what an entry fails: accuracy or residual
below 95%, or an untrained head far above the majority class. Exit status 1 if one is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from probes.activations.extraction import extract
from probes.config import (
    GeneratedConfig,
    LinearConfig,
    ModelConfig,
    SimplifiedConfig,
    SplitConfig,
    TrainerConfig,
)
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.corpora.generated import generate, names
from probes.corpora.generated.kit.prompt import corpus_of
from probes.corpora.splits import assign_splits
from probes.corpora.tasks import make_task
from probes.models.loading import open_model
from probes.simplified.store import about, resolve
from probes.training.linear import fit_linear
from probes.training.problems import real_problem

EXAMPLES = 1500
WANTED = 0.95
ABOVE_MAJORITY = 0.25
"""What the words at END alone may give an untrained head, as a share of what is left above the
majority class."""
SHAPE: dict[str, Any] = {
    "mlp": 128,
    "spread": 0.1,
    "target": 0.97,
    "steps": 1000,
    "checkpoints": [0],
    "evaluate_every": 50,
}
NEAR: dict[str, Any] = {"architecture": "smollm3", "window": 6}
"""Of tasks in which a value is bound to what stands beside it: a first layer that reads near by."""
SHAPES: dict[str, dict[str, Any]] = {
    "induction": {"mlp": 0},
    "markov": {"mlp": 0},
    "iteration": {"spread": 0.02},
    "key_value": {"mlp": 0, "options": {"spare": 8}},
    "needle": NEAR
    | {"window": 4, "mlp": 0, "width": 128, "steps": 400, "spread": 0.07}
    | {"options": {"questions": 8, "others": 3, "lengths": [70]}},
    "few_shot": NEAR | {"window": 5, "mlp": 0, "options": {"labels": 10, "queries": 8}},
    "coloured_objects": NEAR | {"mlp": 0, "options": {"questions": 4}},
    "languages": NEAR | {"target": 0.996, "steps": 2000, "options": {"fewest": 2, "replies": 4}},
    "moods": NEAR | {"target": 0.995, "options": {"opposed": False, "people": 4, "scenes": 6}},
    "binary": NEAR | {"layers": 3, "target": 0.998, "steps": 2000},
    "facts": {"target": 0.995, "steps": 2000},
    "functions": {"layers": 3},
    "faithfulness": {"layers": 3},
    "choices": {"layers": 3, "target": 0.99, "steps": 1500},
}
"""What a task needs beyond ``SHAPE``. With options, training has more questions or easier prompts;
what is decoded is always the task as it ships."""


def settings_of(task: str, changes: Mapping[str, Any]) -> ModelConfig:
    """The simplified model for a task."""
    config = SimplifiedConfig(task=task, **(SHAPE | SHAPES.get(task, {}) | changes))
    return ModelConfig(name="simplified", device="cpu", simplified=config)


def answer_corpus(task: str) -> tuple[Corpus, str]:
    """The task's corpus, and its feature at END that the target there settles."""
    generated = generate(GeneratedConfig(name=task, examples=EXAMPLES))
    prompts = generated.take(EXAMPLES)
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    count: dict[str, int] = defaultdict(int)
    literal: dict[str, int] = defaultdict(int)  # prompts whose value is the very word to be said
    for prompt in prompts:
        words = [word for offset, word in prompt.targets if offset == len(prompt.text)]
        for feature, value in prompt.values.items():
            for word in words:
                seen[feature][word].add(value)
                count[feature] += 1
                literal[feature] += word == value
    settled = [f for f, by in seen.items() if all(len(values) == 1 for values in by.values())]
    classes = {f: len({v for values in seen[f].values() for v in values}) for f in settled}
    several = [feature for feature in settled if classes[feature] > 1]
    if not several:
        raise UserError(f"task '{task}' has no feature at END that its target settles")
    usual = generated.default_features
    feature = max(several, key=lambda f: (f in usual, literal[f], count[f], classes[f]))
    return assign_splits(corpus_of(generated, prompts), SplitConfig()), feature


def accuracies(
    settings: ModelConfig, corpus: Corpus, feature: str, site: str, cache_dir: Path
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], float]:
    """Validation and test accuracy of every unit of a site, and the majority baseline."""
    cache = extract(open_model(settings), corpus, sites=(site,), cache_dir=cache_dir)[site]
    task = make_task(corpus, feature, cache.rows["unit"], min_count=2)
    problem = real_problem(task)
    validation, test = [], []
    for info in cache.layers:
        z = cache.layer(info.layer)[:, task.rows].float()  # (H, n, D)
        (fitted,) = fit_linear(z, [problem], LinearConfig(), classes=len(task.classes))
        weight, bias = fitted.tensors["weight"], fitted.tensors["bias"]
        logits = z[:, problem.score] @ weight.mT + bias[:, None]  # (H, n, K)
        said = logits.argmax(-1) if logits.shape[-1] > 1 else (logits[..., 0] > 0).long()
        truth = torch.from_numpy(problem.labels[problem.score])
        test += (said == truth).float().mean(1).tolist()
        validation += fitted.select_accuracy.tolist()
    return np.array(validation), np.array(test), task.majority[1]


def measure(task: str, cache_dir: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The line of one task."""
    corpus, feature = answer_corpus(task)
    asked = settings_of(task, changes)
    trained = resolve(asked, cache_dir, TrainerConfig(accelerator="cpu", progress=False))
    facts = about(trained.name)
    validation, test, majority = accuracies(trained, corpus, feature, "residual", cache_dir)
    untrained = resolve(replace(asked, checkpoint=0), cache_dir)
    _, of_heads, _ = accuracies(untrained, corpus, feature, "heads", cache_dir)
    line: dict[str, Any] = {
        "task": task,
        "accuracy": round(facts["accuracy"], 4),
        "seconds": facts["seconds"],
        "residual": round(float(test[validation.argmax()]), 4),
        "best_untrained_head": round(float(of_heads.max()), 4),
        "feature": feature,
        "majority": round(majority, 4),
        "layers": facts["config"]["layers"],
        "steps": facts["steps"],
    }
    return line | {"broken": _broken(line)}


def _broken(line: Mapping[str, Any]) -> list[str]:
    highest = line["majority"] + ABOVE_MAJORITY * (1 - line["majority"])
    failed = {
        "accuracy": line["accuracy"] < WANTED,
        "residual": line["residual"] < WANTED,
        "best_untrained_head": line["best_untrained_head"] > highest,
    }
    return [name for name, wrong in failed.items() if wrong]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names(), default=list(names()))
    parser.add_argument("--cache", type=Path, help="where the trained models are kept")
    parser.add_argument("--steps", type=int, help="at most, in place of each task's own")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and prompts")
    given = parser.parse_args()
    changes = {"seed": given.seed} | ({} if given.steps is None else {"steps": given.steps})
    broken = 0
    with TemporaryDirectory() as folder:
        for task in given.only:
            try:
                line = measure(task, given.cache or Path(folder), changes)
            except UserError as error:
                line = {"task": task, "broken": [str(error)]}
            broken += bool(line["broken"])
            print(json.dumps(line), flush=True)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
