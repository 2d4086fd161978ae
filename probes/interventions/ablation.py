"""Ablation: what a model does without a head's own output.

An effect is ``m(clean) - m(ablated)``: above 0 the head helps. See ``AblationConfig`` for what
takes the place of the output. Means are of training texts alone; a row that is scored has no part
in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.config import AblationConfig
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.interventions.behaviour import Behaviour, Part
from probes.interventions.editor import DownstreamProbe, Editor, sequences_of
from probes.interventions.effect_parts import EffectPart
from probes.interventions.exact import Head, HeadValues
from probes.interventions.measures import row_values
from probes.interventions.position_means import (
    MeansByPosition,
    PositionSums,
    Template,
    require_templates,
    templates_of,
)
from probes.interventions.replacements import (
    Constant,
    FromOtherTexts,
    Means,
    Places,
    Replacement,
    draw_partners,
)
from probes.interventions.scored_texts import ScoredTexts
from probes.passes.batches import BatchPlan
from probes.passes.loop import run_passes
from probes.statistics.groups import Array

BoolArray = npt.NDArray[np.bool_]
MATCHED_SHARE = 0.5
"""Of the reported rows: with fewer partners of the same answer there is no matched control."""


@dataclass(frozen=True)
class RowEffects:
    """Effects of some heads on every row of a behaviour."""

    heads: tuple[Head, ...]
    total: Array
    """(H, N); NaN where a row was not scored, or another process does it."""
    clean: Array
    """(N,) the measure in the clean pass."""
    direct: Array | None = None
    """(H, N) direct effects, where they are measured; NaN for units that have none."""
    matched: Array | None = None
    """(H, N) of the same edit with the output in another training text of the same answer. Rows
    without such a text have the effect itself."""
    matched_direct: Array | None = None
    paired: BoolArray | None = None
    """(N,) rows that have a matched text."""
    kept: BoolArray | None = None
    """(N,) rows that were edited; None: all that are scored."""


def ablate(
    editor: Editor,
    behaviour: Behaviour,
    heads: Sequence[Head],
    config: AblationConfig,
    *,
    probe: DownstreamProbe | None = None,
    references: References | None = None,
    seed: int = 0,
) -> RowEffects:
    """Ablate each head alone, in all rows that are scored.

    probe: that scores rows, for the measure ``downstream``.
    references: texts that means by position are taken over (``mean_position``).

    Raises:
        UserError: no other text is as long as one that is scored (``resample``), and whatever the
            passes refuse.
    """
    collected = _Collected(len(heads), len(behaviour.texts))
    for part in behaviour.parts:
        train, scored = behaviour.texts.take(part.train), behaviour.texts.take(part.scored)
        plan = editor.plan(scored)
        places = Places(config.positions, config.first_token)  # type: ignore[arg-type]
        edits = _edits(editor, config, train, scored, plan, places, seed, references)
        mates = draw_partners(scored, train, seed=seed, matched=True)
        has_mate = np.zeros(len(scored), dtype=bool)
        has_mate[scored.sequence_rows[mates >= 0]] = True
        if config.matched and _enough(has_mate, behaviour, part):
            edits["matched"] = _from(editor, train, mates, plan, places)
        readout = editor.readout(scored, behaviour.measure, probe, fold=part.fold)
        label = editor.label(f"{config.kind} ablation")
        named = EffectPart("ablation", behaviour.feature, part.fold)
        values = editor.exact(readout, heads).run(plan, edits, named=named, label=label)
        effects = {name: effects_of(scored, of, behaviour) for name, of in values.items()}
        collected.add(part, effects, has_mate)
        by_position = edits.get("mean_position")
        if isinstance(by_position, MeansByPosition):
            known = require_templates(by_position, len(by_position.sums.templates))
            collected.leave_out(part, ~known[np.unique(scored.sequence_rows, return_index=True)[1]])
    return collected.finish(heads)


class _Collected:
    """Effects on all rows, part after part."""

    def __init__(self, heads: int, rows: int) -> None:
        self.of = {
            name: np.full((heads, rows), np.nan)
            for name in ("total", "direct", "matched", "matched_direct")
        }
        self.clean, self.paired = np.full(rows, np.nan), np.zeros(rows, dtype=bool)
        self.kept = np.ones(rows, dtype=bool)

    def add(self, part: Part, effects: dict[str, PartEffects], has_mate: BoolArray) -> None:
        control = effects.pop("matched", None)
        of_edit = list(effects.values())
        rows = part.scored
        self.clean[rows] = of_edit[0].clean
        for kind in ("total", "direct"):
            known = [getattr(one, kind) for one in of_edit]
            if known[0] is None:
                continue
            self.of[kind][:, rows] = np.mean(known, axis=0)
            if control is not None:
                matched = np.where(has_mate, getattr(control, kind), self.of[kind][:, rows])
                self.of["matched" if kind == "total" else "matched_direct"][:, rows] = matched
        if control is not None:
            self.paired[np.flatnonzero(rows)[has_mate]] = True

    def leave_out(self, part: Part, rows: BoolArray) -> None:
        """Rows (n,) of a part that were not edited, for want of a value."""
        left_out = np.flatnonzero(part.scored)[rows]
        for values in self.of.values():
            values[:, left_out] = np.nan
        self.kept[left_out] = False

    def finish(self, heads: Sequence[Head]) -> RowEffects:
        known = {name: None if np.isnan(of).all() else of for name, of in self.of.items()}
        return RowEffects(
            tuple(heads),
            self.of["total"],
            self.clean,
            known["direct"],
            known["matched"],
            known["matched_direct"],
            self.paired if self.paired.any() else None,
            self.kept,
        )


@dataclass(frozen=True)
class PartEffects:
    """Clean minus edited, of the rows of a part."""

    total: Array
    """(H, n)"""
    clean: Array
    """(n,)"""
    direct: Array | None
    """(H, n)"""


def effects_of(scored: ScoredTexts, values: HeadValues, behaviour: Behaviour) -> PartEffects:
    """Clean minus edited of each row, total and direct."""
    clean = row_values(scored, values.clean[None], behaviour.measure)  # (1, n)
    total = clean - row_values(scored, values.edited, behaviour.measure)  # (H, n)
    direct = None
    if values.direct is not None and values.direct_clean is not None:
        of_end = row_values(scored, values.direct_clean[None], behaviour.measure)
        direct = (of_end - row_values(scored, values.direct, behaviour.measure)).numpy()
    return PartEffects(total.numpy(), clean[0].numpy(), direct)


def training_means(editor: Editor, train: ScoredTexts, places: Places) -> Constant:
    """The mean output of every head over the edited tokens of training texts."""
    means = Means(editor.handle.kind, editor.all_sites, places)
    plan = BatchPlan(train.alignment, editor.tokens_per_batch)
    run_passes(editor.handle, editor.body, plan, means, label=editor.label("training means"))
    return Constant(editor.handle.kind, places, means.finish())


def _edits(
    editor: Editor,
    config: AblationConfig,
    train: ScoredTexts,
    scored: ScoredTexts,
    plan: BatchPlan,
    places: Places,
    seed: int,
    references: References | None,
) -> dict[str, Replacement]:
    if config.kind == "zero":
        return {"zero": Constant(editor.handle.kind, places)}
    if config.kind == "mean":
        return {"mean": training_means(editor, train, places)}
    if config.kind == "mean_position":
        if references is None:
            raise UserError(
                "ablation.kind=mean_position: this corpus cannot make other texts of the same "
                "templates",
                allowed="generated corpora (ioi, facts, ...), whose seed gives others",
                fix="ablation.kind=mean",
            )
        means = references.means(editor, places, plan, references.templates_of(scored))
        require_templates(means, len(references.texts))
        return {"mean_position": means}
    edits: dict[str, Replacement] = {}
    for draw in range(config.draws):
        partners = draw_partners(scored, train, seed=seed + 1000 * (draw + 1))
        alone = int((partners < 0).sum())
        if alone:
            raise UserError(
                f"ablation.kind=resample: {alone} of {len(partners)} texts are longer than every "
                "training text, so there is nothing to put in their place",
                fix="ablation.kind=mean",
            )
        edits[f"resample {draw}"] = _from(editor, train, partners, plan, places)
    return edits


@dataclass(frozen=True)
class References:
    """Texts of another seed, none of which is in the corpus, and the corpus."""

    corpus: Corpus
    other: Corpus
    texts: ScoredTexts
    """Of ``other``."""

    def templates_of(self, scored: ScoredTexts) -> list[Template]:
        """Of texts of the corpus."""
        return templates_of(self.corpus, scored)

    def means(
        self, editor: Editor, places: Places, plan: BatchPlan, templates: Sequence[Template]
    ) -> MeansByPosition:
        """The replacement for the sequences of a plan, of these templates."""
        reference = BatchPlan(self.texts.alignment, editor.tokens_per_batch)
        kind, own = editor.handle.kind, templates_of(self.other, self.texts)
        sums = PositionSums(kind, editor.all_sites, own, reference.order)
        run_passes(
            editor.handle, editor.body, reference, sums, label=editor.label("means by position")
        )
        return MeansByPosition(kind, places, sums, templates, plan.order)


def _from(
    editor: Editor,
    pool: ScoredTexts,
    partners: npt.NDArray[np.int64],
    plan: BatchPlan,
    places: Places,
) -> FromOtherTexts:
    return FromOtherTexts(
        editor.body, editor.handle.kind, editor.all_sites, places, sequences_of(pool), partners,
        plan.order,
    )  # fmt: skip


def _enough(has_mate: BoolArray, behaviour: Behaviour, part: Part) -> bool:
    reported = behaviour.reported[part.scored]
    return bool(reported.any()) and float(has_mate[reported].mean()) >= MATCHED_SHARE
