"""Token and tag columns in the BIO scheme and its relatives: named entities and other spans."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from probes.config import BioConfig
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import SPLITS, Corpus
from probes.corpora.files import existing, inside
from probes.corpora.joining import is_unspaced, join_words
from probes.corpora.missing import is_blank, is_missing
from probes.corpora.readers.column_lines import sentences

NOTES = {
    "several": "tokens with several tags: the first counts",
    "missing": "tokens without a tag left out",
    "empty": "tokens of white space left out",
    "comment": "comment lines left out",
    "blank": "sentences without visible characters left out",
    "joined": "sentences joined without spaces, as their script is written (corpus.join)",
}
"""What is counted, in words."""

_PREFIX = re.compile(r"^[BIESLUM]-(?=.)")  # BIO, BIOES, BILOU, BMES


def entity_type(tag: str) -> str:
    """The type of a tag: ``B-person`` and ``I-person`` are both person, ``O`` stays.

    >>> entity_type("B-creative-work")
    'creative-work'
    """
    return _PREFIX.sub("", tag)


def load(config: BioConfig) -> Corpus:
    """The corpus of ``corpus=bio``: tokens as one text, each with the type of its entity.

    A cell with several tags (``B-person,I-group``: nested entities) counts as its first one.
    Documents, where a file marks them, are the groups; else each sentence is one. The tag ``_`` is
    no value.
    """
    builder = CorpusBuilder(config.name)
    counts: Counter[str] = Counter()
    for split, path in _files(config):
        for sentence in sentences(path, config, counts):
            text, starts = join_words(sentence.tokens, config.join)
            if is_blank(text):
                counts["blank"] += 1
                continue
            counts["joined"] += config.join is None and is_unspaced(sentence.tokens)
            document = sentence.document
            builder.group_name = "document" if document else builder.group_name
            example = builder.add_text(text, group=document or text, split=split)
            for token, start, cell in zip(sentence.tokens, starts, sentence.cells, strict=True):
                tags = tags_of(cell)
                counts["several"] += len(tags) > 1
                kind = entity_type(tags[0])
                value = config.outside if kind == "O" else kind
                if is_missing(cell, mark="_"):
                    counts["missing"] += 1
                elif not token.strip():
                    counts["empty"] += 1
                else:
                    builder.add_unit(
                        example, start, start + len(token), "word", {config.feature: value}
                    )
    return builder.build(
        default_features=(config.feature,),
        descriptions={config.feature: f"type of the entity around a word, {config.outside}: none"},
        notes=[f"{counts[key]} {what}" for key, what in NOTES.items() if counts[key]],
    )


def tags_of(cell: str) -> list[str]:
    """The tags in a cell: several only where each is one of the scheme, as a comma can be a tag.

    >>> tags_of("B-person,I-group"), tags_of(","), tags_of("NN,VB")
    (['B-person', 'I-group'], [','], ['NN,VB'])
    """
    tags = cell.split(",")
    return tags if all(tag == "O" or _PREFIX.match(tag) for tag in tags) else [cell]


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
