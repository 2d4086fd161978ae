"""What the solver is asked for on a group of rows, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from torch import Tensor

from probes.solver.selected_rows import SelectedRows


@dataclass(frozen=True)
class Problems:
    """Some heads, problems and penalties, on the rows that a group of problems uses."""

    z: Tensor | SelectedRows
    """(H, M, D) raw activations."""
    rows: slice | Tensor
    """The N of the M rows that are used: all, or their positions (N,)."""
    labels: Tensor
    """(P, N) classes."""
    weights: Tensor
    """(P, N) weights of the rows; 0 leaves one out."""
    l2: tuple[float, ...]
    classes: int

    def part(self, head: int, problem: int, penalties: list[int]) -> Problems:
        """One problem of one head under some of the penalties."""
        return replace(
            self,
            z=self.z[head : head + 1],
            labels=self.labels[problem : problem + 1],
            weights=self.weights[problem : problem + 1],
            l2=tuple(self.l2[k] for k in penalties),
        )


@dataclass(frozen=True)
class Solution:
    """Where the columns of ``Problems`` ended, on raw z."""

    weight: Tensor
    """(H, P, K, C', D) float64."""
    bias: Tensor
    """(H, P, K, C') float64."""
    value: Tensor
    """(H, P, K) float64 objective."""
    decrement: Tensor
    """(H, P, K) float64 estimate of value - optimum."""
    iterations: Tensor
    """(H, P, K) int64."""
    done: Tensor
    """(H, P, K) bool; False where the decrement is above the tolerance, or infinite
    because no optimum exists."""

    def part(self, head: int, problem: int, penalties: list[int]) -> Solution:
        """A copy of the columns of ``Problems.part``."""
        at = head, problem, penalties
        return Solution(*(getattr(self, field.name)[at][None, None] for field in fields(self)))

    def put(self, head: int, problem: int, penalties: list[int], other: Solution) -> None:
        """Replace some columns by the better ones of ``Problems.part``."""
        for field in fields(self):
            getattr(self, field.name)[head, problem, penalties] = getattr(other, field.name)[0, 0]
