from __future__ import annotations

import itertools

import numpy as np
import pytest

from probes.passes.windows import cut_points


def characters(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Every character a token, spaces too."""
    return np.arange(len(text)), np.arange(len(text)) + 1


def letters(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Every character but the spaces a token."""
    start = np.array([i for i, character in enumerate(text) if character != " "])
    return start, start + 1


def test_cuts_fall_between_words() -> None:
    text = "aaa bbb ccc"
    none = np.array([], dtype=np.int64)
    assert cut_points(text, *characters(text), none, none, 6) == [0, 3, 7, 11]
    assert cut_points(text, *letters(text), none, none, 5) == [0, 3, 6, 9]


def test_a_span_is_not_cut_at_its_spaces() -> None:
    text = "a b c d"
    first, last = np.array([2]), np.array([4])  # "b c"
    cuts = cut_points(text, *characters(text), first, last, 4)
    assert not any(2 < cut <= 4 for cut in cuts)


def test_without_spaces_cuts_fall_between_units() -> None:
    text = "x" * 10
    first, last = np.array([0, 3, 6]), np.array([2, 5, 9])
    assert cut_points(text, *characters(text), first, last, 5) == [0, 3, 6, 10]


def test_a_unit_longer_than_the_window_is_cut() -> None:
    text = "x" * 10
    assert cut_points(text, *characters(text), np.array([0]), np.array([9]), 4) == [0, 4, 8, 10]


@pytest.mark.parametrize("seed", range(20))
def test_windows_are_within_capacity_and_maximal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list("ab  "), size=60))
    first = np.sort(rng.choice(60, size=8, replace=False))
    last = np.minimum(first + rng.integers(0, 3, size=8), 59)
    capacity = int(rng.integers(5, 12))
    cuts = cut_points(text, *characters(text), first, last, capacity)
    assert cuts[0] == 0 and cuts[-1] == 60

    def allowed(cut: int) -> bool:
        if any(f < cut <= z for f, z in zip(first, last, strict=True)):
            return False
        return cut == 60 or text[cut] == " "

    for begin, end in itertools.pairwise(cuts):
        assert 0 < end - begin <= capacity
        better = [c for c in range(begin + 1, min(begin + capacity, 60) + 1) if allowed(c)]
        assert end == max(better, default=end)
