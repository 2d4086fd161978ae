"""Rows of CSV and TSV files as the world writes them: Excel, pandas, R, databases.

What a file does is found out on the whole file: a dialect counts only where every row then has as
many columns as the first.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from probes.config import TableConfig
from probes.core.errors import UserError
from probes.core.overrides import override
from probes.corpora.readers.columns import Row

_EXCEL = re.compile(r'"?sep=(.)"?[^\S\r\n]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_SPACED_QUOTE = re.compile(r' +".*"', re.DOTALL)
_DELIMITERS = (",", ";", "\t", "|")
_LONGEST_CELL = 2**31 - 1
Rows = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class Dialect:
    """How a file separates and quotes its cells."""

    delimiter: str
    quotes: bool
    escape: str | None = None
    """What makes a quote inside quotes a character, beside a second quote."""
    spaced: bool = False
    """Whether blanks after delimiters are no part of the cells."""

    def rows(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Number of the last line and the cells of each row; raises ``csv.Error``."""
        csv.field_size_limit(_LONGEST_CELL)
        reader = csv.reader(
            io.StringIO(text, newline=""),  # breaks lines at \n and \r only, not at U+2028
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
            escapechar=self.escape,
            skipinitialspace=self.spaced,
            strict=True,
        )
        start = 1
        try:
            for cells in reader:
                start = reader.line_num + 1
                if cells:
                    yield reader.line_num, cells
        except csv.Error as error:
            raise csv.Error(f"line {start}: {error}") from error


