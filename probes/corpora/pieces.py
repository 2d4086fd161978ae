"""Where a token stands in its word: a feature of rows, since only a tokenizer knows pieces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from probes.core.errors import UserError
from probes.corpora.corpus import LEVELS, Feature, IntArray, Units

PIECES = ("first", "inside", "last", "whole")


def piece_feature(units: Units) -> Feature:
    """The feature ``piece`` of all words; ``piece_codes`` gives its classes row by row."""
    is_word = units.level == LEVELS.index("word")  # (U,)
    return Feature(
        name="piece",
        level="word",
        classes=PIECES,
        codes=np.where(is_word, PIECES.index("whole"), -1).astype(np.int32),
        description="where the token stands in its word",
        of_rows=True,
    )


def piece_codes(feature: Feature, units: npt.NDArray[np.integer]) -> IntArray:
    """Index into ``PIECES`` for each row, -1 where its unit is no word.

    units: (N,) unit of each row, the rows of a unit one after another in the order of its tokens.

    Raises:
        UserError: every word has a single row.
    """
    new = np.flatnonzero(np.diff(units, prepend=-1))  # first row of each unit
    size = np.diff(new, append=len(units))
    at = np.arange(len(units)) - np.repeat(new, size)  # (N,) place among the rows of the unit
    left = np.repeat(size, size) - 1 - at
    codes = np.select(
        [(at == 0) & (left == 0), at == 0, left == 0],
        [PIECES.index("whole"), PIECES.index("first"), PIECES.index("last")],
        PIECES.index("inside"),
    )
    codes = np.where(feature.codes[units] >= 0, codes, -1).astype(np.int32)
    if len(units) and not (codes[codes >= 0] != PIECES.index("whole")).any():
        raise UserError(
            f"features=[{feature.name}]: every word is read at one token: either its other pieces "
            "are not read (position.word), or the tokenizer leaves all words whole",
            fix="position.word=every_subword",
        )
    return codes
