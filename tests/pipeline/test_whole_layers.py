"""Probes of whole layers: every layer of a shallow model, a sample of a deep one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from probes.analysis.runs import Run
from probes.config import BaselineConfig, RunConfig
from probes.config.checks import check
from probes.core.errors import UserError
from probes.pipeline import whole_layers
from probes.pipeline.whole_layers import MOST, sampled_layers
from probes.results.evidence import load_evidence
from tests.pipeline.deep_runs import LAYERS, deep_run, layers_of, rows_of, write_deep_model


@pytest.mark.parametrize("depth", [13, 14, 17, 24, 30, 32, 80, 126])
def test_a_sample_of_a_deep_stream_is_even_and_has_both_ends(depth: int) -> None:
    numbers = [3 * layer + 2 for layer in range(depth)]  # a hybrid's, which skips numbers
    layers = [("decoder", number) for number in numbers]
    shallow = [("encoder", layer) for layer in range(MOST)]
    sample = sampled_layers("auto", shallow + layers)
    assert sample is not None
    assert sample >= set(shallow)
    positions = sorted(numbers.index(layer) for stream, layer in sample if stream == "decoder")
    assert len(positions) == MOST
    assert (positions[0], positions[-1]) == (0, depth - 1)
    steps = np.diff(positions)
    assert steps.max() - steps.min() <= 1


def test_every_layer_is_taken_of_a_shallow_model_and_where_all_are_asked_for() -> None:
    layers = [("decoder", layer) for layer in range(MOST)]
    assert sampled_layers("auto", layers) is None
    assert sampled_layers("all", [*layers, ("decoder", MOST)]) is None


def test_true_and_false_are_read_as_auto_and_none() -> None:
    for value in (True, "True", "true"):
        assert BaselineConfig(residual=value).residual == "auto"  # type: ignore[arg-type]
    for value in (False, "False", "false"):
        assert BaselineConfig(all_heads=value).all_heads == "none"  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"baseline.residual=some.*auto, all, none"):
        check(RunConfig(baseline=BaselineConfig(residual="some")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Of one deep model: with the default, and with every layer."""
    folder = tmp_path_factory.mktemp("deep")
    write_deep_model(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_layers, "MOST", 2)
        auto = deep_run(folder, "auto", BaselineConfig())
    return auto, deep_run(folder, "all", BaselineConfig(all_heads="all", residual="all"))


@pytest.mark.parametrize("site", ["all_heads", "residual"])
def test_the_best_heads_layers_join_the_sample(runs: tuple[Run, Run], site: str) -> None:
    auto, every = runs
    for feature in ("upos", "number"):
        best = int(auto.top(feature, 1)["layer"].iloc[0])
        assert layers_of(auto, site, feature) == {0, best, LAYERS - 1}
        assert 0 < best < LAYERS - 1
        assert layers_of(every, site, feature) == set(range(LAYERS))


def test_what_is_fitted_is_what_every_layer_gives(runs: tuple[Run, Run]) -> None:
    """Rows, their order, probes and evidence: those of ``all``, without the layers left out."""
    auto, every = runs
    sites = {"heads", "all_heads", "residual"}
    some, whole = rows_of(auto, sites), rows_of(every, sites)
    keys = ["feature", "site", "layer", "head", "split", "metric"]
    kept = whole.set_index(keys).index.isin(some.set_index(keys).index)
    # A head's gain over a layer that was left out is missing.
    pd.testing.assert_frame_equal(some, whole[kept].reset_index(drop=True))
    for site in ("all_heads", "residual"):
        for feature in ("upos", "number"):
            for layer in layers_of(auto, site, feature):
                mine = auto.probe(feature, layer, site=site)
                theirs = every.probe(feature, layer, site=site)
                np.testing.assert_array_equal(mine.coef_, theirs.coef_)
    for evidence in load_evidence(auto.directory / "evidence.safetensors"):
        layers = [layer for _, layer, _ in evidence.keys]
        assert layers == sorted(layers)


def test_the_page_says_which_layers_were_left_out(runs: tuple[Run, Run]) -> None:
    auto, every = runs
    said = f"of {LAYERS} layers: an even sample"
    assert (auto.directory / "report.html").read_text().count(said) == 2
    assert said not in (every.directory / "report.html").read_text()
