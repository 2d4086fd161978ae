"""Which methods name the induction heads of the two-layer induction model.

    python -m benchmarks.known_heads_effects [--quick] [--cache DIR] [--seed N]

The heads are those that ``benchmarks.known_heads`` finds by the mean over all sets of heads of a
layer (Shapley values). A run of all methods on the same task then gives each head a number; a
method names the heads whose number is at least a tenth of its highest. Heads of one role stand in
for each other, so a single ablation moves the accuracy by next to nothing.

JSON lines, one a map: "measure", "method", "effect", "values" ([layer, head, value]), "found" (of
the induction heads), "others" (heads that it names besides), "rank_correlation" (Spearman's with
the Shapley values in the layer of the role), "together" (the effect of ablating that layer's heads
in one pass, where the run has it); and one with the sentence that the run's page says of that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scipy.stats import spearmanr

from benchmarks.known_heads import SHARE, Role, model_of, options, roles_of
from benchmarks.lines import report
from probes import load_run
from probes.analysis.runs import Run
from probes.config import (
    EvaluationConfig,
    GeneratedConfig,
    ModelConfig,
    RunConfig,
    TrainerConfig,
)
from probes.pipeline.run import run
from probes.results.method_maps import own_maps
from probes.results.table import pick

ANSWER = "answer"
MEASURES = {
    "accuracy": ["ablation"],
    "logit_difference": ["ablation", "patching", "attribution", "direct_logit"],
}
"""By measure the methods that are run."""


def effects_run(
    model: ModelConfig, measure: str, cache_dir: Path, run_dir: Path, *, texts: int = 300
) -> Run:
    """A run of the methods on the model's own task, at the last word of each text."""
    assert model.simplified is not None
    run_dir.mkdir(parents=True)
    task = GeneratedConfig(
        name="induction", examples=texts, options=dict(model.simplified.options), seed=1
    )
    config = RunConfig(
        model=model,
        corpus=task,
        features=[ANSWER],
        methods=list(MEASURES[measure]),
        measure=measure,
        min_count=1,
        evaluation=EvaluationConfig(bootstrap=200),
        trainer=TrainerConfig(accelerator="cpu", progress=False),
        cache_dir=str(cache_dir),
    )
    run(config, run_dir)
    return load_run(run_dir)


def lines_of(made: Run, role: Role) -> Iterator[dict[str, Any]]:
    """What each map of a run says of the heads of a role."""
    shapley, known = role.methods["ablation"], set(role.heads)
    layer = role.heads[0][0]
    for own in own_maps(made.results, ANSWER):
        grid = own.map(own.metric)
        values = {head: float(grid.loc[head]) for head in shapley}
        named = {head for head, value in values.items() if value >= SHARE * max(values.values())}
        inside = [head for head in shapley if head[0] == layer]
        order = spearmanr([shapley[h] for h in inside], [values[h] for h in inside]).statistic
        s = own.subject
        together = pick(
            made.results, site="all_heads", method=s.method, probe=s.probe, effect=s.effect,
            metric=s.metric, split="test", layer=layer,
        )  # fmt: skip
        yield {
            "measure": s.metric,
            "method": s.label,
            "effect": s.effect,
            "values": [[*head, round(value, 4)] for head, value in values.items()],
            "found": len(named & known),
            "of": len(known),
            "others": [list(head) for head in sorted(named - known)],
            "rank_correlation": round(float(order), 3),
            "together": round(float(together["value"].iloc[0]), 4) if len(together) else None,
        }


def said(made: Run) -> list[str]:
    """The sentences of a run's page about heads that stand in for each other."""
    return [one for one in made.record.caveats if "stand in for each other" in one]


def main(arguments: list[str] | None = None) -> None:
    given = options(__doc__ or "", arguments)
    with TemporaryDirectory() as folder:
        cache = given.cache or Path(folder, "cache")
        _, induction = roles_of(given, cache)
        model = model_of(given)
        for measure in MEASURES:
            start = time.perf_counter()
            made = effects_run(model, measure, cache, Path(folder, measure))
            seconds = round(time.perf_counter() - start, 3)
            for line in lines_of(made, induction):
                report("known_heads_effects", "induction", "headprobes", **line, seconds=seconds)
            for sentence in said(made):
                report("known_heads_effects", "induction", "headprobes", said=sentence)


if __name__ == "__main__":
    main()
