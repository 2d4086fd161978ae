"""Corrupted twins: which texts have one, and which of their answers are scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from probes.config import PatchingConfig, SplitConfig
from probes.corpora.answers import Answer, Contrast
from probes.corpora.corpus import TEST, TRAIN, VALIDATION, Corpus
from probes.interventions.answer_tokens import score_answers
from probes.interventions.behaviour import answering
from probes.interventions.editor import Editor
from probes.interventions.estimates import estimate_patching
from probes.interventions.measures import MEASURES
from probes.interventions.patching import make_pairs, patch
from probes.interventions.replacements import Places
from probes.interventions.twins import find_twins
from probes.models.handle import Handle
from probes.models.hooks import hooked
from probes.models.sites import Site
from tests.interventions.test_ablation import opened
from tests.interventions.test_answer_tokens import corpus_with
from tests.small_corpora import corpus_of_texts

DIFFERENCE = MEASURES["logit_difference"]


def test_only_twins_of_as_many_tokens_are_patched_from(talking: Handle) -> None:
    texts = ["Ann met Eve and saw", "Bob met Eve and saw"]
    answers = [Answer(i, len(t), " Eve", (" Ann",)) for i, t in enumerate(texts)]
    corpus = replace(
        corpus_with(texts, answers),
        contrasts=(
            Contrast(0, "other", "Cid met Eve and saw"),
            Contrast(1, "other", "Bartholomew met Eve and saw"),
        ),
    )
    scored = score_answers(corpus, talking, DIFFERENCE)
    twins = find_twins(corpus, talking, scored, "other")
    assert twins.parts.tolist() == [True, False] and sum(twins.notes.values()) == 1
    end = int(scored.alignment.offsets[1])
    twin = talking.encode(["Cid met Eve and saw Eve"])[0].ids
    assert twins.ids[:end].tolist() == twin[:end]


def test_a_twin_is_not_continued_where_its_answer_stands_inside(talking: Handle) -> None:
    text, twin = "one two three four", "one wot three four"  # as many tokens
    corpus = replace(
        corpus_with([text], [Answer(0, 7, " three", (" six",))]),
        contrasts=(Contrast(0, "other", twin),),
    )
    scored = score_answers(corpus, talking, DIFFERENCE)
    twins = find_twins(corpus, talking, scored, "other")
    assert twins.parts.tolist() == [True] and not twins.notes


@pytest.mark.parametrize("twin", ["one two three", "one wot three"])
def test_a_twin_that_differs_only_behind_the_answer_is_none(talking: Handle, twin: str) -> None:
    text, answer = "one two three", Answer(0, 3, " two", (" six",))
    corpus = replace(corpus_with([text], [answer]), contrasts=(Contrast(0, "other", twin),))
    scored = score_answers(corpus, talking, DIFFERENCE)
    twins = find_twins(corpus, talking, scored, "other")
    assert twins.parts.tolist() == [False]
    assert twins.notes == {"texts that their corrupted twin leaves alone up to the last answer": 1}
    # One that is scored behind the change as well keeps its twin, for that answer alone.
    answers = [answer, Answer(0, len(text), " Eve", (" Ann",))]
    corpus = replace(corpus_with([text], answers), contrasts=(Contrast(0, "other", twin),))
    scored = score_answers(corpus, talking, DIFFERENCE)
    twins = find_twins(corpus, talking, scored, "other")
    assert twins.parts.tolist() == [False, twin != text], twins.notes


BEGIN, END = "one two", " three four"
TWIN_END = " three uofr"  # as many tokens, other ones


def counted() -> Corpus:
    """Texts with an answer before what their twins change, and one after it."""
    text, twin = BEGIN + END, BEGIN + TWIN_END
    answers, contrasts = [], []
    for number in range(4):
        answers += [
            Answer(number, 3, " two", (" six",)),
            Answer(number, len(text), " five", (" nine",)),
        ]
        contrasts.append(Contrast(number, "other", twin))
    return replace(
        corpus_of_texts([text] * 4),
        splits=np.array([TRAIN, VALIDATION, TEST, TEST], dtype=np.int8),
        answers=tuple(answers),
        contrasts=tuple(contrasts),
    )


def by_hand(
    editor: Editor,
    base: list[int],
    donor: list[int],
    site: Site,
    head: int,
    token: int,
    pair: list[int],
) -> float:
    """What putting one head's output in a donor text into a base text changes of a logit difference
    after a token."""
    given: list[torch.Tensor] = []

    def keep(_: Site, z: torch.Tensor) -> None:
        given.append(z)

    def put(_: Site, z: torch.Tensor) -> torch.Tensor:
        z = z.clone()
        z[:, :, head] = given[0][:, :, head]
        return z

    def difference() -> float:
        logits = editor.model(input_ids=torch.tensor([base])).logits[0, token].double()
        return float(logits[pair[0]] - logits[pair[1]])

    with torch.inference_mode():
        with hooked(editor.body, [site], keep):
            editor.model(input_ids=torch.tensor([donor]))
        plain = difference()
        with hooked(editor.body, [site], put):
            return difference() - plain


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_answers_before_the_change_make_no_effect_smaller(talking: Handle, direction: str) -> None:
    editor, corpus = opened(talking), counted()
    behaviour = answering(corpus, talking, DIFFERENCE, None, SplitConfig(), name="x")
    pairs = make_pairs(editor, behaviour, corpus, None)
    assert pairs.notes == ("4 answers before what their corrupted twin changes left out",)
    config = PatchingConfig(direction)
    effects = patch(editor, behaviour, pairs, editor.heads, config)

    end = int(behaviour.texts.alignment.offsets[1])
    clean = talking.encode([BEGIN + END + " five"])[0].ids[:end]
    twin = talking.encode([BEGIN + TWIN_END + " five"])[0].ids[:end]
    assert clean != twin
    pair = [int(behaviour.texts.targets[1]), int(behaviour.texts.others[1])]
    base, donor, sign = (twin, clean, 1) if direction == "denoise" else (clean, twin, -1)
    for (site, head), of_head in zip(effects.heads, effects.total, strict=True):
        assert head is not None
        wanted = sign * by_hand(editor, base, donor, site, head, end - 1, pair)
        np.testing.assert_allclose(of_head[pairs.kept], wanted, atol=1e-5)
        # The answer before the change is in no reach of the head.
        first = int(behaviour.texts.alignment.last[0])
        early = [int(behaviour.texts.targets[0]), int(behaviour.texts.others[0])]
        assert by_hand(editor, base, donor, site, head, first, early) == pytest.approx(0, abs=1e-6)
    assert np.abs(effects.total[:, pairs.kept]).max() > 1e-3


def test_estimates_are_of_the_same_answers_as_the_effects(talking: Handle) -> None:
    """Without the first answers nothing is left out, and nothing else may change."""
    editor, corpus = opened(talking), counted()
    late = replace(corpus, answers=tuple(a for a in corpus.answers if a.offset > 3))
    estimates = []
    for one in (corpus, late):
        behaviour = answering(one, talking, DIFFERENCE, None, SplitConfig(), name="x")
        pairs = make_pairs(editor, behaviour, one, None)
        of = estimate_patching(editor, behaviour, pairs, "denoise", Places(), 0)
        estimates.append(of.total)
    np.testing.assert_array_equal(estimates[0], estimates[1])


def test_an_answer_across_the_change_is_scored_whole(talking: Handle) -> None:
    """By a measure that sums over its tokens: those before the change add nothing."""
    text, twin = "one two three", "one wot three"
    corpus = replace(
        corpus_with([text], [Answer(0, 3, " two three")]),
        contrasts=(Contrast(0, "other", twin),),
    )
    scored = score_answers(corpus, talking, MEASURES["log_probability"])
    twins = find_twins(corpus, talking, scored, "other")
    changed = int(np.flatnonzero(twins.ids != scored.alignment.ids)[0])
    assert scored.alignment.last[0] < changed < scored.alignment.last[-1]
    assert twins.parts.tolist() == [True], twins.notes
    assert scored.take_parts(twins.parts).targets.tolist() == scored.targets.tolist()
