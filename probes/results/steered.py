"""What was steered in a run: the record of the heads, the class and the texts beside it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SteeredHead:
    """A head that was pushed."""

    stream: str
    layer: int
    head: int
    sigma: float
    """Standard deviation of its output along its direction, on training rows: a strength of 1."""


@dataclass(frozen=True)
class SteeringRecord:
    """How one feature was steered; its numbers are in ``results.csv`` at site ``head_sets``."""

    feature: str
    towards: str
    """Class that the direction points to."""
    direction: str
    """``mean_difference`` or ``probe``."""
    positions: str
    chosen_by: str
    """What the heads were chosen by, on validation, in words."""
    heads: list[SteeredHead]
    """In the order in which they were chosen: a set of K has the first K."""
    sets: list[int]
    """How many heads were pushed together."""
    metric: str = ""
    """The metric whose change is compared with the controls."""
    neutral: str = ""
    """What perplexity was measured on, in words; empty: it was not."""
    draws: int = 1
    """Draws that each control is the mean of."""
    notes: list[str] = field(default_factory=list)
    """What was left out and why, one sentence each."""
