"""The ground truth: attention, ablation and probes name the same heads of an induction model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.known_heads import SHARE, Role, roles
from benchmarks.known_heads_effects import effects_run, lines_of, said
from benchmarks.known_heads_measures import Ablation, opened
from probes.config import ModelConfig, SimplifiedConfig
from probes.simplified.store import about, resolve
from tests.simplified.conftest import SILENT

SMALL = {"symbols": 16, "cycle": 8, "length": 40, "vocabulary": "invented"}
"""To this model any words are tokens; with others it is another one, as with another seed."""
MODEL = ModelConfig(
    name="simplified",
    device="cpu",
    simplified=SimplifiedConfig(options=SMALL, steps=600, target=0.98, context=64, checkpoints=[0]),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(cache: Path) -> ModelConfig:
    """Two layers of four heads on sequences over random cycles, to 98% of the answers."""
    settings = resolve(MODEL, cache, SILENT)
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
def test_which_methods_name_the_induction_heads(
    trained: ModelConfig, cache: Path, tmp_path: Path
) -> None:
    """Single ablations cannot by accuracy, which the page says; what heads write names them."""
    ablation = Ablation(opened(trained, count=64)).direct_effect()
    best = max(ablation.values())
    heads = [head for head, value in ablation.items() if value >= SHARE * best]
    assert {layer for layer, _ in heads} == {1}
    role = Role("induction", {"ablation": ablation}, {})
    assert role.heads == heads
    of_accuracy = effects_run(MODEL, "accuracy", cache, tmp_path / "accuracy")
    total = next(line for line in lines_of(of_accuracy, role) if line["effect"] == "total")
    single = [abs(value) for layer, _, value in total["values"] if layer == 1]
    assert max(single) < 0.15 and total["together"] > 0.7
    assert any("layer 1" in sentence for sentence in said(of_accuracy))
    page = (tmp_path / "accuracy" / "report.html").read_text()
    assert "these heads stand in for each other" in page
    of_logits = effects_run(MODEL, "logit_difference", cache, tmp_path / "logits")
    lines = {line["method"]: line for line in lines_of(of_logits, role)}
    for method in (
        "denoising patching, total effect",
        "direct logit attribution",
        "attribution of denoising patching",
    ):
        line = lines[method]
        assert (line["found"], line["others"]) == (len(heads), []), method
        assert line["rank_correlation"] > 0.5, method


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
