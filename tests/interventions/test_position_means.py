"""Means by position over texts of the same template."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from probes.config import AblationConfig
from probes.core.errors import UserError
from probes.interventions.ablation import References, ablate
from probes.interventions.answer_tokens import score_answers
from probes.interventions.measures import MEASURES
from probes.interventions.position_means import LEAST, template_of
from probes.interventions.replacements import Places
from probes.models.forward import forward
from probes.models.handle import Handle
from probes.models.hooks import hooked
from probes.models.sites import Site
from tests.interventions.test_ablation import behaviour_of, opened, prompts


def references(handle: Handle, word: str = "saw", count: int = 24) -> References:
    """Other texts, of the template of ``prompts`` where the word is of as many letters."""
    corpus, other = prompts(), prompts(count)
    texts = tuple(text.replace("met", word) for text in other.texts)
    other = replace(other, texts=texts)
    return References(corpus, other, score_answers(other, handle, MEASURES["logit_difference"]))


def test_the_mean_is_of_the_same_place_in_the_same_template(talking: Handle) -> None:
    editor = opened(talking)
    other = references(talking, word="hug")
    behaviour = behaviour_of(prompts(), talking)
    scored = behaviour.texts.take(behaviour.parts[0].scored)
    plan = editor.plan(scored)
    means = other.means(editor, Places(), plan, other.templates_of(scored))
    batch = plan.batch(0, 10_000)
    means.begin(batch)
    site = editor.sites[-1]
    values = means.values(site)
    name = means.templates[plan.order[0]]
    read: list[torch.Tensor] = []

    def keep(_: Site, z: torch.Tensor) -> None:
        read.append(z[0].clone())

    alignment = other.texts.alignment
    for number, template in enumerate(means.sums.templates):
        if template == name:
            begin, end = alignment.offsets[number : number + 2]
            ids = torch.from_numpy(np.array(alignment.ids[begin:end], dtype=np.int64))[None]
            with hooked(editor.body, [site], keep):
                forward(editor.body, "decoder", ids, torch.ones_like(ids))
    assert len(read) == means.sums.counts[name] >= LEAST
    torch.testing.assert_close(
        values[0, : name[0]], torch.stack(read).mean(0), rtol=1e-4, atol=1e-5
    )


def test_texts_without_their_template_are_left_out_or_refused(talking: Handle) -> None:
    editor = opened(talking)
    behaviour = behaviour_of(prompts(), talking)
    config = AblationConfig(kind="mean_position", matched=False)
    heads = editor.heads[:2]
    effects = ablate(editor, behaviour, heads, config, references=references(talking, word="hug"))
    assert effects.kept is not None
    scored = behaviour.parts[0].scored
    assert np.isfinite(effects.total[:, effects.kept & scored]).all() and effects.kept.any()
    assert np.isnan(effects.total[:, ~effects.kept]).all()
    with pytest.raises(UserError, match="no template of the 12 scored texts"):
        ablate(editor, behaviour, heads, config, references=references(talking, "and"))
    with pytest.raises(UserError, match=r"cannot make other texts.*ablation\.kind=mean"):
        ablate(editor, behaviour, heads, config)


def test_a_template_is_told_by_its_function_words_and_length() -> None:
    one = template_of("After Ann had come back, Bob gave it to", 10)
    assert one == template_of("After Cid had gone back, Dan gave it to", 10)
    assert one != template_of("When Cid had gone back, Dan gave it to", 10)
    assert one != template_of("After Cid had gone back, Dan gave it to", 11)
