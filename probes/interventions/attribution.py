"""Attribution patching: a linear estimate of what every head's edit would change, all at once.

For a measure m and another value of a head's output at some tokens,

    m(edited) - m(base)  ~  sum over tokens of (z_other - z_base) . dm/dz

with the gradient taken in the base pass (Nanda 2023; Syed et al. 2023, arXiv 2310.10348): one
forward and one backward pass for all heads, and the pass that gives ``z_other``. The integrated
form takes the mean gradient at ``steps`` points on the straight line between the embeddings of the
other and of the base text (Hanna et al. 2024, arXiv 2403.17806): the last of them is the base
itself, so that one step is the plain form. All heads move together on that line, so more steps do
not lead to the effect of one head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.models.differentiation import no_gradient
from probes.models.hooks import differentiable, hooked
from probes.models.sites import Site
from probes.passes.batches import Batch, BatchPlan
from probes.passes.loop import run_batches
from probes.passes.visitor import Keeper

Scores = Callable[[Batch], Tensor]
"""Runs a pass with gradients and returns scores of any shape, each of one sequence alone. What is
attributed to a head in a sequence is about the sum of the sequence's scores."""


class OtherValues(Protocol):
    """What a head's output would be replaced with in the texts of a batch, and where."""

    def begin(self, batch: Batch) -> None:
        """A batch is about to be run."""

    def values(self, site: Site) -> Tensor:
        """(B, T, units, width), or with 1 for any of the first two."""
        ...

    def where(self, batch: Batch, site: Site) -> Tensor:
        """(B, T) the tokens at which it would be replaced."""
        ...


@dataclass(frozen=True)
class Attribution:
    """Estimates the effect of replacing each unit's output alone, in every text of a plan.

    What is kept of a batch is dropped with it: memory does not grow with the number of texts.
    """

    body: nn.Module
    sites: Sequence[Site]
    """Of heads, or of whole layers, in any order."""
    scores: Scores
    other_ids: Callable[[Batch], Tensor] | None = None
    """(B, T) tokens of the other texts, as long as their base texts: for the integrated form."""
    steps: int = 1
    """Points of the line between the embeddings; 1: the gradient of the base pass alone."""

    def __post_init__(self) -> None:
        if self.steps > 1 and self.other_ids is None:
            raise ValueError("the integrated form needs the tokens of the other texts")

    def run(
        self, plan: BatchPlan, other: OtherValues, *, label: str | None = None
    ) -> dict[Site, Tensor]:
        """m(edited) - m(base), estimated, of each sequence: (S, units) float64 by site.

        Sequences are numbered as in the plan's alignment. label: shown with the progress.

        Raises:
            UserError: where memory does not suffice for a single sequence, and where gradients do
                not reach a site.
        """
        shape = len(plan.alignment.example)
        total = {site: torch.zeros(shape, site.units, dtype=torch.float64) for site in self.sites}

        def run(batch: Batch) -> None:
            estimates = self.batch(batch, other)
            where = torch.from_numpy(plan.order[batch.position : batch.position + batch.count])
            for site, of_site in estimates.items():
                total[site][where] = of_site.cpu().double()

        run_batches(plan, run, Keeper(), label=label)
        return total

    def batch(self, batch: Batch, other: OtherValues) -> dict[Site, Tensor]:
        """The estimates of one batch: (B, units) float32 (of float64 models float64) by site."""
        other.begin(batch)
        z, gradients = self._gradients(batch)
        for step in range(1, self.steps):
            with self._on_the_line(batch, step / self.steps):
                _, more = self._gradients(batch)
            gradients = {site: gradient + more[site] for site, gradient in gradients.items()}
        return {
            site: _estimate(
                z[site],
                gradients[site] / self.steps,
                other.values(site).to(z[site].device),
                other.where(batch, site).to(z[site].device),
            )
            for site in self.sites
        }

    def _gradients(self, batch: Batch) -> tuple[dict[Site, Tensor], dict[Site, Tensor]]:
        """What passes at each site, and the gradient of the sum of all scores: (B, T, H, D)."""
        z: dict[Site, Tensor] = {}
        visit = differentiable(lambda site, x: z.__setitem__(site, x))
        with hooked(self.body, self.sites, visit):
            scores = self.scores(batch)
        leaves = [z[site] for site in self.sites]
        gradients = gradients_of(scores, leaves, self.sites)
        # Detached, so that the graph is dropped here.
        return {site: x.detach() for site, x in z.items()}, gradients

    @contextmanager
    def _on_the_line(self, batch: Batch, share: float) -> Iterator[None]:
        """Passes whose embeddings are this share of the way from the other to the base text."""
        assert self.other_ids is not None
        embedding: Any = self.body.get_input_embeddings()  # type: ignore[operator]
        ids = self.other_ids(batch)
        if ids.shape != batch.input_ids.shape:
            raise ValueError(
                f"other texts of {tuple(ids.shape)} tokens for a batch of "
                f"{tuple(batch.input_ids.shape)}"
            )
        with torch.no_grad():
            start: Tensor = embedding(ids.to(embedding.weight.device))  # (B, T, M)
        moved = 0

        def move(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            nonlocal moved
            moved += 1
            return start + share * (output - start)

        handle = embedding.register_forward_hook(move)
        try:
            yield
        finally:
            handle.remove()
        if moved != 1:
            raise UserError(
                f"{type(self.body).__name__} embeds its tokens {moved} times in a pass, so there "
                "is no line between the embeddings of two texts",
                allowed="models of one stack",
                fix="attribution.steps=1",
            )


def _estimate(z: Tensor, gradient: Tensor, other: Tensor, where: Tensor) -> Tensor:
    """(B, units) sums over tokens and width, formed in float32 at least."""
    wide = torch.float64 if z.dtype == torch.float64 else torch.float32
    change = (other.to(wide) - z.to(wide)) * gradient.to(wide)  # (B, T, H, D)
    # Not by multiplication: what stands under the padding may be no number.
    return torch.where(where[..., None, None], change, 0.0).sum(dim=(1, 3))


def gradients_of(
    scores: Tensor, leaves: Sequence[Tensor], sites: Sequence[Site]
) -> dict[Site, Tensor]:
    """The gradient of the sum of the scores with respect to what passed at each site.

    Raises:
        UserError: where it does not reach a site.
    """
    reached: Sequence[Tensor | None]
    if scores.requires_grad:
        reached = torch.autograd.grad(scores.float().sum(), leaves, allow_unused=True)
    else:
        reached = [None] * len(leaves)
    for site, gradient in zip(sites, reached, strict=True):
        if gradient is None:
            raise no_gradient(
                f"what follows {site.module} ({site.stream} layer {site.layer})",
                "a checkpoint that is not quantised",
            )
    return {site: g for site, g in zip(sites, reached, strict=True) if g is not None}
