"""Accuracy of the probes that were refitted on permuted labels, many in one matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from probes.evaluation.evidence_problems import Positions
from probes.statistics.groups import Array
from probes.training.chunk_fit import BLOCK, ChunkFit


def permuted_gains(chunk: ChunkFit, permutations: Sequence[Positions]) -> Array:
    """Accuracy minus that of the majority class, both under the permuted labels: (H, P).

    permutations: for each permutation its problems in the chunk, one or one for each fold; those of
        one fold score the same rows in every permutation.
    """
    hits = torch.zeros(len(chunk.heads), len(permutations), dtype=torch.int64)
    majority, scored = np.zeros(len(permutations)), 0
    for fold in zip(*permutations, strict=True):
        problems = [chunk.fits[index].problem for index in fold]
        rows = problems[0].score
        scored += int(rows.sum())
        for number, problem in enumerate(problems):
            most = np.bincount(problem.labels[problem.train]).argmax()
            majority[number] += (problem.labels[rows] == most).sum()
        if chunk.kind == "linear":
            labels = torch.from_numpy(np.stack([p.labels[rows] for p in problems], axis=1))
            hits += _linear_hits(chunk, fold, torch.from_numpy(rows), labels)
            continue
        for number, (index, problem) in enumerate(zip(fold, problems, strict=True)):
            labels = torch.from_numpy(problem.labels[rows])
            hits[:, number] += (chunk.predictions(index, rows).cpu() == labels).sum(dim=1)
    return (hits.double().numpy() - majority) / scored


def _linear_hits(chunk: ChunkFit, fold: Sequence[int], rows: Tensor, labels: Tensor) -> Tensor:
    """Rows that each probe gets right: (H, P), with labels (m, P)."""
    device, H = chunk.z.device, len(chunk.heads)
    x = chunk.z[:, rows.to(device)].float()  # (H, m, D)
    labels = labels.to(device)
    columns = chunk.fits[fold[0]].tensors["bias"].shape[1]
    step = max(1, BLOCK // (H * x.shape[1] * columns))
    hits = []
    for first in range(0, len(fold), step):
        tensors = [chunk.fits[index].tensors for index in fold[first : first + step]]
        weight = torch.cat([probe["weight"] for probe in tensors], dim=1).to(device)  # (H, pK, D)
        bias = torch.cat([probe["bias"] for probe in tensors], dim=1).to(device)
        logits = torch.baddbmm(bias[:, None], x, weight.mT)  # (H, m, pK)
        logits = logits.view(H, x.shape[1], len(tensors), columns)
        predicted = logits[..., 0] > 0 if columns == 1 else logits.argmax(dim=-1)
        hits.append((predicted == labels[:, first : first + step]).sum(dim=1))  # (H, p)
    return torch.cat(hits, dim=1).cpu()
