"""Ablation and patching of a corpus: which texts means are of, and what a control is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probes.config import AblationConfig, PatchingConfig, SplitConfig
from probes.core.errors import UserError
from probes.corpora.answers import Answer, Contrast
from probes.corpora.corpus import TEST, TRAIN, VALIDATION, Corpus
from probes.interventions.ablation import ablate
from probes.interventions.behaviour import Behaviour, answering, settled_measure
from probes.interventions.editor import Editor
from probes.interventions.effects import Named, effect_evidence
from probes.interventions.measures import MEASURES
from probes.interventions.patching import make_pairs, patch, plain_values
from probes.models.handle import Handle
from tests.small_corpora import corpus_of_texts

NAMES = ["Ann", "Bob", "Cid", "Dan"]
DIFFERENCE = MEASURES["logit_difference"]


def prompts(count: int = 24, poison: str = "") -> Corpus:
    """Two names each; every second answer recurs in training. ``poison`` goes into test texts."""
    texts, answers, contrasts, splits = [], [], [], []
    for number in range(count):
        a, b = NAMES[number % 4], NAMES[(number // 4 + 1 + number) % 4]
        b = b if b != a else NAMES[(number + 2) % 4]
        split = (TRAIN, TRAIN, VALIDATION, TEST)[number // (count // 4)]
        word = poison if poison and split != TRAIN else "met"
        texts.append(f"{a} {word} {b}. Then {b} saw")
        answers.append(Answer(number, len(texts[-1]), f" {a}", (f" {b}",)))
        contrasts.append(Contrast(number, "other_name", texts[-1].replace(a, "Eve", 1)))
        splits.append(split)
    return replace(
        corpus_of_texts(texts),
        splits=np.array(splits, dtype=np.int8),
        answers=tuple(answers),
        contrasts=tuple(contrasts),
    )


def opened(handle: Handle) -> Editor:
    return Editor.open(
        handle, head=True, layers=None, whole_layers=True, tokens_per_batch=512,
        memory_budget=1 << 28, progress=False,
    )  # fmt: skip


def behaviour_of(corpus: Corpus, handle: Handle, folds: int = 0) -> Behaviour:
    return answering(corpus, handle, DIFFERENCE, None, SplitConfig(folds=folds), name="name")


def test_means_are_of_training_texts_alone(talking: Handle) -> None:
    editor = opened(talking)
    plain, poisoned = prompts(), prompts(poison="mat")  # as many tokens, other ones
    found = []
    for corpus in (plain, poisoned):
        behaviour = behaviour_of(corpus, talking)
        mixed = replace(
            behaviour, texts=behaviour_of(plain, talking).texts
        )  # the same scored tokens
        found.append(ablate(editor, mixed, editor.heads, AblationConfig(matched=False)).total)
        other = ablate(editor, behaviour, editor.heads, AblationConfig(matched=False)).total
        assert np.isnan(other[:, behaviour.parts[0].train]).all()  # training rows are not scored
    np.testing.assert_array_equal(found[0], found[1])
    training = prompts()
    texts = list(training.texts)
    texts[0] = texts[0].replace("met", "mat")
    changed = replace(training, texts=tuple(texts))
    third = ablate(
        editor, behaviour_of(changed, talking), editor.heads, AblationConfig(matched=False)
    ).total
    scored = behaviour_of(plain, talking).parts[0].scored
    assert not np.array_equal(third[:, scored], found[0][:, scored])  # a training text counts


def test_without_an_edit_nothing_changes(talking: Handle) -> None:
    """Patched from itself no text changes, but for rounding: heads side by side are a larger
    batch (test_exact has the bits)."""
    editor = opened(talking)
    behaviour = behaviour_of(prompts(), talking)
    pairs = make_pairs(editor, behaviour, prompts(), None)
    same = replace(pairs, corrupted=pairs.clean)
    effects = patch(editor, behaviour, same, editor.heads, PatchingConfig())
    assert effects.direct is not None
    for values in (effects.total[:, pairs.kept], effects.direct[:, pairs.kept]):
        np.testing.assert_allclose(values, 0, atol=1e-4)
    np.testing.assert_allclose(effects.contrast[pairs.kept], 0, atol=1e-4)


def test_both_directions_of_patching_are_oriented_alike(talking: Handle) -> None:
    """With all heads of all layers put back, either direction gives the whole contrast in a model
    whose embedding of the exchanged word reaches the end through its heads alone."""
    editor = opened(talking)
    corpus = prompts()
    behaviour = behaviour_of(corpus, talking)
    pairs = make_pairs(editor, behaviour, corpus, "other_name")
    denoise = patch(editor, behaviour, pairs, editor.heads, PatchingConfig("denoise"))
    noise = patch(editor, behaviour, pairs, editor.heads, PatchingConfig("noise"))
    np.testing.assert_allclose(denoise.contrast, noise.contrast, atol=1e-5)
    clean = plain_values(editor, behaviour, pairs.clean)
    corrupted = plain_values(editor, behaviour, pairs.corrupted)
    np.testing.assert_allclose(denoise.contrast[pairs.kept], clean - corrupted, atol=1e-5)
    kept = pairs.kept
    assert np.corrcoef(denoise.total[:, kept].ravel(), noise.total[:, kept].ravel())[0, 1] > 0.3


def test_a_matched_text_has_the_same_answer_and_another_number(
    talking: Handle,
) -> None:
    editor = opened(talking)
    behaviour = behaviour_of(prompts(48), talking)
    effects = ablate(editor, behaviour, editor.heads, AblationConfig())
    assert effects.matched is not None and effects.paired is not None
    scored = behaviour.parts[0].scored
    assert effects.paired[scored].mean() >= 0.5 and not effects.paired[~scored].any()
    unpaired = scored & ~effects.paired
    np.testing.assert_array_equal(effects.matched[:, unpaired], effects.total[:, unpaired])
    assert not np.array_equal(effects.matched[:, scored], effects.total[:, scored])


def test_zero_and_resample_and_folds(talking: Handle) -> None:
    editor = opened(talking)
    corpus = prompts()
    for kind in ("zero", "resample"):
        config = AblationConfig(kind=kind, draws=2, matched=False)
        effects = ablate(editor, behaviour_of(corpus, talking), editor.heads, config)
        assert np.isfinite(effects.total[:, behaviour_of(corpus, talking).reported]).all()
    folded = behaviour_of(corpus, talking, folds=3)
    effects = ablate(editor, folded, editor.heads[:2], AblationConfig())
    assert np.isfinite(effects.total).all() and folded.reported.all()
    for part in folded.parts:
        assert not set(folded.groups[part.train]) & set(folded.groups[part.scored])


def test_sums_by_group_give_the_mean_effect(talking: Handle) -> None:
    editor = opened(talking)
    behaviour = behaviour_of(prompts(), talking)
    effects = ablate(editor, behaviour, editor.heads, AblationConfig(matched=False))
    named = Named("ablation", "mean")
    evidence = effect_evidence(behaviour, editor.heads, effects.total, named)
    wanted = effects.total[:, behaviour.reported].mean(axis=1)
    np.testing.assert_allclose(evidence.sums().value(), wanted)
    chosen = effects.total[:, behaviour.validation].mean(axis=1)
    np.testing.assert_allclose(evidence.validation, chosen)


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ("loss", {"encoder": True, "reads_itself": False}, "an encoder predicts no next token"),
        ("logit_difference", {"encoder": False, "reads_itself": True}, "is given the text itself"),
    ],
)
def test_measures_that_a_model_cannot_give(asked: str, kind: dict[str, bool], message: str) -> None:
    with pytest.raises(UserError, match=f"{message}.*measure=downstream"):
        settled_measure(asked, prompts(), **kind)
    assert settled_measure("auto", prompts(), **kind).name == "downstream"


def test_patching_asks_for_corrupted_texts(talking: Handle) -> None:
    editor = opened(talking)
    corpus = prompts()
    behaviour = behaviour_of(corpus, talking)
    with pytest.raises(UserError, match=r"no corrupted texts.*methods=\[ablation\]"):
        make_pairs(editor, behaviour, replace(corpus, contrasts=()), None)
    with pytest.raises(UserError, match=r"contrast=swap.*other_name"):
        make_pairs(editor, behaviour, corpus, "swap")
    longer = tuple(replace(c, text=c.text.replace("Eve", "Bartholomew")) for c in corpus.contrasts)
    with pytest.raises(UserError, match="as many tokens"):
        make_pairs(editor, behaviour, replace(corpus, contrasts=longer), None)
