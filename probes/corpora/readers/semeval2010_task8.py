"""SemEval-2010 task 8: which relation holds between two marked nominals of a sentence.

Hendrickx et al. 2010, "SemEval-2010 Task 8: Multi-Way Classification of Semantic Relations
Between Pairs of Nominals". A block is a numbered sentence in quotes with <e1> and <e2>, a line
with the relation, and a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probes.config import SemEvalConfig
from probes.config.choices import check_choices
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import TEST, TRAIN, Corpus
from probes.corpora.files import existing, inside, read_text

_SENTENCE = re.compile(r'(\d+)\t"(.*)"')
_MARKS = re.compile(r"(.*)<e1>(.+)</e1>(.*)<e2>(.+)</e2>(.*)")
_RELATION = re.compile(r"(Other|[A-Z][A-Za-z]*-[A-Z][A-Za-z]*)(\((?:e1,e2|e2,e1)\))?")


@dataclass(frozen=True)
class Sentence:
    """A sentence without its marks, and where they stood."""

    text: str
    first: tuple[int, int]
    """Characters of <e1>."""
    second: tuple[int, int]
    """Characters of <e2>, which comes later."""
    relation: str
    """With its direction: Cause-Effect(e1,e2)."""


def load(config: SemEvalConfig) -> Corpus:
    """The corpus of ``corpus=semeval2010_task8``, with its shipped split; read at a span.

    A decoder has seen both nominals only at the second one, so that is where both features are
    read: ``relation`` (19 classes) and ``relation_type`` without the direction (10 classes).
    """
    check_choices(config, "corpus.")
    builder = CorpusBuilder(config.name)
    for split, path in _files(config):
        for sentence in read_sentences(path):
            example = builder.add_text(sentence.text, group=sentence.text, split=split)
            start = (sentence.second if config.read == "second" else sentence.first)[0]
            values = {
                "relation": sentence.relation,
                "relation_type": sentence.relation.partition("(")[0],
            }
            builder.add_unit(example, start, sentence.second[1], "span", values)
    return builder.build(
        default_features=("relation", "relation_type"),
        descriptions={
            "relation": "the relation between the two nominals, and its direction",
            "relation_type": "the relation without its direction",
        },
    )


def read_sentences(path: Path) -> Iterator[Sentence]:
    """The sentences of one file; raises ``UserError`` with the line of what is no sentence."""
    lines = [line.strip() for line in read_text(path).split("\n")]
    number = 0
    while number < len(lines):
        if not lines[number]:
            number += 1
            continue
        yield _sentence(path, number, lines)
        while number < len(lines) and lines[number]:  # its relation and its comment
            number += 1


def _sentence(path: Path, number: int, lines: list[str]) -> Sentence:
    quoted = _SENTENCE.fullmatch(lines[number])
    marked = _MARKS.fullmatch(quoted[2]) if quoted else None
    if marked is None:
        raise UserError(
            f"{path}, line {number + 1}: not a sentence with <e1> and <e2>: {lines[number][:60]!r}",
            allowed='a number, a tab, and "... <e1>...</e1> ... <e2>...</e2> ..."',
        )
    relation = lines[number + 1] if number + 1 < len(lines) else ""
    if not _RELATION.fullmatch(relation):
        raise UserError(
            f"{path}, line {number + 2}: {relation[:60]!r} is no relation",
            allowed="Other, or a name and a direction such as Cause-Effect(e1,e2)",
        )
    before, first, between, second, after = (marked[group] for group in range(1, 6))
    start = len(before) + len(first) + len(between)
    return Sentence(
        text=before + first + between + second + after,
        first=(len(before), len(before) + len(first)),
        second=(start, start + len(second)),
        relation=relation,
    )


def _files(config: SemEvalConfig) -> Iterator[tuple[int, Path]]:
    path = existing(config.path, "corpus.path")
    if path.is_file():
        yield TRAIN, path
        return
    yield TRAIN, inside(path, config.train, "corpus.train")
    if config.test is not None:
        yield TEST, inside(path, config.test, "corpus.test")
