"""Shards of a map joined: equal to the whole, and refused where they do not belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from probes.core.errors import UserError
from probes.statistics.groups import Groups
from probes.statistics.maps import MapEvidence, RightRows
from probes.statistics.merge import merge_rows, merge_units

UNITS, N = 6, 40
RANDOM = np.random.default_rng(0)
EFFECTS, RIGHT = RANDOM.normal(size=(UNITS, N)), RANDOM.random((UNITS, N)) < 0.5
REFERENCE, GROUP = RANDOM.random(N) + 1, np.sort(RANDOM.integers(0, 8, N)) * 5
VALIDATION = RANDOM.normal(size=(UNITS, 20))


def evidence(
    units: slice = slice(None), rows: slice = slice(None), validation: slice = slice(None)
) -> MapEvidence:
    """Effects of some units on some rows."""
    groups = Groups.of(GROUP[rows])
    numbers = np.arange(UNITS)[units]
    return MapEvidence(
        feature="f",
        site="heads",
        probe="mean",
        units=np.stack([numbers // 2, numbers % 2], axis=1).astype(np.int32),
        streams=("decoder",) * len(numbers),
        groups=groups.names.astype(np.int64),
        rows=groups.sizes,
        totals=groups.sum(EFFECTS[units, rows]),
        validation=VALIDATION[units, validation].mean(axis=1),
        method="ablation",
        reference=groups.sum(REFERENCE[rows]),
        validation_rows=VALIDATION[units, validation].shape[1],
        right=RightRows.of(RIGHT[units, rows], rows=np.arange(N)[rows]),
    )


def assert_equal(first: MapEvidence, second: MapEvidence) -> None:
    for name in ("units", "groups", "rows"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_allclose(first.totals, second.totals)
    np.testing.assert_allclose(first.validation, second.validation)
    np.testing.assert_allclose(first.sums().value(), second.sums().value())
    assert first.key == second.key and first.keys == second.keys
    assert first.right is not None and second.right is not None
    np.testing.assert_array_equal(first.right.unpacked(), second.right.unpacked())
    assert first.validation_rows == second.validation_rows


def test_layers_join_to_the_whole_map() -> None:
    parts = [evidence(slice(0, 2)), evidence(slice(2, 3)), evidence(slice(3, 6))]
    assert_equal(merge_units(parts, expected=evidence().keys), evidence())


def test_shards_of_rows_join_to_the_whole_map() -> None:
    """In any order; a group may be divided between two shards."""
    shards = {
        2: evidence(rows=slice(25, 40), validation=slice(12, 20)),
        0: evidence(rows=slice(0, 9), validation=slice(0, 5)),
        1: evidence(rows=slice(9, 25), validation=slice(5, 12)),
    }
    assert_equal(merge_rows(shards, count=3), evidence())


def test_counts_stay_counts() -> None:
    shards = {
        number: replace(
            evidence(rows=rows),
            totals=Groups.of(GROUP[rows]).sum(RIGHT[:, rows]).astype(np.int64),
            reference=None,
        )
        for number, rows in enumerate((slice(0, 17), slice(17, 40)))
    }
    merged = merge_rows(shards, count=2)
    assert merged.totals.dtype == np.int64
    np.testing.assert_allclose(merged.sums().value(), RIGHT.mean(axis=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda part: replace(part, feature="g"), "is another map than"),
        (lambda part: replace(part, method="patching"), "is another map than"),
        (lambda part: replace(part, groups=part.groups + 1), "different rows"),
        (lambda part: replace(part, rows=part.rows + 1), "different rows"),
        (lambda part: replace(part, reference=part.reference * 2), "different rows"),
        (lambda part: replace(part, reference=None), "normalised by a reference"),
        (lambda part: replace(part, right=None), "which rows were right"),
        (
            lambda part: replace(part, right=replace(part.right, rows=part.right.rows + 1)),
            "of other rows",
        ),
        (lambda part: replace(part, totals=part.totals.astype(np.int64)), "sums of effects"),
        (lambda _: evidence(slice(0, 1)), r"1 unit \(decoder 0.0\) in more than one part"),
        (lambda _: evidence(slice(3, 5)), r"1 unit \(decoder 2.1\) in no part"),
    ],
)
def test_parts_that_do_not_belong_together(
    change: Callable[[MapEvidence], MapEvidence], message: str
) -> None:
    parts = [evidence(slice(0, 3)), change(evidence(slice(3, 6)))]
    with pytest.raises(UserError, match=message):
        merge_units(parts, expected=evidence().keys)


def test_a_unit_that_the_map_does_not_have() -> None:
    with pytest.raises(UserError, match=r"decoder 2.1.*in a part, but not in the map"):
        merge_units([evidence()], expected=evidence().keys[:-1])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [((0, 2), "shard 1 of 3 is missing"), ((0, 1, 2, 3), "shard 3 of 3 is not one of them")],
)
def test_missing_and_foreign_shards(numbers: tuple[int, ...], message: str) -> None:
    parts = {number: evidence(rows=slice(number * 10, number * 10 + 10)) for number in numbers}
    with pytest.raises(UserError, match=message):
        merge_rows(parts, count=3)


def test_shards_of_other_units_or_with_a_row_twice() -> None:
    first = evidence(rows=slice(0, 20))
    with pytest.raises(UserError, match="different units"):
        merge_rows({0: first, 1: evidence(slice(0, 4), rows=slice(20, 40))}, count=2)
    with pytest.raises(UserError, match="a row occurs in more than one shard"):
        merge_rows({0: first, 1: evidence(rows=slice(19, 40))}, count=2)
