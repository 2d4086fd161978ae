"""The choices above a sweep's table, by which its rows and maps are filtered in the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from probes.sweeps.lines import Line
from probes.sweeps.values import in_order

MOST_CHOICES = 60
"""Values of a key up to which there is a filter for it; the text field finds the others."""


@dataclass(frozen=True)
class Filter:
    """A choice above the table, and the values that it offers."""

    label: str
    column: str
    """Name of the attribute that holds the number of a row's value."""
    values: list[str]


def filters_of(keys: Sequence[str], lines: Sequence[Line]) -> list[Filter]:
    """One for each swept key, the features and the states that differ."""
    columns = {key: [line.settings[i] for line in lines] for i, key in enumerate(keys)}
    columns["feature "] = [line.feature for line in lines if line.feature]
    columns["status "] = [line.status for line in lines]
    values = {label: in_order(of_column) for label, of_column in columns.items()}
    return [
        Filter(label, f"f{number}", of_label)
        for number, (label, of_label) in enumerate(values.items())
        if 1 < len(of_label) <= MOST_CHOICES
    ]


def marks_of(filters: Sequence[Filter], keys: Sequence[str], line: Line) -> Markup:
    """Attributes with the number of each filter's value: numbers alone, so nothing to escape."""
    has: Mapping[str, str] = {
        **dict(zip(keys, line.settings, strict=True)),
        "feature ": line.feature,
        "status ": line.status,
    }
    marks = [
        f' data-{filter.column}="{filter.values.index(has[filter.label])}"'
        for filter in filters
        if has[filter.label] in filter.values
    ]
    return Markup("".join(marks)) + Markup(' data-job=""' if line.status == "finished" else "")
