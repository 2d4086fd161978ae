"""Every kind of head that the survey names has an entry whose corpus has the feature."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from probes.catalogue import STAGES, Entry, load_catalogue
from probes.cli.commands import run_command
from probes.cli.job import parse
from probes.config import GeneratedConfig, GrammarConfig, register
from probes.config.files import config_dir
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus
from tests.catalogue.entries import entry_named
from tests.corpora.test_corpus_configs import composed as corpus_config

KINDS = {
    ("KR", None): "associative memory, memory head, constant head, single-letter head, "
    "negative head",
    ("ICI", "structural"): "previous-token head, positional head, rare-words head, "
    "duplicate-token head, retrieval head",
    ("ICI", "syntactic"): "syntactic head, subword merge head, mover head, name mover, "
    "negative name mover, letter mover",
    ("ICI", "semantic"): "context head, content gatherer, sentiment summariser, "
    "semantic induction head, subject head, relation head",
    ("LR", None): "summary reader, function vector head, induction head, in-context head, "
    "truthfulness head, accuracy head, consistency head, vulnerable head, correct-letter head, "
    "iteration head, successor head, inhibition head",
    ("EP", None): "mixed head, amplification head, correct head, coherence head, faithfulness head",
}
"""Stage and sub-stage -> the kinds that must be there."""


LOADED: dict[tuple[str, ...], Corpus] = {}
"""Entries that share a corpus share it here too."""


def loaded(tmp_path: Path, *overrides: str) -> Corpus:
    """A small version of the corpus that these overrides name."""
    if overrides not in LOADED:
        config = corpus_config(tmp_path, *overrides)
        assert isinstance(config, GeneratedConfig | GrammarConfig), "needs files"
        if isinstance(config, GeneratedConfig):
            config.examples = 60
        else:
            config.sentences = 40
        LOADED[overrides] = load_corpus(config)
    return LOADED[overrides]


@pytest.mark.parametrize(("stage", "substage"), KINDS)
def test_every_kind_is_there(stage: str, substage: str | None) -> None:
    found = {e.kind for e in load_catalogue(stage=stage) if substage in (None, e.substage)}
    assert found == set(KINDS[stage, substage].split(", "))


@pytest.mark.parametrize("entry", load_catalogue(), ids=lambda entry: entry.name)
def test_its_corpus_has_its_features(tmp_path: Path, entry: Entry) -> None:
    """Without files or network; the features are at the level that the entry says."""
    corpus = loaded(tmp_path, *(one for one in entry.overrides if one.startswith("corpus")))
    assert corpus.name == entry.corpus
    for name in entry.features:
        feature = corpus.feature(name)
        assert feature.level == entry.level
        assert len({int(code) for code in feature.codes} - {-1}) >= 2 or feature.of_rows
        assert feature.description


@pytest.mark.parametrize("entry", load_catalogue(), ids=lambda entry: entry.name)
def test_entries_are_complete(entry: Entry) -> None:
    assert entry.stage in STAGES
    assert entry.read_at and entry.definition.endswith(".")
    assert entry.paper.arxiv or entry.paper.url
    assert ("END" in entry.read_at) == (entry.level == "answer") or "before END" in entry.read_at
    choices = {file.stem for file in (config_dir() / "corpus").glob("*.yaml")}
    assert set(entry.benchmarks) <= choices


def test_overrides_are_a_run() -> None:
    register()
    for name in ("subword_merge", "mixed"):
        entry = entry_named(name)
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            run = parse(compose("config", overrides=entry.overrides))
        assert run.features == list(entry.features)
    assert run.corpus.options == {"hold_out": "template"}


def test_order_and_choice() -> None:
    stages = [entry.stage for entry in load_catalogue()]
    assert stages == sorted(stages, key=list(STAGES).index)
    assert load_catalogue(stage="latent reasoning") == load_catalogue(stage="lr") != ()
    encoder = load_catalogue(encoder=True)
    assert 0 < len(encoder) < len(load_catalogue())
    assert not any(entry.decoders_only for entry in encoder)
    assert {entry.kind for entry in load_catalogue(corpus="ioi")} >= {
        "name mover",
        "inhibition head",
    }


def test_json_round_trip() -> None:
    for entry in load_catalogue():
        content = json.loads(json.dumps(entry.to_json()))
        again = Entry.from_json(content)
        assert again == entry and again.overrides == entry.overrides


def test_mistakes() -> None:
    with pytest.raises(UserError, match=r"--stage XR.*KR \(knowledge recalling\)"):
        load_catalogue(stage="XR")


def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert run_command(["catalogue", "--stage", "EP"]) == 0
    shown = capsys.readouterr().out
    assert all(kind in shown for kind in ("mixed head", "subject_relation", "hold_out=template"))
    assert "induction head" not in shown
    assert run_command(["catalogue", "--json", "--encoder"]) == 0
    listed = json.loads(capsys.readouterr().out)["entries"]
    assert [one["name"] for one in listed] == [entry.name for entry in load_catalogue(encoder=True)]
    assert listed[0]["overrides"] == list(entry_named(listed[0]["name"]).overrides)
    assert run_command(["catalogue", "--stage", "nothing"]) == 2
    assert "no such stage" in capsys.readouterr().err


def test_it_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from probes.cli.commands import run_command; run_command(['catalogue']); "
        "print(sorted({'torch', 'transformers', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
