"""The problems of a feature: the real one, and those that are fitted with it as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from probes.config import EvaluationConfig, SignificanceConfig, SplitConfig
from probes.config.group_checks import check_split
from probes.core.errors import UserError
from probes.corpora.corpus import TEST
from probes.corpora.splits import group_folds
from probes.corpora.tasks import Task
from probes.evaluation.codelength import codelength_blocks, codelength_problems
from probes.evaluation.control import control_labels
from probes.evaluation.permutations import check_permutations, grouped_labels
from probes.statistics.permutation import permuted_labels
from probes.training.problems import Problem, Role, fold_problems, real_problem, seed_problems

Positions = tuple[int, ...]
"""Positions, among the problems of a feature, of those that score every reported row once
together: one, or one for each fold."""


def evidence_problems(
    task: Task,
    evaluation: EvaluationConfig,
    significance: SignificanceConfig,
    split: SplitConfig,
    *,
    seeds: Sequence[int] = (),
    seed: int = 0,
) -> tuple[Problem, ...]:
    """All problems of a feature, the real one first.

    With ``split.folds`` every role has a problem for each fold, except codelength, which codes the
    training rows of the task's own split. The control and the permutations take the penalty
    that the real labels chose for the same head (with folds: for the first fold), so that they are
    fitted by probes of the same capacity.

    Raises:
        UserError: one group only, fewer groups than folds, or a permutation test that cannot reach
            its level. It is raised before anything is fitted.
    """
    check_split(split)
    base = _fold_problems(task, split) if split.folds else (real_problem(task),)
    base = tuple(replace(problem, seed=seed) for problem in base)
    _check_groups(task, base, evaluation)
    problems = list(base)
    nothing = np.zeros(len(task.labels), dtype=bool)
    frozen = tuple(replace(problem, select=nothing) for problem in base)
    if evaluation.control:
        problems += _relabelled(frozen, Role.CONTROL, control_labels(task, seed=seed))
    if significance.permutations:
        check_permutations(task, significance.permutations, significance.level)
        drawn = permuted_labels(grouped_labels(task), significance.permutations, seed=seed)
        for number, labels in enumerate(drawn):
            problems += _relabelled(frozen, Role.PERMUTATION, labels, index=number)
    if evaluation.codelength:
        problems += codelength_problems(task, codelength_blocks(task, seed=seed))
    for problem in base:
        problems += seed_problems(problem, seeds)
    return tuple(problems)


def positions_by_role(problems: Sequence[Problem]) -> dict[Role, list[Positions]]:
    """For each role the positions of its problems, those of all folds of one index together.

    The indices of a role keep their order; a role without problems has an empty list.
    """
    positions: dict[Role, dict[int | None, list[int]]] = {role: {} for role in Role}
    for position, problem in enumerate(problems):
        positions[problem.role].setdefault(problem.index, []).append(position)
    return {
        role: [tuple(folds) for folds in by_index.values()] for role, by_index in positions.items()
    }


def _fold_problems(task: Task, split: SplitConfig) -> tuple[Problem, ...]:
    """Folds by group, without training rows whose text is scored or chosen on."""
    folds = group_folds(task.groups, split.folds, split.seed)
    problems = []
    for problem in fold_problems(task, folds):
        select = problem.select & ~_shares_text(task, problem.score)
        train = problem.train & ~_shares_text(task, problem.score | problem.select)
        problems.append(replace(problem, train=train, select=select))
    return tuple(problems)


def _shares_text(task: Task, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.isin(task.texts, task.texts[rows])


def _relabelled(
    base: Sequence[Problem], role: Role, labels: npt.NDArray[np.int64], index: int | None = None
) -> list[Problem]:
    return [replace(problem, role=role, labels=labels, index=index) for problem in base]


def _check_groups(task: Task, base: Sequence[Problem], evaluation: EvaluationConfig) -> None:
    scored = np.any([problem.score for problem in base], axis=0)
    groups = len(np.unique(task.groups[scored]))
    if evaluation.bootstrap and groups < 2:
        folds = base[0].fold is not None
        where = "all folds together" if folds else "test"
        rows = int(scored.sum()) if folds else int((task.split == TEST).sum())
        raise UserError(
            f"features=[{task.feature}]: the {rows} rows in {where} belong to one group, so "
            "nothing can be said about other groups",
            allowed="at least 2 groups in the reported split",
            fix="split.source=group to draw test groups anew, or evaluation.bootstrap=0 to go "
            "without intervals",
        )
