"""Simplified models on disk: trained once, resumed exactly, opened like any checkpoint."""

from __future__ import annotations

import csv
import logging
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from probes.config import ModelConfig
from probes.config.group_checks import SITE_KINDS
from probes.core.errors import UserError
from probes.models.loading import open_model
from probes.models.sites import find_sites
from probes.models.verification import verify_sites
from probes.simplified import store, training
from probes.simplified.architecture import build_model
from probes.simplified.store import about, resolve, training_curve
from probes.simplified.training import SimplifiedModule
from tests.simplified.conftest import SILENT, WORDS, model


def weights(directory: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(directory) / "model.safetensors")


def same(first: str | Path, second: str | Path) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_trained_once_and_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve(model(), tmp_path, SILENT)
    monkeypatch.setattr(store, "train", lambda *args, **options: pytest.fail("trained again"))
    assert resolve(model(), tmp_path, SILENT) == first
    assert resolve(first, tmp_path, SILENT) == first  # what was resolved stays so
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        resolve(model(seed=1), tmp_path, SILENT)


def test_what_lies_beside_the_checkpoint(tmp_path: Path) -> None:
    directory = Path(resolve(model(), tmp_path, SILENT).name)
    with (directory / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 5, 10, 12]
    assert (directory / "training.png").stat().st_size > 0
    facts = about(directory)
    assert facts["steps"] == 12 and facts["words"] == len(WORDS) + 3  # , then ?
    assert facts["accuracy"] == float(rows[-1]["accuracy"])
    assert not list(tmp_path.glob("**/*.partial")) and not list(directory.glob("state*"))


def test_the_curve_for_loggers(tmp_path: Path) -> None:
    settings = resolve(model(), tmp_path, SILENT)
    curve = training_curve(settings, tmp_path)
    assert [point["step"] for point in curve] == [0, 5, 10, 12]
    assert {"step", "loss", "accuracy", "seconds"} == set(curve[0])
    checkpoint = resolve(replace(model(), checkpoint=6), tmp_path, SILENT)
    assert training_curve(checkpoint, tmp_path) == curve
    assert training_curve(ModelConfig(), tmp_path) == []


@pytest.mark.parametrize("architecture", ["llama", "smollm3", "gpt2", "gpt_neox"])
def test_initial_weights_have_the_spread_that_was_asked_for(architecture: str) -> None:
    shape = {"architecture": architecture, "width": 64, "mlp": 128}
    config = model(**shape, spread=0.1).simplified
    assert config is not None
    embedding = build_model(config, 500).get_input_embeddings().weight
    assert embedding[1:].std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("architecture", "mlp"),
    [("llama", 0), ("llama", 24), ("smollm3", 0), ("gpt2", 24), ("gpt_neox", 0)],
)
def test_the_normal_loading_path_opens_it(tmp_path: Path, architecture: str, mlp: int) -> None:
    settings = resolve(model(architecture=architecture, mlp=mlp, steps=1, checkpoints=[0]),
                       tmp_path, SILENT)  # fmt: skip
    handle = open_model(settings)
    assert handle.kind == "decoder" and handle.context == 32
    body = handle.load()
    for kind in SITE_KINDS:
        sites = find_sites(body, kind)
        verify_sites(body, sites)
        assert [(site.units, site.width) for site in sites] == [
            (2, 8) if kind == "heads" else (1, 16)
        ]
    (encoding,) = handle.encode(["word0, then?"])
    assert [handle.tokenizer.decode([token]) for token in encoding.ids] == [
        "<s>", "word0", ",", "then", "?",
    ]  # fmt: skip
    assert encoding.offsets[1:] == [(0, 5), (5, 6), (7, 11), (11, 12)]
    with pytest.raises(UserError, match=r"2 words are not among the 11 .*: Who, knows.*=TASK"):
        handle.require_words(["word0 ?", "Who knows?"])
    handle.require_words(["word0, then?"])
    fresh = open_model(replace(settings, random_init=True))
    assert fresh.fingerprint != handle.fingerprint
    fresh.load()


@pytest.mark.parametrize("window", [0, 2])
def test_a_window_is_how_far_the_first_layer_reads(window: int) -> None:
    config = model(architecture="smollm3", layers=2, window=window).simplified
    assert config is not None
    body = build_model(config, 10).base_model
    ids = torch.tensor([[3, 4, 5, 6, 7], [8, 4, 5, 6, 7]])
    _, first, second = body(ids, output_hidden_states=True).hidden_states
    reached = (first[0] != first[1]).any(-1).tolist()
    assert reached == [position < (window or 5) for position in range(5)]
    assert (second[0] != second[1]).any(-1).all()


