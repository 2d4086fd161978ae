"""One map from the evidence of its shards: some of the units each, or some of the rows each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from probes.core.errors import UserError
from probes.statistics.groups import Array, Groups
from probes.statistics.maps import MapEvidence, RightRows, Unit


def merge_units(
    parts: Sequence[MapEvidence], *, expected: Collection[Unit] | None = None
) -> MapEvidence:
    """Join evidence of different layers or heads, on the same rows; the units in the order given.

    expected: all units that the map must have in the end; ``None``: whatever the parts have.

    Raises:
        UserError: the parts belong to different maps or report different rows, a unit occurs
            twice, or an expected unit is missing.
    """
    first = parts[0]
    for part in parts[1:]:
        _require_same_map(first, part)
        same_rows = np.array_equal(first.groups, part.groups) and np.array_equal(
            first.rows, part.rows
        )
        if not same_rows or not _equal(first.reference, part.reference):
            raise UserError(
                f"{_name(part)}: two parts of the map report on different rows",
                allowed="parts of one run: the same corpus, split and seed",
            )
    units = [unit for part in parts for unit in part.keys]
    twice = [unit for unit, count in Counter(units).items() if count > 1]
    if twice:
        raise UserError(f"{_name(first)}: {_listed(twice)} in more than one part")
    if expected is not None:
        missing = [unit for unit in expected if unit not in set(units)]
        if missing:
            raise UserError(f"{_name(first)}: {_listed(missing)} in no part")
        foreign = [unit for unit in units if unit not in set(expected)]
        if foreign:
            raise UserError(f"{_name(first)}: {_listed(foreign)} in a part, but not in the map")
    return replace(
        first,
        units=np.concatenate([part.units for part in parts]),
        streams=tuple(stream for part in parts for stream in part.streams),
        totals=np.concatenate([part.totals for part in parts]),
        validation=np.concatenate([part.validation for part in parts]),
        weights=_weights_of_units(parts),
        right=_right_of_units(parts),
    )


def merge_rows(parts: Mapping[int, MapEvidence], *, count: int) -> MapEvidence:
    """Join evidence of the same units on different rows: totals of a group are added.

    Validation values are means over the shards' validation rows, so they are averaged in proportion
    to ``validation_rows``; a shard without such rows (0) has no say.

    parts: by the number of the shard.
    count: number of shards that the rows were divided into.

    Raises:
        UserError: a shard is missing or not one of ``count``, or the parts belong to different maps
            or have different units.
    """
    missing = [number for number in range(count) if number not in parts]
    foreign = [number for number in parts if not 0 <= number < count]
    first = next(iter(parts.values()))
    if missing or foreign:
        numbers = ", ".join(map(str, missing or foreign))
        raise UserError(
            f"{_name(first)}: shard {numbers} of {count} is "
            + ("missing" if missing else "not one of them"),
            allowed=f"each of the shards 0 to {count - 1} once",
        )
    ordered = [parts[number] for number in range(count)]
    for part in ordered[1:]:
        _require_same_map(first, part)
        if part.keys != first.keys:
            raise UserError(f"{_name(part)}: the shards have different units")
    groups = Groups.of(np.concatenate([part.groups for part in ordered]))
    totals = groups.sum(np.concatenate([part.totals for part in ordered], axis=1))
    references = [part.reference for part in ordered if part.reference is not None]
    return replace(
        first,
        groups=groups.names.astype(np.int64),
        rows=groups.sum(np.concatenate([part.rows for part in ordered])).astype(np.int64),
        totals=totals.astype(first.totals.dtype),
        validation=_mean_validation(ordered),
        validation_rows=sum(part.validation_rows for part in ordered),
        reference=groups.sum(np.concatenate(references)) if references else None,
        right=_right_of_rows(ordered),
    )


def _require_same_map(first: MapEvidence, other: MapEvidence) -> None:
    if first.key != other.key:
        raise UserError(f"{_name(other)} is another map than {_name(first)}")
    if first.totals.dtype != other.totals.dtype:
        raise UserError(f"{_name(other)}: one part holds counts of rows, another sums of effects")
    if (first.reference is None) != (other.reference is None):
        raise UserError(f"{_name(other)}: only some of the parts are normalised by a reference")
    if (first.right is None) != (other.right is None):
        raise UserError(f"{_name(other)}: only some of the parts say which rows were right")


def _mean_validation(parts: Sequence[MapEvidence]) -> Array:
    """(H,) over the validation rows of all parts; NaN without any."""
    counted = [part for part in parts if part.validation_rows]
    if not counted:
        return np.full(len(parts[0].units), np.nan)
    weights = [part.validation_rows for part in counted]
    return np.average([part.validation for part in counted], axis=0, weights=weights)


def _weights_of_units(parts: Sequence[MapEvidence]) -> Array | None:
    """(H,) of a map of which some part is a sample; the units of other parts were certain."""
    if all(part.weights is None for part in parts):
        return None
    return np.concatenate(
        [np.ones(len(part.units)) if part.weights is None else part.weights for part in parts]
    )


def _right_of_units(parts: Sequence[MapEvidence]) -> RightRows | None:
    every = [part.right for part in parts if part.right is not None]
    if not every:
        return None
    if any(not np.array_equal(right.rows, every[0].rows) for right in every):
        raise UserError(f"{_name(parts[0])}: the parts keep which rows were right of other rows")
    return replace(every[0], bits=np.concatenate([right.bits for right in every]))


def _right_of_rows(parts: Sequence[MapEvidence]) -> RightRows | None:
    every = [part.right for part in parts if part.right is not None]
    if not every:
        return None
    rows = np.concatenate([right.rows for right in every])
    if len(np.unique(rows)) != len(rows):
        raise UserError(f"{_name(parts[0])}: a row occurs in more than one shard")
    return RightRows.of(np.concatenate([r.unpacked() for r in every], axis=1), rows=rows)


def _equal(first: Array | None, second: Array | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _name(evidence: MapEvidence) -> str:
    return f"map of {' / '.join(part for part in evidence.key if part)}"


def _listed(units: Sequence[Unit]) -> str:
    """How many units there are, with the first three.

    >>> _listed([("decoder", 0, 1)] * 5)
    '5 units (decoder 0.1, decoder 0.1, decoder 0.1, ...)'
    """
    names = [f"{stream} {layer}.{head}" for stream, layer, head in units[:3]]
    more = ["..."] if len(units) > 3 else []
    return f"{len(units)} unit{'s' * (len(units) > 1)} ({', '.join([*names, *more])})"
