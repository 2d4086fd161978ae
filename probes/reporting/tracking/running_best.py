"""The best validation values so far, while fits come in.

After the last fit they are those of the finished run, so the last point of the curve is also its
largest and its result.
"""

from __future__ import annotations

from collections.abc import Sequence

from probes.evaluation.table_rows import Row
from probes.reporting.tracking.run_numbers import validation_name
from probes.results.objective import VALIDATION
from probes.training.parts import Part

OBJECTIVE = "objective"
"""The name under which what a search maximises is logged, whatever it is."""
STEP = "fit/parts"
"""The axis of the curves: parts of the run's own map that are fitted."""


class RunningBest:
    """The best head of each feature so far, and the run's objective from them."""

    def __init__(self, features: Sequence[str], site: str, probe: str, objective: str) -> None:
        """site, probe: of the run's own map. objective: ``METRIC`` or ``FEATURE.METRIC``."""
        self._own = (site, probe)
        feature, _, self.metric = objective.rpartition(".")
        self.features = [feature] if feature else list(features)
        """Those that the objective is the mean over."""
        self._every = list(features)
        self._best: dict[str, float] = {}
        self._parts = 0

    @property
    def names(self) -> list[str]:
        """Of the curves, without the objective."""
        return [validation_name(feature, self.metric) for feature in self._every]

    def add(self, fits: Sequence[tuple[Part, Sequence[Row]]]) -> dict[str, float]:
        """The numbers after these parts; empty where none is of the run's own map."""
        own = [(part, rows) for part, rows in fits if (part.site, part.probe) == self._own]
        if not own:
            return {}
        for part, rows in own:
            values = [
                float(row["value"])
                for row in rows
                if row["split"] == VALIDATION
                and row["metric"] == self.metric
                and isinstance(row["value"], float)
                and row["value"] == row["value"]  # not NaN
            ]
            if part.feature in self._best:
                values.append(self._best[part.feature])
            if values:
                self._best[part.feature] = max(values)
        self._parts += len(own)
        numbers = {STEP: float(self._parts), "fit/layer": float(own[-1][0].layer)}
        numbers |= {validation_name(name, self.metric): v for name, v in self._best.items()}
        objective = self.objective()
        return numbers if objective is None else {**numbers, OBJECTIVE: objective}

    def objective(self) -> float | None:
        """The mean over the objective's features; None until each of them has a value."""
        if not self.features or not self._best.keys() >= set(self.features):
            return None
        return sum(self._best[name] for name in self.features) / len(self.features)