def test_interrupted_training_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = resolve(model(), tmp_path / "a", SILENT).name
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    step = SimplifiedModule.training_step
    done: list[int] = []

    def interrupted(
        self: SimplifiedModule, batch: tuple[torch.Tensor, torch.Tensor], index: int
    ) -> torch.Tensor:
        if self.step in (4, 8) and self.step not in done:
            done.append(self.step)
            raise RuntimeError("killed")
        return step(self, batch, index)

    monkeypatch.setattr(SimplifiedModule, "training_step", interrupted)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            resolve(model(), tmp_path / "b", SILENT)
        assert not [p for p in (tmp_path / "b/simplified").iterdir() if p.is_dir()
                    and p.suffix != ".partial"]  # fmt: skip
    calls = len(done)
    resumed = resolve(model(), tmp_path / "b", SILENT).name
    assert calls == len(done) == 2
    assert same(undisturbed, resumed)
    assert same(Path(undisturbed) / "steps/6", Path(resumed) / "steps/6")
    curves = [(Path(d) / "training.csv").read_text() for d in (undisturbed, resumed)]
    strip = [[line.rpartition(",")[0] for line in curve.splitlines()] for curve in curves]
    assert strip[0] == strip[1]  # all but the seconds


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped"])
def test_a_damaged_state_is_begun_anew_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    undisturbed = resolve(model(), tmp_path / "a", SILENT).name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "SAVE_SECONDS", 0.0)
        step = SimplifiedModule.training_step

        def interrupted(self: SimplifiedModule, batch: Any, index: int) -> torch.Tensor:
            if self.step == 4:
                raise RuntimeError("killed")
            return step(self, batch, index)

        patch.setattr(SimplifiedModule, "training_step", interrupted)
        with pytest.raises(RuntimeError, match="killed"):
            resolve(model(), tmp_path / "b", SILENT)
    (state,) = (tmp_path / "b").rglob("state.safetensors")
    content = bytearray(state.read_bytes())
    content[-3] ^= 1
    whole = {"empty": b"", "cut": bytes(content[:-9]), "flipped": bytes(content)}
    state.write_bytes(whole[damage])
    with caplog.at_level(logging.WARNING, logger="probes"):
        again = resolve(model(), tmp_path / "b", SILENT).name
    assert "training begins anew" in caplog.text
    assert same(undisturbed, again)


def test_checkpoints_of_the_training(tmp_path: Path) -> None:
    settings = model()
    assert settings.simplified is not None
    last = resolve(settings, tmp_path, SILENT).name
    at = {step: resolve(replace(settings, checkpoint=step), tmp_path, SILENT).name
          for step in (0, 6, 12)}  # fmt: skip
    assert at[12] == last and not same(at[0], at[6]) and not same(at[6], last)
    untrained = build_model(settings.simplified, len(open_model(
        resolve(settings, tmp_path, SILENT)).tokenizer)).state_dict()  # fmt: skip
    assert all(torch.equal(value, untrained[name]) for name, value in weights(at[0]).items())
    with pytest.raises(UserError, match=r"model\.checkpoint=7: .*allowed: 0, 6, 12\..*=6, or"):
        resolve(replace(settings, checkpoint=7), tmp_path, SILENT)


def test_only_simplified_models_have_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.checkpoint=7: only simplified models"):
        resolve(ModelConfig(checkpoint=7), tmp_path)
    assert resolve(ModelConfig(), tmp_path) == ModelConfig()


def test_it_stops_at_the_target(tmp_path: Path) -> None:
    settings = model(target=0.9, steps=3000, evaluate_every=20, learning_rate=0.01, width=32)
    facts = about(resolve(settings, tmp_path, SILENT).name)
    assert facts["accuracy"] >= 0.9 and facts["steps"] < 3000


def _train_in_a_process(cache: Path) -> None:
    torch.set_num_threads(1)
    resolve(model(), cache, SILENT)


def test_two_processes_train_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_train_in_a_process, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len([path for path in (tmp_path / "simplified").iterdir() if path.is_dir()]) == 1


def test_a_short_training_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    resolve(model(target=1.0, steps=1, checkpoints=[]), tmp_path, SILENT)
    assert "Try model.simplified.steps=2" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "coppy"}, r"no such generated task"),
        ({"options": {"lenght": 3}}, r"no such option.*length=5"),
        ({"options": {"silent": True}}, r"has no answers to train on"),
        ({"options": {"rare": True}}, r"1 words are not among the .*: rare\d+"),
        ({"architecture": "lama"}, r"architecture=lama; allowed: llama, .*=llama"),
        ({"heads": 3}, r"width=16 cannot be shared by 3 heads.*Try model\.simplified\.width=18"),
        ({"width": 18}, r"each an even number of units wide.*Try model\.simplified\.width=20"),
        ({"architecture": "gpt2"}, r"mlp=0: gpt2 needs its feed-forward"),
        ({"context": 8}, r"context=8: a prompt of 'copy' has 9 tokens.*context=9"),
        ({"steps": 0}, r"steps=0"),
        ({"checkpoints": [13]}, r"checkpoints: 13 is no step.*0 to 12"),
        ({"target": 1.5}, r"target=1\.5"),
        ({"window": 4}, r"window=4 .*architecture=llama; .*architecture=smollm3"),
        ({"architecture": "smollm3", "window": -1}, r"window=-1 .*Try model\.simplified\.window=0"),
        ({"spread": 0.0}, r"spread=0\.0; allowed: above 0"),
    ],
)
def test_mistakes(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(model(**changes), tmp_path, SILENT)
    if "options" not in changes:
        assert not [path for path in tmp_path.glob("simplified/*") if path.is_dir()]
