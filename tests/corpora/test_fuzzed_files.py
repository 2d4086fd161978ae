"""Corpora with a few odd characters, as files from elsewhere have them: read, or one message."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from probes.config import SplitConfig, TableConfig, UDConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus
from probes.corpora.splits import assign_splits
from tests.corpora.readers.test_ud import ENGLISH, GERMAN, PLAIN
from tests.mutations import EXAMPLES, changed_json, changed_text, fuzz, written

ROWS = [
    {"text": "a storm, of ice", "label": "cold", "n": 3},
    {"text": 'she said "no"', "label": "warm", "n": 1.5},
    {"text": "čas běží", "label": "cold", "n": None},
    {"text": "end", "label": "", "n": -1},
]
COMMAS = '''\
text,label,n
"a storm, of ice",cold,3
"she said ""no""",warm,1.5
čas běží,cold,
end,,-1
'''
TABS = COMMAS.replace('"a storm, of ice"', "a storm").replace('"she said ""no"""', "she said no")
TABLES = {
    "rows.csv": COMMAS,
    "rows.tsv": TABS.replace(",", "\t"),
    "rows.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "rows.json": json.dumps(ROWS),
}
"""The same rows in every format."""


def well_formed(corpus: Corpus) -> None:
    """What everything after the readers relies on."""
    assert len(corpus.texts) == len(corpus.splits) == len(corpus.groups)
    for feature in corpus.features.values():
        assert len(feature.codes) == len(corpus.units)
        assert feature.codes.max(initial=-1) < len(feature.classes)
    for unit in range(len(corpus.units)):
        example = corpus.units.example[unit]
        start, end = corpus.units.start[unit], corpus.units.end[unit]
        assert 0 <= start <= end <= len(corpus.texts[example])


@pytest.mark.parametrize("examples", EXAMPLES)
def test_conllu(tmp_path: Path, examples: int) -> None:
    path = tmp_path / "xx_toy-ud-train.conllu"

    def check(changed: bytes) -> None:
        path.write_bytes(changed)
        with suppress(UserError):
            corpus = load_corpus(UDConfig(path=str(tmp_path)))
            well_formed(assign_splits(corpus, SplitConfig()))
            read.append(changed)

    read: list[bytes] = []
    documents = enumerate((ENGLISH, GERMAN, PLAIN))
    whole = "".join(f"# newdoc id = {number}\n{text}\n" for number, text in documents)
    check(whole.encode())
    assert len(read) == 1  # without a change
    fuzz(changed_text(whole), examples, check)
    assert len(read) < examples


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("name", list(TABLES))
def test_tables(tmp_path: Path, name: str, examples: int) -> None:
    path = tmp_path / name

    def check(changed: bytes) -> None:
        path.write_bytes(changed)
        with suppress(UserError):
            config = TableConfig(path=str(path), text="text", labels={"label": "label", "n": "n"})
            well_formed(assign_splits(load_corpus(config), SplitConfig()))
            read.append(changed)

    read: list[bytes] = []
    files = changed_text(TABLES[name])
    if name == "rows.json":
        files |= changed_json(ROWS).map(written)
    check(TABLES[name].encode())
    assert len(read) == 1  # without a change
    fuzz(files, examples, check)
    assert len(read) < examples
