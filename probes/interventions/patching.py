"""Activation patching: a head's output is exchanged between a text and its corrupted twin.

``denoise`` puts the clean output into the corrupted run, ``noise`` the corrupted one into the clean
run. In both the measure scores the clean text's answer. Effects are oriented: above 0 the head
carries what makes the clean answer win (Wang et al. 2022, arXiv 2211.00593; Heimersheim and Nanda
2024, arXiv 2404.15255, on both directions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from probes.config import PatchingConfig
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.interventions.ablation import effects_of
from probes.interventions.behaviour import Behaviour
from probes.interventions.editor import Editor, sequences_of
from probes.interventions.effect_parts import EffectPart
from probes.interventions.exact import Head
from probes.interventions.measures import Measure, part_sums, row_values
from probes.interventions.replacements import FromOtherTexts, Places
from probes.interventions.scored_texts import ScoredTexts
from probes.interventions.twins import find_twins
from probes.passes.loop import run_batches
from probes.passes.visitor import Keeper
from probes.statistics.groups import Array

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Texts and their corrupted twins, of equal length.

    Of several answers in a text only those are scored that the twin's change can reach.
    """

    kind: str
    clean: ScoredTexts
    corrupted: ScoredTexts
    """The same reads in other tokens."""
    kept: BoolArray
    """(N,) rows of the behaviour that have a twin."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PatchEffects:
    """Effects of exchanging each head's output, on every row of a behaviour."""

    heads: tuple[Head, ...]
    total: Array
    """(H, N) oriented; NaN where there is no twin."""
    direct: Array | None
    """(H, N) direct effects, where they are measured."""
    contrast: Array
    """(N,) the measure in the clean run minus that in the corrupted run."""
    kept: BoolArray
    """(N,)"""


class NoPairs(UserError):
    """No reported text of a feature has a twin that it could be patched with."""


def chosen_contrast(corpus: Corpus, kind: str | None, measure: Measure) -> str:
    """The kind of twins that are patched from; None: the first that the corpus has.

    Raises:
        UserError: the corpus has no such twins, or the measure is of several texts.
    """
    kinds = list(dict.fromkeys(contrast.kind for contrast in corpus.contrasts))
    if measure.score is None:
        raise UserError(
            "methods=[patching] measure=downstream: corrupted texts are about what the model says "
            "next",
            fix="methods=[ablation], or a decoder and a corpus with answers",
        )
    if not kinds:
        raise UserError(
            f"methods=[patching]: corpus '{corpus.name}' has no corrupted texts",
            allowed="corpora with contrasts (ioi, facts, induction, ..., tables with "
            "corpus.corrupted or corpus.swap)",
            fix="methods=[ablation]",
        )
    if kind is not None and kind not in kinds:
        raise UserError(
            f"patching.contrast={kind}: corpus '{corpus.name}' has no such corrupted texts",
            allowed=", ".join(kinds),
            fix=f"patching.contrast={kinds[0]}",
        )
    if measure.sentences:
        raise UserError(
            f"measure={measure.name} compares two texts already: patching needs a measure of one",
            fix="measure=loss, or methods=[ablation]",
        )
    return kind or kinds[0]


def make_pairs(editor: Editor, behaviour: Behaviour, corpus: Corpus, kind: str | None) -> Pairs:
    """The rows of a behaviour that have a twin of a kind (None: the first that there is).

    Raises:
        UserError: the corpus has no such twins.
        NoPairs: none of them has as many tokens as its text and differs before what is scored.
    """
    chosen = chosen_contrast(corpus, kind, behaviour.measure)
    texts = behaviour.texts
    twins = find_twins(corpus, editor.handle, texts, chosen)
    parts = twins.parts & np.any([part.scored for part in behaviour.parts], axis=0)[texts.row]
    kept = np.bincount(texts.row[parts], minlength=len(texts)) > 0
    if not (kept & behaviour.reported).any():
        kinds = dict.fromkeys(contrast.kind for contrast in corpus.contrasts)
        others = [kind for kind in kinds if kind != chosen]
        raise NoPairs(
            f"patching.contrast={chosen}: no reported text of '{behaviour.feature}' has a twin of "
            "as many tokens that differs before its answer"
            + "".join(f"; {count} {name}" for name, count in twins.notes.items()),
            allowed=", ".join(kinds),
            fix=f"patching.contrast={others[0]}" if others else "methods=[ablation]",
        )
    return Pairs(
        chosen,
        texts.take_parts(parts),
        texts.read_as(twins.ids).take_parts(parts),
        kept,
        tuple(f"{count} {name} left out" for name, count in twins.notes.items()),
    )


def patch(
    editor: Editor,
    behaviour: Behaviour,
    pairs: Pairs,
    heads: Sequence[Head],
    config: PatchingConfig,
) -> PatchEffects:
    """Exchange each head's output alone, in all rows that have a twin."""
    denoise = config.direction == "denoise"
    base, donor = (pairs.corrupted, pairs.clean) if denoise else (pairs.clean, pairs.corrupted)
    plan = editor.plan(base)
    edit = FromOtherTexts(
        editor.body,
        editor.handle.kind,
        editor.all_sites,
        Places(config.positions, first_token=True),  # type: ignore[arg-type]
        sequences_of(donor),
        np.arange(len(base.alignment.example)),
        plan.order,
    )
    values = editor.exact(editor.readout(base, behaviour.measure), heads).run(
        plan,
        {"patch": edit},
        named=EffectPart("patching", behaviour.feature),
        label=editor.label(f"{config.direction} patching"),
    )
    effects = effects_of(base, values["patch"], behaviour)  # base minus patched
    sign = -1.0 if denoise else 1.0
    of_donor = plain_values(editor, behaviour, donor)
    contrast = np.full(len(behaviour.texts), np.nan)
    contrast[pairs.kept] = sign * (effects.clean - of_donor)

    def everywhere(of_kept: Array) -> Array:
        total = np.full((len(heads), len(behaviour.texts)), np.nan)
        total[:, pairs.kept] = sign * of_kept
        return total

    direct = None if effects.direct is None else everywhere(effects.direct)
    return PatchEffects(tuple(heads), everywhere(effects.total), direct, contrast, pairs.kept)


def plain_values(editor: Editor, behaviour: Behaviour, texts: ScoredTexts) -> Array:
    """The measure of each row in the pass as it is: (n,)."""
    readout = editor.readout(texts, behaviour.measure)
    sums = torch.zeros(1, len(texts.row), dtype=torch.float64)
    run_batches(
        editor.plan(texts),
        lambda batch: part_sums(texts, batch.rows, readout(batch), sums),
        Keeper(),
    )
    return row_values(texts, sums, behaviour.measure)[0].numpy()
