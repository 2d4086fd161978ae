"""Where to cut a text that is longer than the model's context."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LongArray = npt.NDArray[np.int64]


def cut_points(
    text: str,
    char_start: LongArray,
    char_end: LongArray,
    unit_first: LongArray,
    unit_last: LongArray,
    capacity: int,
) -> list[int]:
    """Token indices ``0 = c_0 < c_1 < ... = T`` so that windows hold at most ``capacity`` tokens.

    Windows are as long as they can be. A cut never falls inside a labelled unit, and falls
    between words (at white space) where the window has any; a text without white space, such as
    Chinese, is cut between units. Where one unit alone exceeds ``capacity`` the window is cut
    through it, and the caller leaves that unit out.

    char_start, char_end: (T,) characters of each token, end exclusive. unit_first, unit_last: (U,)
    tokens of each unit, inclusive. capacity: most tokens of a window.

    >>> cut_points("a b c", np.array([0, 2, 4]), np.array([1, 3, 5]), *2 * [np.arange(3)], 2)
    [0, 2, 3]
    """
    n_tokens = len(char_start)
    inside = np.zeros(n_tokens + 1, dtype=np.int64)
    np.add.at(inside, unit_first + 1, 1)
    np.add.at(inside, unit_last + 1, -1)
    between_units = np.cumsum(inside) == 0  # (T+1,) a cut before token t breaks no unit
    space = np.array([character.isspace() for character in text] + [True])
    # The space before a word belongs to its first token in some tokenizers, and to no token in
    # others; a window does not begin between a word and a token of its space.
    before = np.concatenate([[0], char_end[:-1]])  # (T,)
    at_space = space[char_start] | ((before < char_start) & space[np.maximum(char_start - 1, 0)])
    between_words = between_units & np.append(at_space, True)

    cuts = [0]
    while n_tokens - cuts[-1] > capacity:
        window = slice(cuts[-1] + 1, cuts[-1] + capacity + 1)
        for allowed in (between_words, between_units):
            candidates = np.flatnonzero(allowed[window])
            if len(candidates):
                cuts.append(cuts[-1] + 1 + int(candidates[-1]))
                break
        else:
            cuts.append(cuts[-1] + capacity)
    return [*cuts, n_tokens]
