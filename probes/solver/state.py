"""State of a search: what is known of each column at its present point, and where columns ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from probes.solver.columns import Columns
from probes.solver.metric import Coupling


@dataclass
class Optima:
    """Where the T columns that a search started with ended."""

    parameters: Tensor
    """(H, T, C', n)."""
    value: Tensor
    """(H, T) float64 objective."""
    decrement: Tensor
    """(H, T) float64 estimate of objective - optimum."""
    iterations: Tensor
    """(H, T) int64."""
    done: Tensor
    """(H, T) bool: the decrement is at most the tolerance."""

    @classmethod
    def unknown(cls, columns: Columns) -> Optima:
        """Of columns whose search begins: where they are, with all of the objective to gain."""
        H, T = columns.l2.shape
        return cls(
            parameters=columns.parameters.clone(),
            value=columns.null.double().clone(),
            decrement=columns.null.double().clone(),
            iterations=torch.zeros(H, T, dtype=torch.int64, device=columns.l2.device),
            done=torch.zeros(H, T, dtype=torch.bool, device=columns.l2.device),
        )

    @classmethod
    def concatenate(cls, blocks: Sequence[Optima]) -> Optima:
        """Blocks of columns of the same heads, one after the other."""
        return cls(*(torch.cat([getattr(b, f.name) for b in blocks], 1) for f in fields(cls)))

    def record(self, state: State, iteration: int) -> None:
        """Write the present point of the columns of ``state`` to their places."""
        at = state.heads[:, None], state.columns.index
        self.parameters[at] = state.columns.parameters
        self.value[at] = state.value
        self.decrement[at] = state.decrement
        self.iterations[at] = iteration
        self.done[at] = state.done


@dataclass
class State:
    """The columns that are still searched, T of each of H heads; (H, T) and float64 unless said."""

    heads: Tensor
    """(H,) positions of the heads among those that the search started with."""
    columns: Columns
    coupling: Coupling
    """Of the classes of each column, for the metric."""
    gradient: Tensor
    """(H, T, C', n) in the fit's dtype."""
    direction: Tensor
    """(H, T, C', n) in the fit's dtype."""
    slope: Tensor
    """Of the objective along the direction, in the fit's dtype."""
    value: Tensor
    """Objective, or an earlier one, which is an upper bound."""
    optimum: Tensor
    """Estimated objective of the optimum, once ``settled``."""
    settled: Tensor
    """bool: the objective is no longer computed."""
    plain: Tensor
    """Decrement: half the squared norm of the gradient in the metric."""
    decrement: Tensor
    """The same, corrected by what earlier ones have missed."""
    started: Tensor
    """``plain`` when the present metric came."""
    best: Tensor
    """Smallest decrement so far."""
    stalled: Tensor
    """int64: iterations since the decrement was last a tenth smaller than the smallest."""
    reached: Tensor
    """Objective when the column last seemed to have stalled; at first that of a constant probe."""
    done: Tensor
    """bool: the decrement is at most the tolerance."""

    @classmethod
    def start(cls, columns: Columns, gradient: Tensor, coupling: Coupling) -> State:
        """At the present parameters of the columns; the first direction is not known yet."""
        value = columns.null.double()
        nothing = torch.zeros_like(value, dtype=torch.bool)
        return cls(
            heads=torch.arange(len(value), device=value.device),
            columns=columns,
            coupling=coupling,
            gradient=gradient,
            direction=gradient,
            slope=columns.null,
            value=value,
            optimum=value,
            settled=nothing,
            plain=value,
            decrement=value,
            started=value,
            best=torch.full_like(value, float("inf")),
            stalled=torch.zeros_like(value, dtype=torch.int64),
            reached=value,
            done=nothing,
        )

    def take(self, heads: Tensor, index: Tensor) -> State:
        """Columns index (H', T') of the present heads (H')."""
        at = heads[:, None], index
        taken = {
            field.name: getattr(self, field.name)[at]
            for field in fields(self)
            if field.name not in ("heads", "columns", "coupling")
        }
        return State(
            heads=self.heads[heads],
            columns=self.columns.take(heads, index),
            coupling=self.coupling.take(heads, index),
            **taken,
        )

    def remaining(self, over: Tensor) -> tuple[Tensor, Tensor]:
        """Heads (H') with columns left, and as many columns (H', T') of each as the busiest has.

        over: (H, T) bool, the columns that are left out where the others fill a rectangle.
        """
        left = (~over).sum(-1)
        heads = (left > 0).nonzero()[:, 0]
        order = torch.argsort(over[heads].to(torch.int8), dim=-1, stable=True)
        index = order[:, : int(left.max())]
        return heads, torch.sort(index, dim=-1).values
