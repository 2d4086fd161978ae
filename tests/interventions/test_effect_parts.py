"""Effects that are kept part by part: nothing is measured twice, and parts are the whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from probes.interventions.direct_readout import DirectReadout
from probes.interventions.directions import Push
from probes.interventions.effect_parts import EffectPart, NotKept
from probes.interventions.exact import ExactEffects, HeadValues
from probes.interventions.measures import MEASURES
from probes.interventions.readout import LogitReadout
from probes.interventions.replacements import Constant, Places
from probes.interventions.scored_texts import ScoredTexts, alignment_of
from probes.interventions.steering import SteeredTokens, Steerer
from probes.models.language_model import body_of
from probes.models.residual_search import find_residual_stream
from probes.models.restart import Restart
from probes.models.sites import Site, find_sites
from probes.passes.batches import BatchPlan
from tests.tiny_families import VOCABULARY
from tests.tiny_models import build_with_head, sequences

LENGTHS = (7, 12, 4, 9, 5)


class Killed(Exception):
    pass


class Kept(NotKept):
    """In memory; dies after so many parts, and measures those of some layers only."""

    def __init__(self, alive: int = 1000, layers: tuple[int, ...] = (0, 1)) -> None:
        self.of: dict[EffectPart, Mapping[str, Tensor]] = {}
        self.alive, self.layers = alive, layers

    def load(self, part: EffectPart) -> Mapping[str, Tensor] | None:
        return self.of.get(part)

    def save(self, part: EffectPart, values: Mapping[str, Tensor]) -> None:
        if len(self.of) == self.alive:
            raise Killed
        assert part not in self.of, "measured twice"
        self.of[part] = {name: of.clone() for name, of in values.items()}

    def is_own(self, part: EffectPart) -> bool:
        return part.layer in self.layers


class Setting:
    """A tiny model and texts of which two are in no batch together."""

    def __init__(self) -> None:
        self.model = build_with_head("llama_gqa", torch.float32)
        self.body = body_of(self.model)
        self.sites = find_sites(self.body)
        count = len(LENGTHS)
        self.texts = ScoredTexts(
            alignment_of(
                [t.tolist() for t in sequences(LENGTHS)],
                range(count),
                [(number, length - 1) for number, length in enumerate(LENGTHS)],
            ),
            part=np.arange(count),
            row=np.arange(count),
            bad=np.zeros(count, dtype=bool),
            example=np.arange(count),
            targets=np.arange(count) + 3,
            others=np.arange(count) + 4,
            bounds=np.arange(count + 1),
        )
        self.plan = BatchPlan(self.texts.alignment, 12)
        self.readout = LogitReadout(
            self.model, "decoder", self.texts, MEASURES["logit_difference"], VOCABULARY
        )

    def exact(self, parts: NotKept) -> dict[str, HeadValues]:
        stream = find_residual_stream(self.model)
        heads: list[tuple[Site, int | None]] = [
            (site, head) for site in self.sites for head in (*range(site.units), None)
        ]
        exact = ExactEffects(
            Restart(self.body, "decoder"), self.readout, heads, tokens_at_once=40, parts=parts,
            direct=DirectReadout(stream, self.body, "decoder", self.readout),
        )  # fmt: skip
        torch.manual_seed(0)
        means = {site: torch.randn(site.units, site.width) for site in self.sites}
        edits = {
            "zero": Constant("decoder", Places()),
            "mean": Constant("decoder", Places(), means),
        }
        return exact.run(self.plan, edits, named=EffectPart("ablation", "f"))

    def steered(self, parts: NotKept) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        pushes = [Push(site, 1, torch.randn(site.width)) for site in self.sites]
        sets = [[push.times(s) for push in of] for of in (pushes, pushes[1:]) for s in (-2, 0, 3)]
        steerer = Steerer(
            Restart(self.body, "decoder"), "decoder", self.sites, tokens_at_once=24, parts=parts
        )
        tokens = SteeredTokens(self.texts, "last")
        return steerer.run(self.plan, self.readout, tokens, sets, named=EffectPart("steering", "f"))


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting()


def same(made: dict[str, HeadValues], expected: dict[str, HeadValues]) -> None:
    for name in ("zero", "mean"):
        for field in ("clean", "edited", "direct_clean", "direct"):
            ours, theirs = getattr(made[name], field), getattr(expected[name], field)
            assert not torch.isnan(theirs).any()
            assert torch.equal(ours, theirs), (name, field)


@pytest.mark.parametrize("alive", [0, 1, 3, 4, 9])
def test_exact_effects_go_on_where_they_were_stopped(setting: Setting, alive: int) -> None:
    kept = Kept(alive)
    with pytest.raises(Killed):
        setting.exact(kept)
    assert len(kept.of) == alive
    kept.alive = 1000
    same(setting.exact(kept), setting.exact(NotKept()))


def test_what_is_kept_takes_no_pass(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    whole, steered = setting.exact(kept), setting.steered(kept)

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a pass was run")

    monkeypatch.setattr(LogitReadout, "__call__", refuse)
    same(setting.exact(kept), whole)
    for ours, theirs in zip(setting.steered(kept), steered, strict=True):
        assert torch.equal(ours, theirs)


def test_layers_of_several_processes_are_the_whole(setting: Setting) -> None:
    first, second = Kept(layers=(0,)), Kept(layers=(1,))
    half = setting.exact(first)["mean"].edited
    of_first = torch.tensor([site.layer == 0 for site in setting.sites for _ in range(5)])
    assert torch.isnan(half[~of_first]).all() and not torch.isnan(half[of_first]).any()
    setting.exact(second)
    joined = Kept(layers=())
    joined.of = first.of | second.of
    assert not first.of.keys() & second.of.keys()
    same(setting.exact(joined), setting.exact(NotKept()))


@pytest.mark.parametrize("alive", [0, 1, 5])
def test_steering_goes_on_where_it_was_stopped(setting: Setting, alive: int) -> None:
    kept = Kept(alive)
    with pytest.raises(Killed):
        setting.steered(kept)
    kept.alive = 1000
    for ours, theirs in zip(setting.steered(kept), setting.steered(NotKept()), strict=True):
        assert torch.equal(ours, theirs)
