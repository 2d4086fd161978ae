"""Every conf/corpus/*.yaml composes, and the presets read the real files with only a path."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from probes.config import (
    CORPUS_KINDS,
    SCHEMAS,
    CorpusConfig,
    GeneratedConfig,
    SplitConfig,
    register,
)
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TRAIN, VALIDATION
from probes.corpora.generated import names
from probes.corpora.splits import assign_splits
from probes.corpora.tasks import make_task

CONF = Path(__file__).resolve().parents[2] / "conf"
CHOICES = sorted(file.stem for file in (CONF / "corpus").glob("*.yaml"))
PRESETS = {
    "senteval": "senteval_like_ewt",
    "sst": "sst_trec",
    "sst_fine": "sst_trec",
    "trec": "sst_trec",
    "ethos": "ethos",
    "ethos_targets": "ethos",
    "blimp": "blimp",
    "wnut17": "wnut17",
    "truthfulqa": "truthfulqa",
    "relations_lre": "relations_lre",
    "function_vectors": "function_vectors",
    "semeval2010_task8": "semeval2010_task8",
    "known_1000": "known_1000_ioi",
    "ioi_841": "known_1000_ioi",
    "mmlu": "mmlu",
}
GENERATED = names()
KINDS = set(CORPUS_KINDS) - {"generated"}
"""Each generated corpus has a file of its own."""
OF_THE_FILE = {"agenda": {"splits"}, "function_vectors": {"outputs"}}
"""Kind -> keys that are one thing for the class and another in the file of that name."""
HUB = {"sst2", "ag_news", "trivia_qa", "mquake", "logiqa"}
"""Presets of which no real file is here; tests/corpora/test_benchmarks.py reads tiny ones."""


def composed(tmp_path: Path, *overrides: str) -> CorpusConfig:
    """The corpus config that these overrides give, as the library receives it."""
    (tmp_path / "main.yaml").write_text(
        f"hydra:\n  searchpath: [file://{CONF}]\ndefaults: [{{corpus: grammar}}, _self_]\n"
    )
    register()
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        corpus = OmegaConf.to_object(compose("main", overrides=list(overrides)).corpus)
    assert isinstance(corpus, CorpusConfig)
    return corpus


def required(choice: str) -> list[str]:
    """What a choice cannot do without."""
    if choice == "custom":
        return ["corpus._target_=package.module:load"]
    path = [] if choice == "grammar" or choice in GENERATED else ["corpus.path=somewhere"]
    return [*path, *(["corpus.train=x"] if choice == "bio" else [])]


def test_all_kinds_have_a_file() -> None:
    assert SCHEMAS["corpus"] == {name: kind.config for name, kind in CORPUS_KINDS.items()}
    assert set(GENERATED) <= set(CHOICES)
    assert set(CHOICES) - set(GENERATED) == KINDS | set(PRESETS) | HUB


@pytest.mark.parametrize("choice", CHOICES)
def test_it_composes_into_its_dataclass(tmp_path: Path, choice: str) -> None:
    config = composed(tmp_path, f"corpus={choice}", *required(choice))
    assert type(config) in {kind.config for kind in CORPUS_KINDS.values()}
    assert config.name == choice


@pytest.mark.parametrize("choice", sorted(KINDS))
def test_defaults_of_the_files_are_those_of_the_schema(tmp_path: Path, choice: str) -> None:
    config = composed(tmp_path, f"corpus={choice}", *required(choice))
    given = {override.split("=")[0].removeprefix("corpus.") for override in required(choice)}
    fields = dataclasses.fields(config)
    expected = CORPUS_KINDS[choice].config()
    for field in fields:
        if field.name not in given | OF_THE_FILE.get(choice, set()):
            assert getattr(config, field.name) == getattr(expected, field.name), field.name


@pytest.mark.parametrize("choice", GENERATED)
def test_options_of_the_files_are_those_of_the_module(tmp_path: Path, choice: str) -> None:
    config = composed(tmp_path, f"corpus={choice}")
    module = import_module(f"probes.corpora.generated.{choice}")
    assert isinstance(config, GeneratedConfig)
    assert config.options == getattr(module, "DEFAULTS", {})
    assert config.seed == 0 and config.examples >= 1000


@pytest.mark.shared
def test_splits_from_the_command_line(tmp_path: Path, shared: Path) -> None:
    folder = shared / "data" / "ud_german_gsd"
    for splits in ("{train: dev, test: test}", "{train: dev, validation: null, test: test}"):
        config = composed(tmp_path, "corpus=ud", f"corpus.path={folder}", f"corpus.splits={splits}")
        corpus = assign_splits(load_corpus(config), SplitConfig())
        assert (corpus.splits == VALIDATION).sum() > 100


@pytest.mark.shared
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_preset_needs_only_a_path(tmp_path: Path, shared: Path, preset: str) -> None:
    folder = shared / "data" / PRESETS[preset]
    corpus = load_corpus(composed(tmp_path, f"corpus={preset}", f"corpus.path={folder}"))
    corpus = assign_splits(corpus, SplitConfig())
    units = np.arange(len(corpus.units))
    assert corpus.name == preset and corpus.default_features
    for feature in corpus.default_features:
        task = make_task(corpus, feature, units, min_count=10)
        assert len(task.classes) >= 2
        assert all((task.split == part).any() for part in (TRAIN, VALIDATION, TEST))
        held_out = task.texts[task.split != TRAIN]
        assert not np.isin(held_out, task.texts[task.split == TRAIN]).any()


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match=r"corpus=strange.*grammar, .*ud, bio"):
        load_corpus(CorpusConfig(name="strange"))
