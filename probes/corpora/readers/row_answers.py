"""Answers and contrasts of the rows of a table, from its columns or from other rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from probes.config import RowsConfig
from probes.core.errors import UserError
from probes.corpora.answers import count_words
from probes.corpora.builder import CorpusBuilder
from probes.corpora.missing import is_missing
from probes.corpora.readers.columns import Row, column_of

MOST_ALTERNATIVES = 10
"""From other rows; the most frequent answers are taken."""
TRIES = 50
"""Draws of a peer that fits."""
SEPARATOR = "|"
"""Between alternatives that a column lists in one string."""


@dataclass(frozen=True)
class RowAnswer:
    """The columns of one row that concern answers; None: not asked for, or empty."""

    answer: str | None = None
    alternatives: tuple[str, ...] = ()
    corrupted: str | None = None
    peers: str | None = None
    swap: str | None = None


class RowAnswers:
    """Collects the rows of a corpus; adds their answers and contrasts when all rows are known,
    because some come from other rows."""

    def __init__(self, config: RowsConfig, feature: str) -> None:
        """``feature``: the one whose class the answer is; empty: none."""
        self.config, self.feature = config, feature
        self._rows: dict[int, RowAnswer] = {}

    def note(self, example: int, row: Row, place: str) -> None:
        """Read the columns of an example; of several rows with one text the first counts.

        Raises:
            UserError: a column is missing, or alternatives are no texts or hold the answer.
        """
        if example not in self._rows:
            self._rows[example] = self._read(row, place)

    def _read(self, row: Row, place: str) -> RowAnswer:
        def column(key: str) -> Any:
            name = getattr(self.config, key)
            return None if name is None else column_of(row, name, key, place)

        def text(key: str) -> str | None:
            value = column(key)
            return None if is_missing(value) else str(value).rstrip()

        listed = column("alternatives")
        listed = () if is_missing(listed) else listed
        if isinstance(listed, str):
            listed = listed.split(SEPARATOR)
        if not isinstance(listed, list | tuple):
            raise UserError(
                f"{place}: column '{self.config.alternatives}' holds a {type(listed).__name__}",
                allowed=f"a list of texts, or one text with {SEPARATOR} between them",
            )
        answer = text("answer")
        alternatives = tuple(str(each).strip() for each in listed if not is_missing(each))
        if answer is not None and answer.strip() in alternatives:
            raise UserError(
                f"{place}: the answer {answer!r} is one of its alternatives",
                allowed=f"wrong answers in column '{self.config.alternatives}'",
            )
        return RowAnswer(answer, alternatives, text("corrupted"), text("peers"), text("swap"))

    def add_to(self, builder: CorpusBuilder) -> list[str]:
        """Add the answers and contrasts; what was left out, counted.

        Raises:
            UserError: an answer is its own alternative, or no corrupted text is a twin.
        """
        peers = self._peers()
        counts = {
            value: Counter(row.answer for row in rows if row.answer is not None)
            for value, rows in peers.items()
        }
        right: dict[str, set[str]] = {}
        for example, row in self._rows.items():
            if row.answer is not None:
                right.setdefault(builder.texts[example], set()).add(row.answer)
        other_words = 0
        for example, row in self._rows.items():
            text = builder.texts[example]
            if row.answer is not None:
                alternatives = row.alternatives or self._alternatives(row, counts, right[text])
                builder.add_answer(
                    example,
                    len(text),
                    self._written(text, row.answer),
                    alternatives=[self._written(text, each) for each in alternatives],
                    feature=self.feature,
                )
            if row.corrupted is not None and row.corrupted != text:
                if count_words(row.corrupted) == count_words(text):
                    builder.add_contrast(example, row.corrupted, kind="corrupted")
                else:
                    other_words += 1
            if row.swap is not None:
                self._swap(builder, example, row, peers)
        corrupted = sum(row.corrupted is not None for row in self._rows.values())
        if other_words and other_words == corrupted:
            raise UserError(
                f"corpus.corrupted={self.config.corrupted}: none of {corrupted} texts has as many "
                "words as the text that it is the twin of",
                allowed="twins in which words are exchanged one for one",
            )
        left_out = f"{other_words} corrupted texts left out: another number of words"
        return [left_out] if other_words else []

    def _written(self, text: str, answer: str) -> str:
        """An answer as the text goes on with it."""
        spaced = not text or text[-1].isspace() or answer[:1].isspace()
        return answer if spaced else self.config.answer_prefix + answer

    def _peers(self) -> dict[str, list[RowAnswer]]:
        """Rows that ask the same question about something else, by the value they share."""
        peers: dict[str, list[RowAnswer]] = {}
        for row in self._rows.values():
            if row.peers is not None:
                peers.setdefault(row.peers, []).append(row)
        return peers

    def _alternatives(
        self, row: RowAnswer, counts: Mapping[str, Counter[str]], right: set[str]
    ) -> list[str]:
        """The most frequent answers of other rows that ask the same, without the right ones."""
        if row.peers is None:
            return []
        common = counts[row.peers].most_common(MOST_ALTERNATIVES + len(right))
        return [answer for answer, _ in common if answer not in right][:MOST_ALTERNATIVES]

    def _swap(
        self,
        builder: CorpusBuilder,
        example: int,
        row: RowAnswer,
        peers: dict[str, list[RowAnswer]],
    ) -> None:
        """Exchange what the row is about for what a peer with another answer is about."""
        text = builder.texts[example]
        if row.peers is None or row.swap is None or text.count(row.swap) != 1:
            return
        of_peers = peers[row.peers]
        draws = Random(f"twin of {text}")
        for _ in range(TRIES):
            peer = draws.choice(of_peers)
            other = peer.swap
            if other is None or other == row.swap or peer.answer == row.answer:
                continue
            if count_words(other) == count_words(row.swap):
                twin = text.replace(row.swap, other)
                said = "" if peer.answer is None else self._written(twin, peer.answer)
                builder.add_contrast(example, twin, kind=f"other_{self.config.swap}", answer=said)
                return
