"""The ground truth: attention, ablation and probes name the same heads of an induction model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.known_heads import Role, roles
from benchmarks.known_heads_measures import Ablation, opened
from probes.config import ModelConfig, SimplifiedConfig
from probes.simplified.store import about, resolve
from tests.simplified.conftest import SILENT

SMALL = {"symbols": 16, "cycle": 8, "length": 40, "vocabulary": "invented"}
"""To this model any words are tokens; with others it is another one, as with another seed."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(cache: Path) -> ModelConfig:
    """Two layers of four heads on sequences over random cycles, to 98% of the answers."""
    config = SimplifiedConfig(options=SMALL, steps=600, target=0.98, context=64, checkpoints=[0])
    settings = resolve(
        ModelConfig(name="simplified", device="cpu", simplified=config), cache, SILENT
    )
    assert about(settings.name)["accuracy"] >= 0.98
    return settings


@pytest.mark.slow
def test_three_methods_agree(trained: ModelConfig, cache: Path) -> None:
    previous, induction = roles(trained, cache, prompts=64, texts=600)
    assert previous.heads and {layer for layer, _ in previous.heads} == {0}
    assert induction.heads and {layer for layer, _ in induction.heads} == {1}
    for role in (previous, induction):
        # The heads that matter most are the same for all; those at the margin may differ.
        best = {max(scores, key=lambda head: scores[head]) for scores in role.methods.values()}
        assert best <= set(role.heads)
        assert all(len(role.named_by(m) - set(role.heads)) <= 1 for m in role.methods)
        assert min(role.rank_correlation().values()) > 0.5
        assert role.ablated["none"] > 0.95 and role.ablated["all"] < 0.5


@pytest.mark.slow
def test_effects_add_up(trained: ModelConfig) -> None:
    """Shapley values of a layer sum to what ablating the whole layer costs."""
    one = opened(trained, count=16)
    ablation = Ablation(one)
    effects = ablation.direct_effect()
    for layer in (0, 1):
        heads = one.in_layer(layer)
        cost = ablation.accuracy([], direct=True) - ablation.accuracy(heads, direct=True)
        assert sum(effects[head] for head in heads) == pytest.approx(cost, abs=1e-9)
    assert ablation.accuracy([]) == ablation.accuracy([], direct=True)
    with torch.no_grad():
        hidden = one.model(one.examples.ids).logits
    wanted = one.examples.targets >= 0
    said = hidden[wanted].argmax(-1)
    clean = (said == one.examples.targets[wanted]).float().mean()
    assert ablation.accuracy([]) == pytest.approx(float(clean))


def test_what_a_method_names() -> None:
    strong = {(0, 0): 0.9, (0, 1): 0.2, (1, 0): 0.01, (1, 1): 0.02}
    weak = {(0, 0): 0.5, (0, 1): 0.01, (1, 0): 0.02, (1, 1): 0.0}
    role = Role("r", {"attention": strong, "ablation": weak, "probe": strong}, {})
    assert role.named_by("attention") == {(0, 0), (0, 1)} and role.named_by("ablation") == {(0, 0)}
    assert role.heads == [(0, 0)] and not role.agree
    assert role.rank_correlation()["attention-probe"] == pytest.approx(1.0)
    assert role.line()["by_ablation"][0] == [[0, 0], 0.5]
