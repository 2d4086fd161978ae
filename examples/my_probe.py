"""A probe of one's own: the class whose mean is nearest, a linear probe without training.

From the directory of this file:

    headprobes probe=custom probe._target_=my_probe.py:nearest_mean +probe.options.shrink=0.1
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from probes.training.custom import LinearLayers
from probes.training.problems import Problem


def nearest_mean(
    z: Tensor, problems: Sequence[Problem], *, classes: int, options: dict[str, Any]
) -> list[LinearLayers]:
    """|z - m_c|^2 is smallest where z.m_c - |m_c|^2 / 2 is largest: a linear score for each class.

    z: (H, n, D) raw head outputs. options: ``shrink``, the share by which the class means are drawn
    towards their common mean.
    """
    shrink = float(options.get("shrink", 0.0))
    layers = []
    for problem in problems:
        train = torch.from_numpy(problem.train).to(z.device)
        labels = torch.from_numpy(problem.labels).to(z.device)[train]
        x = z[:, train]  # (H, rows, D)
        common = x.mean(1)  # (H, D)
        means = [
            x[:, labels == c].mean(1) if bool((labels == c).any()) else common
            for c in range(classes)
        ]
        m = torch.stack(means, dim=1)  # (H, C, D)
        m = (1 - shrink) * m + shrink * common[:, None]
        layers.append(LinearLayers(weight=m, bias=-0.5 * m.square().sum(-1)))
    return layers