class Parsed:
    """A text as each dialect that was tried reads it, parsed once by each."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._rows: dict[Dialect, tuple[Rows, csv.Error | None]] = {}

    def rows(self, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
        """As ``Dialect.rows``."""
        rows, error = self._read(dialect)
        yield from rows
        if error is not None:
            raise error

    def fitting(self, dialect: Dialect) -> Rows | None:
        """All rows, if each has as many columns as the first and there are two or more."""
        rows, error = self._read(dialect)
        widths = {len(cells) for _, cells in rows}
        return rows if error is None and len(widths) == 1 and widths != {1} else None

    def _read(self, dialect: Dialect) -> tuple[Rows, csv.Error | None]:
        if dialect not in self._rows:
            rows: Rows = []
            failure = None
            try:
                rows.extend(dialect.rows(self.text))
            except csv.Error as error:
                failure = error
            self._rows[dialect] = rows, failure
        return self._rows[dialect]


def delimited_rows(
    path: Path, text: str, config: TableConfig, usual: str, notes: list[str]
) -> Iterator[tuple[int, Row]]:
    """Line and columns of each row.

    usual: the delimiter of files with this ending, where ``corpus.delimiter`` names none.
    notes: gets a sentence where the file is not read as its ending says.
    """
    excel = _EXCEL.match(text)
    lines = 0
    if excel and config.delimiter in (None, excel[1]):
        usual, text, lines = excel[1], text[excel.end() :], 1
    parsed = Parsed(text)
    dialect = _dialect(path, parsed, config, usual, notes, certain=bool(excel))
    names: list[str] | None = None
    try:
        for line, cells in parsed.rows(dialect):
            place = f"{path}, line {line + lines}"
            if names is None:
                names = cells if config.header else [str(i) for i in range(len(cells))]
                names = [name.strip() for name in names]
                if config.header:
                    _check_names(names, place)
                    continue
            if len(cells) != len(names):
                raise UserError(
                    f"{place}: {len(cells)} columns where the first row has {len(names)}",
                    fix=_advice(parsed, dialect),
                )
            yield line + lines, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        place = re.sub(r"^line (\d+)", lambda found: f"line {int(found[1]) + lines}", str(error))
        raise UserError(f"{path}, {place}", fix=_advice(parsed, dialect)) from error


def _check_names(names: list[str], place: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise UserError(
            f"{place}: {names.count(twice[0])} columns are called '{twice[0]}'",
            allowed="columns with names of their own",
            fix="corpus.header=false, and columns by their number (after removing the first line)",
        )


def _dialect(
    path: Path, parsed: Parsed, config: TableConfig, usual: str, notes: list[str], *, certain: bool
) -> Dialect:
    """The dialect of a file: what the config says, else what all its rows agree with."""
    delimiter = "\t" if config.delimiter == "\\t" else config.delimiter
    if delimiter is not None and len(delimiter) != 1:
        raise UserError(
            f"corpus.delimiter={delimiter!r}: not one character",
            fix=override("corpus.delimiter", ";"),
        )
    if config.escape is not None and len(config.escape) != 1:
        raise UserError(f"corpus.escape={config.escape!r}: not one character")
    quotes = config.quotes if config.quotes is not None else usual != "\t"
    dialect = Dialect(delimiter or usual, quotes, config.escape)
    if delimiter is None and not certain:
        dialect = _other_delimiter(path, parsed, dialect, notes)
    if config.quotes is None and dialect.delimiter == "\t" and delimiter in (None, usual):
        dialect = _quotes_of_tsv(path, parsed, dialect, notes)
    rows = parsed.fitting(dialect)
    if dialect.quotes and rows is None and config.escape is None and '\\"' in parsed.text:
        escaped = replace(dialect, escape="\\")
        if parsed.fitting(escaped):
            notes.append(f"{path.name}: backslashes read as escapes (corpus.escape='\\\\')")
            return escaped
    if dialect.quotes and (rows is None or _is_spaced(rows)):
        spaced = replace(dialect, spaced=True)
        if parsed.fitting(spaced):
            return spaced
    return dialect


def _other_delimiter(path: Path, parsed: Parsed, dialect: Dialect, notes: list[str]) -> Dialect:
    """Another delimiter where the usual one leaves the first row in one piece."""
    first = re.split(r"[\r\n]", parsed.text.lstrip("\r\n"), maxsplit=1)[0]
    if not first or dialect.delimiter in first:
        return dialect
    for delimiter in _DELIMITERS:
        if delimiter in first:
            other = replace(
                dialect, delimiter=delimiter, quotes=dialect.quotes or delimiter != "\t"
            )
            if parsed.fitting(other):
                notes.append(f"{path.name}: columns are separated by {delimiter!r}")
                return other
    return dialect


def _quotes_of_tsv(path: Path, parsed: Parsed, dialect: Dialect, notes: list[str]) -> Dialect:
    """Whether quotes in a TSV enclose cells, as pandas and Excel write them, or are characters."""
    if '"' not in parsed.text:
        return replace(dialect, quotes=False)
    plain, quoted = replace(dialect, quotes=False), replace(dialect, quotes=True)
    rows = list(parsed.rows(plain))
    cells = [cell for _, row in rows for cell in row if '"' in cell]
    enclosed = [cell for cell in cells if _is_enclosed(cell)]
    if len({len(row) for _, row in rows}) > 1:
        return quoted if parsed.fitting(quoted) else plain
    if len(enclosed) == len(cells) and parsed.fitting(quoted):
        columns = zip(*(row for _, row in rows[1:]), strict=True)
        whole = len(rows) > 2 and any(all(map(_is_enclosed, column)) for column in columns)
        if whole or any('""' in cell[1:-1] for cell in cells):
            return quoted
    if enclosed and parsed.fitting(quoted):
        notes.append(
            f"{path.name}: {len(enclosed)} cells keep the quotes around them. Try "
            "corpus.quotes=true to take them off"
        )
    return plain


def _is_enclosed(cell: str) -> bool:
    inside = cell[1:-1].replace('""', "")
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inside


def _is_spaced(rows: Rows) -> bool:
    """Whether blanks after delimiters belong to the dialect: before quotes, or before all cells."""
    cells = [cell for _, row in rows for cell in row[1:]]
    return any(map(_SPACED_QUOTE.fullmatch, cells)) or all(cell[:1] == " " for cell in cells)


def _advice(parsed: Parsed, dialect: Dialect) -> str:
    """An override under which the file can be read, or nothing."""
    for quotes in (not dialect.quotes, dialect.quotes):
        for delimiter in dict.fromkeys((dialect.delimiter, *_DELIMITERS)):
            if parsed.fitting(Dialect(delimiter, quotes)):
                written = "\\t" if delimiter == "\t" else delimiter
                parts = [f"corpus.quotes={str(quotes).lower()}"] * (quotes != dialect.quotes)
                parts += [override("corpus.delimiter", written)] * (delimiter != dialect.delimiter)
                return " ".join(parts)
    return ""
