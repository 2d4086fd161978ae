"""Planted activations fitted by the project's own solver, as the pipeline would hand them over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from probes.config import (
    EvaluationConfig,
    LinearConfig,
    MLPConfig,
    SignificanceConfig,
    SplitConfig,
)
from probes.corpora.tasks import Task
from probes.evaluation.evaluate import Evaluation, Evaluator
from probes.evaluation.evidence_problems import evidence_problems
from probes.evaluation.planted import Planted
from probes.statistics.metrics import METRICS, Metric
from probes.training.chunk_fit import ChunkFit
from probes.training.linear import fit_linear
from probes.training.mlp import fit_mlp


def fitted_chunks(
    planted: Planted,
    evaluation: EvaluationConfig,
    significance: SignificanceConfig,
    split: SplitConfig,
    *,
    per_layer: int = 4,
    site: str = "heads",
    probe: LinearConfig | MLPConfig | None = None,
    seeds: tuple[int, ...] = (),
) -> list[ChunkFit]:
    """The heads as layers of ``per_layer`` heads, every problem of the evidence fitted."""
    probe = probe or LinearConfig(l2=[1.0, 100.0])
    problems = evidence_problems(planted.task, evaluation, significance, split, seeds=seeds)
    chunks = []
    for layer, first in enumerate(range(0, len(planted.z), per_layer)):
        z = torch.from_numpy(planted.z[first : first + per_layer])
        classes = len(planted.task.classes)
        if isinstance(probe, LinearConfig):
            fits = fit_linear(z, problems, probe, classes=classes)
        else:
            names = [f"{layer}.{head}" for head in range(len(z))]
            fits = fit_mlp(z, problems, probe, classes=classes, names=names)
        chunks.append(
            ChunkFit(
                site=site,
                probe=probe.name,
                stream="decoder",
                layer=layer,
                heads=tuple(range(len(z))),
                task=planted.task,
                fits=tuple(fits),
                kind=probe.name,
                z=z,
                seconds=0.0,
            )
        )
    return chunks


def evaluated(
    planted: Planted,
    probe: LinearConfig | MLPConfig | None = None,
    seeds: tuple[int, ...] = (),
    *,
    metrics: Sequence[Metric] = tuple(METRICS.values()),
    texts: Callable[[Task], Sequence[str]] | None = None,
    bootstrap: int = 300,
    control: bool = True,
    codelength: bool = False,
    permutations: int = 0,
    folds: int = 0,
) -> Evaluation:
    """All evidence on planted activations; options by the names of the config's keys."""
    evaluation = EvaluationConfig(bootstrap=bootstrap, control=control, codelength=codelength)
    significance, split = SignificanceConfig(permutations=permutations), SplitConfig(folds=folds)
    evaluator = Evaluator(
        evaluation, significance, group_name="document", metrics=metrics, texts=texts
    )
    for chunk in fitted_chunks(planted, evaluation, significance, split, probe=probe, seeds=seeds):
        evaluator.add(chunk)
    return evaluator.finish()
