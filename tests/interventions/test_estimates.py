"""Attribution of a behaviour beside exact effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from probes.config import AblationConfig, PatchingConfig, SplitConfig
from probes.core.errors import UserError
from probes.interventions.ablation import ablate
from probes.interventions.behaviour import answering
from probes.interventions.editor import Editor
from probes.interventions.estimates import estimate_ablation, estimate_patching
from probes.interventions.measures import MEASURES
from probes.interventions.patching import make_pairs, patch
from probes.interventions.replacements import Places
from probes.models.handle import Handle
from tests.interventions.test_ablation import behaviour_of, opened, prompts

CLOSE = 0.95


def nearly_linear(handle: Handle) -> Editor:
    """A model whose heads say little, so that what an edit changes is linear in the edit."""
    editor = opened(handle)
    for site in editor.sites:
        projection: Any = editor.body.get_submodule(site.module)
        projection.weight.data.mul_(0.001)
    editor.stream = None  # it was read off the weights as they were
    return editor


def test_it_ranks_heads_as_ablation_and_patching_do_in_the_same_sign(talking: Handle) -> None:
    editor, corpus = nearly_linear(talking), prompts(48)
    behaviour = behaviour_of(corpus, talking)
    rows = behaviour.reported
    exact = ablate(editor, behaviour, editor.heads, AblationConfig(matched=False))
    guess = estimate_ablation(editor, behaviour, Places())
    assert np.isnan(guess.total[:, behaviour.parts[0].train]).all()
    found = spearmanr(exact.total[:, rows].ravel(), guess.total[:, rows].ravel()).statistic
    assert found > CLOSE
    pairs = make_pairs(editor, behaviour, corpus, None)
    for direction in ("denoise", "noise"):
        effects = patch(editor, behaviour, pairs, editor.heads, PatchingConfig(direction))
        for steps in (0, 4):
            of = estimate_patching(editor, behaviour, pairs, direction, Places(), steps)
            there = pairs.kept & rows
            wanted = effects.total[:, there].ravel()
            assert spearmanr(wanted, of.total[:, there].ravel()).statistic > CLOSE, steps


@pytest.mark.parametrize("name", ["log_probability", "loss"])
def test_rows_of_several_reads_are_weighted_as_the_measure_weights_them(
    talking: Handle, name: str
) -> None:
    editor = nearly_linear(talking)
    behaviour = answering(prompts(), talking, MEASURES[name], None, SplitConfig(), name="x")
    guess = estimate_ablation(editor, behaviour, Places())
    exact = ablate(editor, behaviour, editor.heads, AblationConfig(matched=False))
    rows = behaviour.reported
    size = np.abs(exact.total[:, rows]).mean()
    np.testing.assert_allclose(guess.total[:, rows], exact.total[:, rows], atol=0.2 * size)


def test_right_or_wrong_has_no_gradient(talking: Handle) -> None:
    editor = opened(talking)
    behaviour = answering(
        prompts(), talking, MEASURES["choice_accuracy"], None, SplitConfig(), name="x"
    )
    with pytest.raises(UserError, match=r"right or wrong.*measure=logit_difference"):
        estimate_ablation(editor, behaviour, Places())
