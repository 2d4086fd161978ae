"""Whether a task has enough permutations for a test at its level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probes.core.errors import UserError
from probes.evaluation.permutations import check_permutations, grouped_labels
from probes.evaluation.planted import planted_task
from probes.statistics.permutation import exchange_of


def test_too_few_permutations_for_the_level() -> None:
    with pytest.raises(UserError, match=r"0\.0909.*significance\.permutations=19"):
        check_permutations(planted_task(), 10, 0.05)
    check_permutations(planted_task(), 19, 0.05)


def test_too_few_groups_for_the_level() -> None:
    task = planted_task(4, 10, pure=True, shares=(0.5, 0.0))
    firsts = np.unique(task.groups, return_index=True)[1]
    task = replace(task, labels=np.array([0, 1, 0, 1])[task.groups])
    assert len(firsts) == 4
    assert exchange_of(grouped_labels(task)).smallest_p(999) == pytest.approx(1 / 4)
    with pytest.raises(UserError, match=r"0\.25.*too few distinct arrangements.*more groups"):
        check_permutations(task, 999, 0.05)
