"""What steering is applied to in a run, and what is noted on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from probes.config import RunConfig
from probes.corpora.corpus import Corpus
from probes.interventions.editor import Editor
from probes.models.handle import Handle
from probes.statistics.bootstrap import Draws, draw_groups
from probes.statistics.groups import Codes
from probes.statistics.maps import MapEvidence


@dataclass
class SteeringOfRun:
    """Run, model and maps that the steering of one feature is given."""

    config: RunConfig
    corpus: Corpus
    handle: Handle
    cache_dir: Path
    memory_budget: int
    editor: Editor
    maps: Sequence[MapEvidence]
    """Of the run so far, by which heads are chosen."""
    notes: list[str] = field(default_factory=list)
    """What was left out, for the page."""

    def note(self, sentence: str) -> None:
        """Say on the page what was left out."""
        self.notes.append(sentence)

    def draws(self, groups: Codes) -> Draws | None:
        """Of the bootstrap over the groups of some rows; None without intervals."""
        count = len(np.unique(groups))
        evaluation = self.config.evaluation
        if not evaluation.bootstrap or count < 2:
            return None
        return draw_groups(
            count, evaluation.bootstrap, seed=self.config.seed, confidence=evaluation.confidence
        )
