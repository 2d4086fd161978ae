"""Lines of token and tag columns: what is a token, what a comment, a document mark or an end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from probes.config import BioConfig
from probes.core.errors import UserError
from probes.corpora.files import lines_of, read_text

_DOCUMENT = re.compile(r"-DOCSTART-|#\s*begin document\b|#\s*newdoc\b", re.IGNORECASE)
_DOCUMENT_END = re.compile(r"#\s*end document\b", re.IGNORECASE)
_NAME = re.compile(r"document\s*\((.+?)\)|newdoc\s+id\s*=\s*(?=\S)(.+)")
_COMMENT = re.compile(r"#(\s|$|[\w.:]+\s*=\s)")
"""What a comment may look like; a hashtag does not."""


@dataclass
class Sentence:
    """The tokens of one sentence, the tag cell of each, and the document around it."""

    document: str
    """Empty: the file has no documents."""
    tokens: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)


def sentences(path: Path, config: BioConfig, counts: Counter[str]) -> Iterator[Sentence]:
    """The sentences of a file; ``counts["comment"]`` grows by the lines that are no tokens.

    Known: ``-DOCSTART-`` (CoNLL-2002 and 2003), ``#begin document`` (CoNLL-2012), and comments
    (``# id`` in MultiCoNER, ``#<TAB>source`` in GermEval, ``# text =``). A line that begins with
    ``#`` is a token where it has as many columns as the others and, before a sentence, a tag that
    others have.

    Raises:
        UserError: a line without token or tag.
    """
    lines = lines_of(read_text(path, config.encoding))
    is_token = _TokenTest(lines, config)
    document = ""
    sentence = Sentence(document)
    for number, line in enumerate([*lines, ""], start=1):
        mark = _DOCUMENT.match(line)
        if mark and (line.startswith("-") or not is_token(line)):
            named = _NAME.search(line)
            document = f"{path.name}:{(named[1] or named[2]).strip() if named else number}"
        elif not _DOCUMENT_END.match(line) and line.strip():
            within = bool(sentence.tokens)
            if _COMMENT.match(line) and not is_token(line, any_tag=within):
                counts["comment"] += 1
                continue
            token, cell = _token_and_tag(path, number, line, config)
            sentence.tokens.append(token)
            sentence.cells.append(cell)
            continue
        if sentence.tokens:
            yield sentence
        sentence = Sentence(document)


def columns_of(line: str) -> list[str]:
    """The columns of a line: between tabs, or between runs of spaces where it has no tab.

    Other white space, such as no-break spaces, belongs to the tokens.
    """
    if "\t" in line:
        return [column.strip(" \r") for column in line.split("\t")]
    return re.split(" +", line.strip(" \r"))


class _TokenTest:
    """Whether a line that begins with ``#`` is a token like the others of its file."""

    def __init__(self, lines: list[str], config: BioConfig) -> None:
        self._config = config
        sample = [columns_of(line) for line in lines if line.strip() and line[0] not in "#-"]
        self._widths = Counter(map(len, sample))
        self._tags = {columns[config.tag_column] for columns in sample if self._reaches(columns)}

    def __call__(self, line: str, *, any_tag: bool = False) -> bool:
        columns = columns_of(line)
        usual = self._widths.most_common(1)
        return (
            bool(usual)
            and len(columns) == usual[0][0]
            and self._reaches(columns)
            and (any_tag or columns[self._config.tag_column] in self._tags)
        )

    def _reaches(self, columns: list[str]) -> bool:
        return -len(columns) <= self._config.tag_column < len(columns)


def _token_and_tag(path: Path, number: int, line: str, config: BioConfig) -> tuple[str, str]:
    columns = columns_of(line)
    try:
        token, cell = columns[config.token_column], columns[config.tag_column]
    except IndexError:
        token = cell = ""
    if not token or not cell or len(columns) < 2:
        raise UserError(
            f"{path}, line {number}: no token and tag in {line[:60]!r}",
            allowed=f"a token in column {config.token_column} and a tag in column "
            f"{config.tag_column}, with a tab or spaces between",
        )
    return token, cell
