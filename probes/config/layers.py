"""Which layers a run is about: ``layers``, as numbers, ranges or a stride over the model's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from probes.core.errors import UserError

ALLOWED = (
    "null (all layers), numbers from 0 ([0,6,11]), ranges (0-11), every third of one (0-11:3), "
    "or every fourth of the model's layers (every:4)"
)
HIGHEST = 9_999
"""No model has as many layers."""


@dataclass(frozen=True)
class LayerChoice:
    """Some layers: these numbers, or every so many of those that a model has."""

    numbers: tuple[int, ...] = ()
    """Ascending."""
    every: int | None = None

    @classmethod
    def parse(cls, value: object) -> LayerChoice | None:
        """From ``layers`` of a configuration; None: all layers.

        Raises:
            UserError: it is no number, range or stride.

        >>> LayerChoice.parse("0-11:3").numbers, LayerChoice.parse([4, "0-2"]).numbers
        ((0, 3, 6, 9), (0, 1, 2, 4))
        >>> LayerChoice.parse("every:4")
        LayerChoice(numbers=(), every=4)
        """
        if value is None:
            return None
        items = list(value) if isinstance(value, list | tuple) else str(value).split(",")
        if len(items) == 1 and (match := re.fullmatch(r"\s*every:(\d+)\s*", str(items[0]))):
            if not 1 <= int(match[1]) <= HIGHEST:
                raise _wrong(value, str(items[0]))
            return cls(every=int(match[1]))
        if not items:
            raise _wrong(value, "[]")
        numbers = {number for item in items for number in _numbers(value, item)}
        return cls(tuple(sorted(numbers)))

    @property
    def plain(self) -> str | list[int]:
        """One spelling of each choice, as ``layers`` takes it."""
        return list(self.numbers) if self.every is None else f"every:{self.every}"

    def of(self, there: Sequence[int]) -> list[int]:
        """The chosen layers, where ``there`` are those that a model has, in any order.

        >>> LayerChoice(every=4).of(range(10)), LayerChoice((3, 99)).of(range(10))
        ([0, 4, 8], [3, 99])
        """
        return list(self.numbers) if self.every is None else sorted(set(there))[:: self.every]


def _numbers(value: object, item: object) -> range:
    match = re.fullmatch(r"\s*(\d+)(?:-(\d+)(?::(\d+))?)?\s*", str(item))
    if match is None or isinstance(item, bool):
        raise _wrong(value, str(item))
    first, last, step = (None if part is None else int(part) for part in match.groups())
    assert first is not None
    last, step = first if last is None else last, 1 if step is None else step
    if not first <= last <= HIGHEST or step < 1:
        raise _wrong(value, str(item))
    return range(first, last + 1, step)


def _wrong(value: object, item: str) -> UserError:
    shown = f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
    return UserError(
        f"layers={shown}: {item} is no layer, range or stride",
        allowed=ALLOWED,
        fix="layers=every:4",
    )
