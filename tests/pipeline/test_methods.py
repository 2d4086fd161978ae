"""Runs of the methods beside probes, from a checkpoint to the page and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probes import load_run
from probes.config import (
    EvaluationConfig,
    GeneratedConfig,
    GrammarConfig,
    ModelConfig,
    RunConfig,
    TrainerConfig,
)
from probes.config.checks import check
from probes.config.methods import AblationConfig
from probes.core.errors import UserError
from probes.evaluation.unexplained_layers import UnexplainedLayer
from probes.pipeline import method_maps
from probes.pipeline.run import run
from probes.reporting.tracking.run_numbers import run_numbers
from probes.results.table import pick
from probes.statistics.maps import MapEvidence
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint
from tests.tiny_families import FAMILIES
from tests.tiny_models import build_with_head

SHAPES = {"llama_gqa", "bert"}
"""A decoder and an encoder; the other families are with what takes minutes."""


@pytest.fixture(scope="module")
def talking_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory, tokenizer = tmp_path_factory.mktemp("talking"), make_tokenizer()
    model = build_with_head(
        "llama_gqa", torch.float32, vocab_size=len(tokenizer), max_position_embeddings=256
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def settings(model: Path, folder: Path, **options: Any) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name=str(model)),
        evaluation=EvaluationConfig(bootstrap=20),
        trainer=TrainerConfig(progress=False),
        cache_dir=str(folder / "cache"),
        **options,
    )


def ioi(model: Path, folder: Path, **options: Any) -> RunConfig:
    corpus = GeneratedConfig(name="ioi", examples=40)
    return settings(
        model, folder, corpus=corpus, features=["indirect_object"], min_count=1, **options
    )


def test_all_methods_of_a_decoder(
    talking_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = ["probe", "ablation", "patching", "attribution", "direct_logit"]
    run(ioi(talking_directory, tmp_path, methods=methods), tmp_path)
    made = load_run(tmp_path)
    for method in methods[1:]:
        rows = pick(made.results, method=method, site="heads", split="test")
        assert len(rows) >= 8 and np.isfinite(rows["value"]).all(), method
        assert made.map("indirect_object", method=method).shape == (2, 4)
    effects = set(pick(made.results, method="ablation")["effect"])
    assert effects == {"total", "direct"}
    assert {"heads", "all_heads", "mlp_output"} == set(
        pick(made.results, method="ablation")["site"]
    )
    assert made.record.timings["effects_seconds"] > 0
    page = (tmp_path / "report.html").read_text()
    assert "ablation" in page and "agreement" in page.lower()
    estimates = {quality.key: quality for quality in made.record.estimates}
    assert set(estimates) == {
        "attribution/mean/ablation/mean", "attribution/denoise/patching/denoise"
    }  # fmt: skip
    pairs = made.agreement("indirect_object").set_index(["first", "second"])
    for quality in estimates.values():
        between = pairs.loc[[(quality.exact, quality.estimate)]].iloc[0]
        assert between["correlation"] == pytest.approx(quality.value)
        assert quality.heads == 8 and not quality.sampled
        assert quality.low is not None and quality.low <= float(quality.value or 0)
    printed = capsys.readouterr().out
    assert "attribution of mean ablation orders 8 heads as mean ablation" in " ".join(
        printed.split()
    )
    logged = run_numbers(made.results, made.record)
    assert any(name.endswith("ablation/mean/rank_correlation") for name in logged)
    assert page.count("attribution of mean ablation") > 1


def test_without_probes_only_effects_are_there(talking_directory: Path, tmp_path: Path) -> None:
    run(ioi(talking_directory, tmp_path, methods=["ablation"], layers=[1]), tmp_path)
    made = load_run(tmp_path)
    assert set(made.results["method"]) == {"ablation"}
    assert made.map("indirect_object", method="ablation").index.tolist() == [1]
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=() if family in SHAPES else pytest.mark.long)
        for family in FAMILIES
    ],
)
def test_every_family_is_ablated_downstream(family: str, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    config = settings(
        write_checkpoint(tmp_path / "model", family),
        tmp_path,
        corpus=GrammarConfig(sentences=400),
        features=["upos"],
        methods=["ablation"],
        measure="downstream",
    )
    try:
        run(config, run_dir)
    except UserError as error:
        # Random weights of BART leave nothing but the position in the decoder's last layer.
        if family != "bart" or "nothing that a head could feed" not in str(error):
            raise
        return
    rows = pick(load_run(run_dir).results, site="heads", split="test", effect="total")
    expected = {stream: sum(n for n, _ in of) for stream, of in FAMILIES[family].heads.items()}
    assert rows.groupby("stream")["head"].count().to_dict() == expected
    assert rows["value"].abs().max() > 0


def test_some_heads_are_ablated_and_the_others_stood_for(
    talking_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def unexplained(
        chosen: MapEvidence, together: MapEvidence, heads: Any, p: Any, draws: Any, *, level: float
    ) -> list[UnexplainedLayer]:
        asked.append((len(chosen.units), together.site, together.effect, len(heads), len(p)))
        return [UnexplainedLayer(("decoder", 1), 4, 1, 2.0, 0.1)]

    monkeypatch.setattr(method_maps, "unexplained_layers", unexplained)
    config = ioi(
        talking_directory,
        tmp_path,
        methods=["probe", "ablation"],
        ablation=AblationConfig(heads="top:1"),
    )
    run(config, tmp_path)
    results = load_run(tmp_path).results
    ablated = pick(results, method="ablation", site="heads", effect="total", split="test")
    assert 2 <= len(ablated) < 8
    assert asked == [(len(ablated), "all_heads", "total", 8, 2)]
    assert "layers=[1] ablation.heads=all" in " ".join(load_run(tmp_path).record.caveats)
    (quality,) = load_run(tmp_path).record.estimates
    assert quality.sampled and quality.heads == len(ablated)
    # How well it chose is seen in the estimates of all heads.
    assert len(pick(results, method="attribution", split="test")) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["ablate"]}, r"no method 'ablate'.*methods=\[ablation\]"),
        ({"methods": []}, r"nothing would be done"),
        ({"ablation": AblationConfig(heads="best")}, r"ablation\.heads=best.*top:20"),
        ({"ablation": AblationConfig(kind="median")}, r"ablation\.kind=median"),
        ({"methods": ["ablation"], "site": "residual"}, r"it is heads that are edited"),
    ],
)
def test_settings_that_no_method_has(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        check(settings(tmp_path, tmp_path, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["patching"], "measure": "downstream"}, "about what the model says next"),
        ({"methods": ["attribution"], "measure": "accuracy"}, "right or wrong has no gradient"),
        ({"methods": ["direct_logit"], "measure": "loss"}, "parts add up to a difference"),
        ({"methods": ["ablation"], "measure": "sentence_difference"}, "answers .* are words"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_model_runs(
    options: dict[str, Any], message: str, talking_directory: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        run(ioi(talking_directory, tmp_path, **options), tmp_path)
    assert not (tmp_path / "cache").exists()


def test_a_feature_without_answers_of_its_own_is_measured_on_all_answers_of_its_texts(
    talking_directory: Path, tmp_path: Path
) -> None:
    """``attribute`` says which texts; their answers are those of four relations (of a fifth, the
    capital, in texts that have no ``attribute``)."""
    relations = ["continent", "currency", "language", "category"]

    def effects(features: list[str]) -> dict[str, Any]:
        made = tmp_path / features[0]
        made.mkdir()
        config = settings(
            talking_directory, tmp_path, corpus=GeneratedConfig(name="facts", examples=160),
            features=features, min_count=1, methods=["ablation"], layers=[1],
            ablation=AblationConfig(kind="zero", matched=False),
        )  # fmt: skip
        run(config, made)
        loaded = load_run(made)
        names = loaded.features
        tables = {name: loaded.table(name, method="ablation") for name in names}
        assert features[0] != "attribute" or "has no answers of its own" in " ".join(
            loaded.record.caveats
        )
        return {name: loaded.evidence(table) for name, table in tables.items()}

    (pooled,) = (pooled_by_name := effects(["attribute"])).values()
    assert list(pooled_by_name) == ["attribute"]
    by_relation = effects(relations)
    assert set(by_relation) == set(relations)
    assert pooled.rows.sum() == sum(one.rows.sum() for one in by_relation.values())
    np.testing.assert_allclose(
        pooled.totals.sum(axis=1), sum(one.totals.sum(axis=1) for one in by_relation.values()),
        atol=1e-4,
    )  # fmt: skip


def test_features_that_get_no_map_of_effects_are_named(
    talking_directory: Path, tmp_path: Path
) -> None:
    config = settings(
        talking_directory, tmp_path, corpus=GeneratedConfig(name="facts", examples=80),
        features=["attribute", "continent", "relation"], min_count=1, methods=["direct_logit"],
    )  # fmt: skip
    run(config, tmp_path)
    made = load_run(tmp_path)
    assert made.features == list(made.record.tasks) == ["continent"]
    (said,) = (one for one in made.record.caveats if "no map of effects" in one)
    assert said.startswith("attribute, relation: ") and "measured on continent" in said
    assert "features=[attribute] alone: on all answers of its texts together" in said


def test_twins_that_change_nothing_before_the_answer_are_not_patched(
    talking_directory: Path, tmp_path: Path
) -> None:
    """The twins of ``induction`` have another last word: nothing that stands before it changes."""
    options = {"length": 20, "cycle": 6, "symbols": 24, "marked": 2}
    corpus = GeneratedConfig(name="induction", examples=60, options=options)

    def of(methods: list[str]) -> RunConfig:
        config = settings(
            talking_directory, tmp_path, corpus=corpus, features=["next_token", "answer"],
            min_count=1, layers=[1], methods=methods,
        )  # fmt: skip
        config.evaluation.bootstrap = 0  # few twins have as many characters
        return config

    made = tmp_path / "made"
    made.mkdir()
    run(of(["patching", "attribution"]), made)
    results = load_run(made).results
    assert set(pick(results, feature="next_token")["method"]) == {"attribution"}
    assert set(pick(results, feature="next_token")["probe"]) == {"mean"}
    assert set(pick(results, feature="answer")["method"]) == {"patching", "attribution"}
    caveats = load_run(made).record.caveats
    assert any("next_token" in one and "not patched" in one for one in caveats)
    alone = tmp_path / "alone"
    alone.mkdir()
    with pytest.raises(UserError, match="leaves alone up to the last answer"):
        run(of(["patching"]), alone)


def test_a_probe_that_knows_nothing_scores_nothing(talking_directory: Path, tmp_path: Path) -> None:
    """The order of names in a text is not decodable in a random model's last layer."""
    config = ioi(talking_directory, tmp_path, methods=["ablation"], measure="downstream")
    with pytest.raises(UserError, match="nothing that a head could feed"):
        run(config, tmp_path)
