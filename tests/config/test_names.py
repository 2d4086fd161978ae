"""Directories of atlases, corpus configs by name, and what the experiment composes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from probes.catalogue.corpora import corpus_config
from probes.cli.job import parse
from probes.config import AtlasConfig, GeneratedConfig, GrammarConfig, register
from probes.config.files import config_dir
from probes.config.names import model_slug, slug
from probes.core.errors import UserError
from tests.catalogue.entries import entry_named


def composed(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


@pytest.mark.parametrize(
    "name", ["/data/gpt2", "../../etc", "a/b/c", "..", "x\ny", "<b>", "C:\\x", "ü" * 300, ""]
)
def test_a_name_never_leaves_its_directory(name: str) -> None:
    made = model_slug({"name": name})
    assert Path(made).name == made and not made.startswith((".", "-"))
    assert made.isascii() and len(made) < 100


def test_different_models_have_different_directories() -> None:
    small = {"task": "induction", "layers": 2}
    models: list[dict[str, Any]] = [
        {"name": "/a/gpt2"}, {"name": "/b/gpt2"}, {"name": "/a/gpt2", "revision": "x"},
        {"name": "/a/gpt2", "random_init": True}, {"name": "s", "simplified": small},
        {"name": "/a/gpt2", "chat": "user"},
        {"name": "s", "simplified": small | {"layers": 3}},
        {"name": "s", "simplified": small, "checkpoint": 0},
    ]  # fmt: skip
    assert len({model_slug(model) for model in models}) == len(models)
    assert model_slug(models[0]) == model_slug(models[0] | {"device": "cpu", "revision": None})
    assert model_slug(models[0]) == model_slug(models[0] | {"chat": "none"})
    assert model_slug(models[0]) == model_slug(OmegaConf.create(models[0]))
    assert slug("corpus-hold_out-template") == "corpus-hold_out-template"


def test_the_experiment_has_a_directory_for_each_model() -> None:
    cfg = composed("experiment=atlas", "model=hf", "model.name=/x/../../y/gpt2")
    directory = Path(cfg.hydra.run.dir)
    assert directory.parent == Path("outputs/atlas") and directory.name.startswith("gpt2-")
    assert cfg.hydra.sweep.subdir == directory.name and cfg.hydra.sweep.dir == "outputs/atlas"
    del cfg.hydra
    assert parse(cfg).atlas == AtlasConfig()


def test_other_runs_have_no_atlas_and_their_own_directory() -> None:
    cfg = composed("hydra.job.num=3")
    assert cfg.atlas is None and cfg.hydra.run.dir.startswith("outputs/2")
    assert cfg.hydra.sweep.dir.startswith("outputs/sweeps/")


def test_corpora_by_name_are_what_hydra_composes() -> None:
    for name in ("mover", "subword_merge", "syntactic"):
        entry = entry_named(name)
        cfg = composed(*[o for o in entry.overrides if o.startswith("corpus")])
        assert corpus_config(entry.corpus, entry.options) == OmegaConf.to_object(cfg.corpus)


def test_options_and_examples_of_a_corpus_by_name() -> None:
    facts = corpus_config("facts", {"hold_out": "template"}, examples=7)
    assert isinstance(facts, GeneratedConfig)
    assert facts.examples == 7 and facts.options["hold_out"] == "template"
    grammar = corpus_config("grammar", examples=9)
    assert isinstance(grammar, GrammarConfig) and grammar.sentences == 9


def test_an_unknown_corpus_is_named() -> None:
    with pytest.raises(UserError, match=r"corpus=fcats: no such corpus.*Try corpus=facts"):
        corpus_config("fcats")
    with pytest.raises(UserError, match="no such corpus"):
        corpus_config("../model/hf")
