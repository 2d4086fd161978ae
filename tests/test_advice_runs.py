"""What messages advise works: each override without a hole is composed, checked and prepared.

It is given to a small run of the kind that its message is about: the method, corpus or group that
its key belongs to. ``prepare`` reads the texts and ends before the model is loaded.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from probes.cli.job import parse
from probes.cli.overrides import checked
from probes.config import register
from probes.config.checks import check, check_atlas
from probes.config.files import config_dir
from probes.corpora.generated import names
from probes.pipeline.prepare import PreparedRun, prepare
from tests.test_advice import HOLE, OVERRIDES

LABELS = "+corpus.labels.label=1"
SMALL = ("logger=none", "layers=[0]", "min_count=2")
BY_KEY = {
    "ablation": ("methods=[probe,ablation]",),
    "atlas": ("experiment=atlas", "layers=null"),
    "experiment": ("layers=null",),
    "attribution": ("methods=[probe,attribution]", "corpus=ioi"),
    "corpus.header": ("corpus=table", "corpus.path={folder}/plain.csv", "corpus.text=0", LABELS),
    "corpus.options.lengths": ("corpus=needle",),
    "corpus.path": ("corpus=table",),
    "corpus.test": ("corpus.train=other.csv",),
    "corpus.train": ("corpus.test=other.csv",),
    "corpus.span": ("corpus=table", "corpus.path={folder}/spans.csv"),
    "corpus": (),
    "disk_budget": ("disk_budget=1GB",),
    "engine": ("engine=ray",),
    "measure": ("methods=[probe,ablation]", "corpus=ioi"),
    "patching": ("methods=[probe,patching]", "corpus=ioi"),
    "probe.learning_rate": ("probe=mlp",),
    "significance": ("significance.permutations=100",),
    "split.validation": ("split.source=group",),
    "split.test": ("split.source=group",),
    "steering": ("methods=[probe,steering]",),
    "model.simplified": ("model=simplified", "corpus=induction", "layers=null"),
    "model.name": ("model=hf",),
    "model.gguf_file": ("model=hf", "model.name={folder}"),
    "model.revision": ("model=hf", "model.name=someone/model"),
}
"""What makes a key mean something, by the key or what it begins with."""
VALUES = {
    "TASK": "induction",
    "REVISION": "main",
    "NAME": "table.csv",
    "ANOTHER": "upos",
    "FILE_OR_DIRECTORY": "{folder}/table.csv",
    "FILE": "{folder}/model",
}
"""In the place of words that stand for something; any other such word is the folder."""
READERS = {
    "corpora/readers/table.py": "table",
    "corpora/readers/delimited.py": "table",
    "corpora/readers/rows.py": "table",
    "corpora/decoding.py": "table",
}
"""The corpus whose reader gives a message, here one that a table stands in for."""
COMPOSED_ONLY = {
    "corpora/readers/datasets.py": "datasets",
    "corpora/readers/function_vectors.py": "function_vectors",
    "corpora/readers/records.py": "benchmark",
    "corpora/readers/truthfulqa.py": "truthfulqa",
    "corpora/readers/ud.py": "ud",
}
"""Those that read files of a published format, which this test does not have."""


def complete() -> list[tuple[str, str]]:
    """Overrides that can be given as they stand, each with the places that advise it."""
    by_text: dict[str, list[str]] = {}
    for text, where in OVERRIDES:
        if HOLE not in text and "..." not in text:
            by_text.setdefault(text.rstrip(".:)"), []).append(where)
    return [(text, places[0]) for text, places in by_text.items()]


COMPLETE = complete()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that serves as whatever a message asks for: a table, a checkpoint."""
    where = tmp_path_factory.mktemp("advice")
    rows = [f"a good film {i},yes" if i % 2 else f"a bad film {i},no" for i in range(60)]
    (where / "table.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    others = [f"another {row}" for row in rows]
    (where / "other.csv").write_text("\n".join(["text,label", *others]), encoding="utf-8")
    (where / "plain.csv").write_text("\n".join(rows), encoding="utf-8")
    spans = [f"{row},{2},{6}" for row in rows]
    (where / "spans.csv").write_text("\n".join(["text,label,start,end", *spans]), encoding="utf-8")
    (where / "model.gguf").write_bytes(b"GGUF")
    (where / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    return where


@pytest.mark.parametrize(("text", "where"), COMPLETE, ids=lambda value: str(value))
def test_what_a_message_advises_can_be_run(text: str, where: str, folder: Path) -> None:
    key, _, value = text.partition("=")
    for word in re.findall(r"\b[A-Z][A-Z_]+\b", value):
        value = value.replace(word, VALUES.get(word, "{folder}"))
    base = [*SMALL, *context(key, where)]
    base = [word.format(folder=folder) for word in (*base, f"{key}={value}")]
    prepared(checked(base), read=where.rpartition(":")[0] not in COMPOSED_ONLY)


def context(key: str, where: str) -> list[str]:
    """The overrides that a run has which gets a message about ``key`` from the file ``where``."""
    longest = [k for k in sorted(BY_KEY, key=len) if f"{key}.".startswith(f"{k}.")][-1:]
    given = [word for k in longest for word in BY_KEY[k]]
    file = where.rpartition(":")[0]
    task = Path(file).stem
    if task in names():
        given.append(f"corpus={task}")
    elif (reader := READERS.get(file)) is not None:
        directory = key in ("corpus.files", "corpus.train", "corpus.test")
        if not any(word.startswith("corpus.path=") for word in given):
            path = "{folder}" if directory else "{folder}/table.csv"
            given += [f"corpus={reader}", f"corpus.path={path}"]
    elif (reader := COMPOSED_ONLY.get(file)) is not None:
        given += [f"corpus={reader}", "corpus.path={folder}"]
    if not any(word.startswith(("corpus=", "experiment=")) for word in [*given, key + "="]):
        given.append("corpus.sentences=60")
    return given


def prepared(overrides: list[str], *, read: bool) -> PreparedRun | None:
    """What the command does before the heavy libraries are imported; None for an atlas, and where
    the texts are not to be read."""
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("config", overrides=overrides)
    composed = parse(cfg)
    config = composed.run_config()
    check(config)
    if composed.atlas is not None:
        check_atlas(config)
        return None
    return prepare(config, tell=False) if read else None


def test_there_is_complete_advice() -> None:
    assert len(COMPLETE) > 60
