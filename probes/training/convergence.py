"""How many linear probes did not reach the tolerance, over the chunks of a feature."""

from __future__ import annotations

from dataclasses import dataclass

from probes.training.chunk_fit import Fitted


@dataclass
class Convergence:
    """How many linear probes did not reach the tolerance, over all chunks."""

    fits: int = 0
    missed: int = 0
    unbounded: int = 0
    """Those without any optimum: separable classes and no penalty."""
    largest: float = 0.0
    """Largest relative gap of the others."""

    def add(self, fit: Fitted) -> None:
        """Count the fits of a chunk that did not converge."""
        if "converged" not in fit.diagnostics:
            return
        gap, missed = fit.diagnostics["gap"], ~fit.diagnostics["converged"]
        bounded = gap[missed & gap.isfinite()]
        self.fits += len(gap)
        self.missed += len(bounded)
        self.unbounded += int(gap.isinf().sum())
        self.largest = max([self.largest, *bounded.tolist()])

    def __add__(self, other: Convergence) -> Convergence:
        """Of both together."""
        return Convergence(
            self.fits + other.fits,
            self.missed + other.missed,
            self.unbounded + other.unbounded,
            max(self.largest, other.largest),
        )

    def notes(self, name: str) -> list[str]:
        """What to tell the user of a feature."""
        notes = []
        if self.missed:
            notes.append(
                f"{name}: {self.missed} of {self.fits} linear probes are above probe.tolerance "
                f"(largest relative gap {self.largest:.1e}); raise probe.max_iterations"
            )
        if self.unbounded:
            notes.append(
                f"{name}: {self.unbounded} of {self.fits} linear probes have no optimum: their "
                "classes are separable and probe.l2 is 0"
            )
        return notes
