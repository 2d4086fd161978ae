"""The heads of the two-layer induction model, found in three ways that ought to agree.

    python -m benchmarks.known_heads [--quick] [--cache DIR] [--seed N]

Two roles make induction (Olsson et al. 2022, arXiv 2209.11895): previous-token heads carry each
word to the position behind it, and induction heads look for the position behind an earlier
occurrence of the present word and say what stands there. They are found

- by attention: the weight on the position before, and on positions behind earlier occurrences;
- by ablation (means over positions in place of outputs): what a head adds to the induction
  attention of later layers, and what it adds to the accuracy by what it says itself. Heads of one
  role stand in for each other, so that ablating any one of them can change nothing: the value is
  the mean over all sets of heads of its layer (Shapley value), and ``ablated_sets`` has the
  accuracy without all heads of the role, without each, and with only each of them left;
- by probe: the test accuracy of ``previous_token`` and ``next_token``, through the same extraction
  and fit as every run.

JSON lines, one a role: "role", "heads", "by_attention", "by_ablation", "by_probe",
"rank_correlation", "sets_agree", "ablated_sets"; "seconds" since the line before, which for the
first role holds the training. A method names the heads whose value is at least
a tenth of its highest; ``heads`` are those that all three name.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scipy.stats import spearmanr

from benchmarks.known_heads_measures import (
    Ablation,
    Head,
    Scores,
    attention,
    opened,
    probe_accuracy,
)
from benchmarks.lines import report
from probes.config import ModelConfig, SimplifiedConfig, TrainerConfig
from probes.simplified.store import resolve

QUICK: dict[str, Any] = {
    "options": {"symbols": 16, "cycle": 8, "length": 40, "vocabulary": "invented"},
    "steps": 600,
    "target": 0.98,
    "context": 64,
    "checkpoints": [0],
}
"""A smaller model of the same kind."""
QUICK_COUNTS = {"prompts": 64, "texts": 600}
SHARE = 0.1
"""Of a method's highest value: heads without the role reach a twentieth by chance, and heads that
share a role share it unevenly."""


@dataclass(frozen=True)
class Role:
    """One role and what each method says of every head."""

    name: str
    methods: dict[str, Scores]
    """attention, ablation, probe -> value of each head."""
    ablated: dict[str, float]
    """Accuracy of the model without sets of heads; ``none``: untouched."""

    def named_by(self, method: str) -> set[Head]:
        """The heads whose value is at least a share of the method's highest."""
        scores = self.methods[method]
        return {head for head, value in scores.items() if value >= SHARE * max(scores.values())}

    @property
    def heads(self) -> list[Head]:
        """Those that all methods name."""
        return sorted(set.intersection(*(self.named_by(method) for method in self.methods)))

    @property
    def agree(self) -> bool:
        """Whether all methods name the same heads."""
        return all(self.named_by(method) == set(self.heads) for method in self.methods)

    def rank_correlation(self) -> dict[str, float]:
        """Spearman's, over all heads, between each two methods."""
        found = {}
        for first, second in combinations(self.methods, 2):
            pairs = [(self.methods[first][head], self.methods[second][head])
                     for head in self.methods[first]]  # fmt: skip
            found[f"{first}-{second}"] = float(spearmanr(*zip(*pairs, strict=True)).statistic)
        return found

    def line(self) -> dict[str, Any]:
        """The role as JSON; heads are lists [layer, head]."""
        by = {
            f"by_{method}": [[list(head), round(value, 4)] for head, value in scores.items()]
            for method, scores in self.methods.items()
        }
        return {
            "role": self.name,
            "heads": [list(head) for head in self.heads],
            **by,
            "rank_correlation": {k: round(v, 3) for k, v in self.rank_correlation().items()},
            "sets_agree": self.agree,
            "ablated_sets": {name: round(value, 4) for name, value in self.ablated.items()},
        }


def roles(
    settings: ModelConfig, cache_dir: str | Path, *, prompts: int = 128, texts: int = 1000
) -> Iterator[Role]:
    """Both roles of a trained induction model.

    settings: as ``resolve`` returns them. prompts: for attention and ablation; texts: for probes.
    """
    one = opened(settings, count=prompts)
    patterns, ablation = attention(one), Ablation(one)
    for name, pattern, effect, feature in (
        ("previous-token", "previous", ablation.effect_on_induction, "previous_token"),
        ("induction", "induction", ablation.direct_effect, "next_token"),
    ):
        weights = patterns[pattern]  # (layers, heads)
        methods = {
            "attention": {head: float(weights[head]) for head in one.heads},
            "ablation": effect(),
            "probe": probe_accuracy(settings, feature, cache_dir, texts=texts),
        }
        role = Role(name, methods, {})
        yield Role(name, methods, _without(ablation, role.heads))


def _without(ablation: Ablation, heads: list[Head]) -> dict[str, float]:
    """Accuracy of the model without the heads of a role: all, each, and all but each."""
    found = {"none": ablation.accuracy([]), "all": ablation.accuracy(heads)}
    for head in heads:
        found[f"only {head[0]}.{head[1]}"] = ablation.accuracy([head])
        rest = [other for other in heads if other != head]
        found[f"all but {head[0]}.{head[1]}"] = ablation.accuracy(rest)
    return found


def options(doc: str, arguments: list[str] | None) -> argparse.Namespace:
    """The command line of this benchmark, and of others on the same model."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small, in under a minute")
    parser.add_argument("--cache", type=Path, help="where the trained model is kept")
    parser.add_argument("--seed", type=int, default=0, help="of the model's training")
    return parser.parse_args(arguments)


def model_of(given: argparse.Namespace) -> ModelConfig:
    """The model that a command line asks for."""
    changes = QUICK if given.quick else {}
    simplified = SimplifiedConfig(seed=given.seed, **changes)
    return ModelConfig(name="simplified", device="cpu", simplified=simplified)


def roles_of(given: argparse.Namespace, cache: Path) -> Iterator[Role]:
    """Both roles of that model, which is trained where the cache does not have it."""
    trainer = TrainerConfig(accelerator="cpu", progress=False)
    settings = resolve(model_of(given), cache, trainer)
    yield from roles(settings, cache, **(QUICK_COUNTS if given.quick else {}))


def main(arguments: list[str] | None = None) -> None:
    given = options(__doc__ or "", arguments)
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        for role in roles_of(given, given.cache or Path(folder)):
            seconds = round(time.perf_counter() - start, 3)
            report("known_heads", "induction", "headprobes", **role.line(), seconds=seconds)
            start = time.perf_counter()


if __name__ == "__main__":
    main()
