"""Parts of the logit difference, by row of a corpus."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probes.config import SplitConfig
from probes.core.errors import UserError
from probes.interventions.behaviour import answering
from probes.interventions.logit_parts import logit_parts
from probes.interventions.measures import MEASURES
from probes.interventions.patching import plain_values
from probes.models.handle import Handle
from tests.interventions.test_ablation import behaviour_of, opened, prompts


def test_all_parts_together_are_the_logit_difference(talking: Handle) -> None:
    editor = opened(talking)
    behaviour = behaviour_of(prompts(), talking)
    parts = logit_parts(editor, behaviour)
    scored = behaviour.parts[0].scored
    wanted = plain_values(editor, behaviour, behaviour.texts.take(scored))
    np.testing.assert_allclose(parts.total[scored], wanted, rtol=1e-4, atol=1e-3)
    assert np.isnan(parts.total[~scored]).all()
    assert len(parts.heads) == len(editor.heads) and len(parts.mlps) == 2
    assert np.isfinite(parts.of_heads[:, scored]).all() and np.any(parts.of_heads[:, scored])


def test_other_measures_and_other_models_are_refused(talking: Handle) -> None:
    editor = opened(talking)
    other = answering(
        prompts(), talking, MEASURES["log_probability"], None, SplitConfig(), name="name"
    )
    with pytest.raises(UserError, match=r"log_probability: parts add up.*measure=logit_diff"):
        logit_parts(editor, other)
    nothing = replace(editor, stream=None, notes=["direct effects are not measured: because"])
    with pytest.raises(UserError, match="because"):
        logit_parts(nothing, behaviour_of(prompts(), talking))
