"""Every conf/corpus/*.yaml composes, and the presets read the real files with only a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from probes.config import SCHEMAS, CorpusConfig, GrammarConfig, SplitConfig, register
from probes.core.errors import UserError
from probes.corpora import READERS, load_corpus
from probes.corpora.corpus import TEST, TRAIN, VALIDATION
from probes.corpora.generated import TASKS
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
KINDS = set(SCHEMAS["corpus"]) - {"generated"}
"""Each generated task has a file of its own."""
HUB = {"sst2", "ag_news", "trivia_qa", "mquake", "logiqa"}
"""Presets of which no real file is here; tests/corpora/test_benchmarks.py reads tiny ones."""


def composed(tmp_path: Path, *overrides: str) -> CorpusConfig:
    """The corpus config that these overrides give, as the library receives it."""
    (tmp_path / "main.yaml").write_text(
        f"hydra:\n  searchpath: [file://{CONF}]\ndefaults: [{{corpus: grammar}}, _self_]\n"
    )
    register()
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        corpus: Any = OmegaConf.to_object(compose("main", overrides=list(overrides)).corpus)
    return corpus


def test_all_kinds_have_a_file() -> None:
    assert set(SCHEMAS["corpus"].values()) == set(READERS)
    assert set(CHOICES) - set(TASKS) == KINDS | set(PRESETS) | HUB


@pytest.mark.parametrize("choice", CHOICES)
def test_it_composes_into_its_dataclass(tmp_path: Path, choice: str) -> None:
    missing = ["corpus.train=x"] if choice == "bio" else []
    path = [] if choice == "grammar" or choice in TASKS else ["corpus.path=somewhere"]
    config = composed(tmp_path, f"corpus={choice}", *path, *missing)
    assert type(config) in READERS
    assert config.name == choice


def test_defaults_of_the_files_are_those_of_the_schema(tmp_path: Path) -> None:
    assert composed(tmp_path, "corpus=grammar") == GrammarConfig()


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
