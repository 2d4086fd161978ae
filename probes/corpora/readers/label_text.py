"""Lines of a label and a text: split by a tab or a space, or in fastText's form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from probes.corpora.files import lines_of
from probes.corpora.readers.columns import Row

FASTTEXT = "__label__"


def label_text_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    """Line number, and the columns ``label`` and ``text`` of each line.

    The label ends at the first tab where every line has one, else at the first space or tab. In
    fastText files every word that begins with ``__label__`` is a label, wherever it stands: a list
    of them where some line has several.
    """
    lines = [(n, line.strip()) for n, line in enumerate(lines_of(text), start=1) if line.strip()]
    if lines and any(word.startswith(FASTTEXT) for word in lines[0][1].split()):
        yield from _fasttext_rows(lines)
        return
    tabbed = all("\t" in line for _, line in lines)
    for number, line in lines:
        label, *rest = re.split(r"\t" if tabbed else r"[ \t]", line, maxsplit=1)
        yield number, {"label": label, "text": rest[0].strip() if rest else ""}


def _fasttext_rows(lines: list[tuple[int, str]]) -> Iterator[tuple[int, Row]]:
    rows = []
    for number, given in lines:
        line = given.replace(f",{FASTTEXT}", f" {FASTTEXT}")
        words = re.split(r"([ \t]+)", line)
        labels = [word for word in words[::2] if word.startswith(FASTTEXT)]
        text = re.sub(rf"(?:^|(?<=[ \t])){FASTTEXT}[^ \t]*[ \t]*", "", line).strip()
        rows.append((number, [label.removeprefix(FASTTEXT) for label in labels], text))
    several = any(len(labels) > 1 for _, labels, _ in rows)
    for number, labels, text in rows:
        one = labels[0] if labels else None
        yield number, {"label": labels if several else one, "text": text}
