"""Which penalty each head takes: the best where it is chosen, and further ones where needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.config.run import PENALTIES, STRONGER, WEAKER
from probes.solver import LogisticFit, SelectedRows, class_logits
from probes.training.chunk_fit import BLOCK, Fitted
from probes.training.problems import Problem

Refit = Callable[[Tensor | SelectedRows, list[int], float, tuple[Tensor, Tensor]], LogisticFit]
"""Some heads and problems at one penalty, from weights (H, P, C', D) and biases (H, P, C') on."""
DIAGNOSTICS = ("gap", "iterations", "converged")


@dataclass
class Choice:
    """The chosen probes of P problems on H heads; what a further penalty improves is replaced."""

    penalty: Tensor
    """(H, P) float64."""
    accuracy: Tensor
    """(H, P) float64 on the problem's ``select`` rows."""
    clear: Tensor
    """(H, P) bool: the penalty is the first or last one, and more accurate than the one next to it
    by more than a standard error of the difference."""
    tensors: dict[str, Tensor]
    """``weight`` (H, P, C', D), ``bias`` (H, P, C') and ``DIAGNOSTICS`` (H, P)."""

    @classmethod
    def of(
        cls,
        z: Tensor | SelectedRows,
        problems: Sequence[Problem],
        fit: LogisticFit,
        l2: Sequence[float],
    ) -> Choice:
        """The best of the penalties of ``fit``: the most accurate, of these the least log-loss.

        Ties in accuracy are common on small validation sets.
        """
        accuracy, loss, error = _scores(z, problems, fit)  # (H, P, K), the last (H, P, K - 1)
        tied = accuracy < accuracy.max(dim=2, keepdim=True).values
        best = loss.masked_fill(tied, float("inf")).argmin(dim=2, keepdim=True)  # (H, P, 1)

        def pick(values: Tensor) -> Tensor:
            at = best.to(values.device).view(*best.shape, *[1] * (values.dim() - 3))
            return values.take_along_dim(at, dim=2).squeeze(2)

        penalties = torch.tensor(l2, dtype=torch.float64, device=loss.device)
        clear = torch.zeros_like(best[:, :, 0], dtype=torch.bool)
        if len(l2) > 1:
            first, last = best[:, :, 0] == 0, best[:, :, 0] == len(l2) - 1
            gain = accuracy.diff(dim=2)  # of each penalty over the one before it
            clear = (first & (-gain > error)[:, :, 0]) | (last & (gain > error)[:, :, -1])
        tensors = {name: pick(getattr(fit, name)) for name in ("weight", "bias", *DIAGNOSTICS)}
        return cls(penalties[best[:, :, 0]], pick(accuracy), clear, tensors)

    def go_on(self, z: Tensor | SelectedRows, problems: Sequence[Problem], refit: Refit) -> None:
        """Try the penalties beyond the default ones, one after another on each side.

        A head goes on while the last penalty is clearly better than the one before: by more than a
        standard error (the rule of Breiman et al. 1984, section 3.4.3, for when to stop). Where
        they are as good as each other a further one hardly differs either, and takes the longest.
        Heads and problems that do not go on are fitted only where they share a product with those
        that do.
        """
        for last, further in ((min(PENALTIES), WEAKER), (max(PENALTIES), STRONGER)):
            for penalty in further:
                ends = (self.penalty == last) & self.clear & (self.accuracy < 1)  # (H, P)
                if not bool(ends.any()):
                    break
                heads = ends.any(dim=1).nonzero()[:, 0]
                some = ends.any(dim=0).nonzero()[:, 0]
                at = heads[:, None], some
                part = z if len(heads) == len(z) else z[heads]
                start = self.tensors["weight"][at], self.tensors["bias"][at]
                fit = refit(part, some.tolist(), penalty, start)
                both = LogisticFit(
                    **{
                        name: _beside(own[at], getattr(fit, name))
                        for name, own in self.tensors.items()
                    },
                    messages=fit.messages,
                )
                tried = Choice.of(part, [problems[p] for p in some.tolist()], both, [last, penalty])
                self._replace(at, ends[at], tried)
                last = penalty

    def _replace(self, at: tuple[Tensor, Tensor], chosen: Tensor, other: Choice) -> None:
        """Take over what ``other`` has at ``at``, where ``chosen`` (h, p) is True."""
        for name in ("penalty", "accuracy", "clear"):
            mine, new = getattr(self, name), getattr(other, name)
            mine[at] = torch.where(chosen, new, mine[at])
        for name, new in other.tensors.items():
            own, where = self.tensors[name], chosen.view(*chosen.shape, *[1] * (new.dim() - 2))
            own[at] = torch.where(where, new, own[at])

    def fitted(self, problem: Problem, p: int) -> Fitted:
        """The probes of one problem."""
        return Fitted(
            problem,
            {name: self.tensors[name][:, p].clone() for name in ("weight", "bias")},
            self.penalty[:, p].cpu(),
            self.accuracy[:, p].float().cpu(),
            {name: self.tensors[name][:, p].clone() for name in DIAGNOSTICS},
        )


def _beside(own: Tensor, new: Tensor) -> Tensor:
    """What the columns (h, p, ...) have had and the new ones (h, p, 1, ...): (h, p, 2, ...)."""
    return torch.cat([own[:, :, None], new], dim=2)


def _scores(
    z: Tensor | SelectedRows, problems: Sequence[Problem], fit: LogisticFit
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``score_path``, of each problem on its ``select`` rows: (H, P, K), (H, P, K) and
    (H, P, K - 1)."""
    scores = [
        score_path(z, problem, fit.weight[:, p], fit.bias[:, p])
        for p, problem in enumerate(problems)
    ]
    accuracy, loss, error = (torch.stack(parts, dim=1) for parts in zip(*scores, strict=True))
    return accuracy, loss, error


def score_path(
    z: Tensor | SelectedRows, problem: Problem, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Accuracy and log-loss on the ``select`` rows, (H, K) each in float64, in blocks of rows, and
    the standard error of the accuracy's difference between neighbours, (H, K - 1).

    weight: (H, K, C', D), bias: (H, K, C'). The standard error is of rows that are drawn one by one
    (McNemar 1947): the square root of how many one of both gets right and the other does not.
    """
    H, K, columns, D = weight.shape
    rows = torch.from_numpy(problem.select.nonzero()[0]).to(z.device)
    labels = torch.from_numpy(problem.labels).to(z.device)[rows]
    flat, offset = weight.reshape(H, K * columns, D).mT, bias.reshape(H, 1, K * columns)
    hits = torch.zeros(H, K, dtype=torch.float64, device=z.device)
    loss, unlike = torch.zeros_like(hits), torch.zeros_like(hits[:, 1:])
    step = max(1, BLOCK // (H * max(D, K * max(columns, 2))))
    for start in range(0, len(rows), step):
        x, y = z[:, rows[start : start + step]].float(), labels[start : start + step]
        scores = torch.baddbmm(offset, x, flat).view(H, len(y), K, columns)
        scores = class_logits(scores)
        own = scores.gather(-1, y.view(1, -1, 1, 1).expand(H, -1, K, 1)).squeeze(-1)  # (H, n, K)
        right = scores.argmax(dim=-1) == y.view(1, -1, 1)
        hits += right.sum(dim=1)
        unlike += (right[..., 1:] != right[..., :-1]).sum(dim=1)
        loss += (scores.logsumexp(dim=-1) - own).sum(dim=1, dtype=torch.float64)
    return hits / len(rows), loss / len(rows), unlike.sqrt() / len(rows)
