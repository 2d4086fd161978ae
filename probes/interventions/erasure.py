"""Erase a feature from head outputs, so that no linear probe finds it (LEACE, Belrose et al. 2023).

If the accuracy of a second feature falls with it, the second depended on the first (amnesic
probing, Elazar et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.corpora.corpus import TRAIN
from probes.corpora.tasks import Task


@dataclass(frozen=True)
class Eraser:
    """For each head the affine map that removes a feature and changes the output least."""

    mean: Tensor
    """(H, D)"""
    reads: Tensor
    """(H, D, r) whitening followed by projection on the r directions that carry the classes; r is
    at most the number of classes less one."""
    writes: Tensor
    """(H, r, D) the way back to the space of outputs: what is subtracted for each direction."""

    def __call__(self, z: Tensor) -> Tensor:
        """Erase from (H, n, D); a new tensor of the same type."""
        centred = z.to(self.mean.dtype) - self.mean[:, None]
        return (z - (centred @ self.reads @ self.writes)).to(z.dtype)


def fit_eraser(z: Tensor, labels: Tensor, *, classes: int) -> Eraser:
    """Fit LEACE on training rows, in closed form and for all heads at once.

    It guarantees that on the rows given every class has the same mean output, so that the best
    linear probe is a constant; of all affine maps that do, it moves outputs least (in the norm
    that whitens them).

    z: (H, n, D) head outputs; labels: (n,) classes of the feature to erase.
    Directions with less than 1e-10 of a head's largest variance count as constant.
    """
    x = z.double()
    mean = x.mean(dim=1)  # (H, D)
    x = x - mean[:, None]
    target = torch.nn.functional.one_hot(labels, classes).double()
    target = target - target.mean(dim=0)  # (n, C)
    covariance = x.mT @ x / x.shape[1]  # (H, D, D)
    cross = x.mT @ target / x.shape[1]  # (H, D, C)
    variance, axes = torch.linalg.eigh(covariance)  # (H, D), (H, D, D)
    kept = variance > 1e-10 * variance[:, -1:]
    root = torch.where(kept, variance, 0.0).sqrt()
    inverse = torch.where(kept, variance.clamp_min(1e-300).rsqrt(), 0.0)
    whitened = axes * inverse[:, None] @ axes.mT @ cross  # (H, D, C)
    basis, strength, _ = torch.linalg.svd(whitened, full_matrices=False)  # (H, D, r), (H, r)
    used = strength > 1e-9 * strength[:, :1].clamp_min(1e-300)
    basis = torch.where(used[:, None], basis, 0.0)
    reads = axes * inverse[:, None] @ axes.mT @ basis  # (H, D, r): whiten, then project
    writes = basis.mT @ (axes * root[:, None] @ axes.mT)  # (H, r, D): project, then unwhiten
    dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
    return Eraser(mean.to(dtype), reads.to(dtype), writes.to(dtype))


def erase_task(task: Task) -> Callable[[Tensor], Tensor]:
    """A function that erases the task's feature from all rows of a cache: (H, N, D) -> (H, N, D).

    The map is fitted on the task's training rows, for the heads that it is given, and applied to
    every row; rows on which the feature has no value are moved by the same map.
    """
    train = task.split == TRAIN
    rows = torch.from_numpy(task.rows[train])
    labels = torch.from_numpy(task.labels[train])

    def edit(z: Tensor) -> Tensor:
        on = rows.to(z.device)
        parts = []
        for head in z:  # one at a time: the fit is in float64
            eraser = fit_eraser(head[None, on], labels.to(z.device), classes=len(task.classes))
            parts.append(eraser(head[None]))
        return torch.cat(parts)

    return edit
