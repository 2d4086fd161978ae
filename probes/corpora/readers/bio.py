"""Token and tag columns in the BIO scheme and its relatives: named entities and other spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from probes.config import BioConfig
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import SPLITS, Corpus
from probes.corpora.files import existing, inside, read_text

_PREFIX = re.compile(r"^[BIESLUM]-(?=.)")  # BIO, BIOES, BILOU, BMES


def entity_type(tag: str) -> str:
    """The type of a tag: ``B-person`` and ``I-person`` are both person, ``O`` stays.

    >>> entity_type("B-creative-work")
    'creative-work'
    """
    return _PREFIX.sub("", tag)


def load(config: BioConfig) -> Corpus:
    """The corpus of ``corpus=bio``: tokens joined by spaces, each with the type of its entity.

    A cell with several tags (``B-person,I-group``: nested entities) counts as its first one.
    ``-DOCSTART-`` lines, where there are any, make the documents that are the groups; else each
    sentence is one.
    """
    builder = CorpusBuilder(config.name)
    several = 0
    for split, path in _files(config):
        for document, tokens, cells in _sentences(path, config):
            builder.group_name = "document" if document else builder.group_name
            text = " ".join(tokens)
            example = builder.add_text(text, group=document or text, split=split)
            position = 0
            for token, cell in zip(tokens, cells, strict=True):
                first, *others = cell.split(",")
                several += bool(others)
                kind = entity_type(first)
                value = config.outside if kind == "O" else kind
                end = position + len(token)
                builder.add_unit(example, position, end, "word", {config.feature: value})
                position = end + 1
    notes = [f"{several} tokens with several tags: the first counts"] if several else []
    return builder.build(
        default_features=(config.feature,),
        descriptions={config.feature: f"type of the entity around a word, {config.outside}: none"},
        notes=notes,
    )


def _files(config: BioConfig) -> Iterator[tuple[int, Path]]:
    for split, name in enumerate(SPLITS):
        value: str | None = getattr(config, name)
        if value is None:
            continue
        if config.path is None or value == "???":
            yield split, existing(value, f"corpus.{name}")
        else:
            directory = existing(config.path, "corpus.path")
            yield split, inside(directory, value, f"corpus.{name}")


def _sentences(path: Path, config: BioConfig) -> Iterator[tuple[str, list[str], list[str]]]:
    """Document, tokens and tag cells of each sentence."""
    document = ""
    tokens: list[str] = []
    cells: list[str] = []
    for number, line in enumerate([*read_text(path, config.encoding).split("\n"), ""], start=1):
        if line.startswith("-DOCSTART-"):
            document = f"{path.name}:{number}"
        if not line.strip() or line.startswith("-DOCSTART-"):
            if tokens:
                yield document, tokens, cells
            tokens, cells = [], []
            continue
        columns = [c.strip() for c in line.split("\t")] if "\t" in line else line.split()
        try:
            token, cell = columns[config.token_column], columns[config.tag_column]
        except IndexError:
            token = cell = ""
        if not token or not cell or len(columns) < 2:
            raise UserError(
                f"{path}, line {number}: no token and tag in {line[:60]!r}",
                allowed=f"a token in column {config.token_column} and a tag in column "
                f"{config.tag_column}, with a tab or spaces between",
                fix="corpus.token_column=0 corpus.tag_column=-1",
            )
        tokens.append(token)
        cells.append(cell)
