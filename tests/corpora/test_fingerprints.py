"""Texts, labels, order and targets of corpora stay what they were for the same seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probes.corpora.generated import names
from tests.corpora.fingerprints import OPTIONS, generated_digests, reader_digests

RECORDED: dict[str, str] = json.loads(
    (Path(__file__).with_name("fingerprints.json")).read_text(encoding="utf-8")
)
"""Recorded at commit 6e5f85d."""


def test_every_generated_corpus_is_recorded() -> None:
    assert set(OPTIONS) == set(names())


@pytest.mark.parametrize("name", OPTIONS)
def test_generated_corpora(name: str) -> None:
    for case, digest in generated_digests(name).items():
        assert RECORDED[case] == digest, case


def test_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for case, digest in reader_digests(Path()).items():
        assert RECORDED[case] == digest, case
