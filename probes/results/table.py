"""The tidy results table of a run: one row for one number.

The first thirteen columns are a contract (``COLUMNS``): columns are added to a table, never
renamed. Evidence for a value (``p_value``, ``q_value``, ``l2``, ...) stands in further columns, the
recall of each class in rows whose metric is ``recall:<class>``. Which values ``site``, ``method``
and ``probe`` have is in ``probes.results.vocabulary``; unknown metrics and columns are kept.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from probes.core.errors import UserError
from probes.core.files import atomic_path
from probes.results.integrity import NO_DIGESTS, Digests, damaged, read_checked
from probes.results.vocabulary.methods import PROBE

ACCURACY = "accuracy"
COLUMNS = (
    "feature",
    "site",
    "probe",
    "stream",
    "layer",
    "head",
    "split",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "method",
    "effect",
    "positions",
)
ADDED = ("method", "effect", "positions")
"""Columns that tables written by earlier versions do not have."""
OF_EFFECTS = ("effect", "positions")
"""Columns that a file has only where a method fills them."""
NUMBERS = (
    "p_value",
    "p_familywise",
    "q_value",
    "p_control",
    "p_control_familywise",
    "q_control",
    "l2",
    "strength",
    "heads_steered",
)
"""Further columns that hold numbers."""
LARGEST, LARGEST_COUNT = 100_000, 2**40
"""No model has as many layers or heads in a layer, no corpus as many rows."""
TEXT = ("feature", "site", "method", "probe", "effect", "positions", "stream", "split", "metric")
WHOLE = ("layer", "head", "n")


def results_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The table of these rows, with the contracted columns first and their types settled.

    ``layer``, ``head`` and ``n`` are nullable integers; text that is missing is empty, but for
    ``method``, which is ``probe`` unless a row says otherwise.

    >>> results_table([{"feature": "upos", "site": "corpus", "probe": "majority", "split": "test",
    ...                 "metric": "accuracy", "value": 0.2}])["layer"].isna().item()
    True
    """
    table = pd.DataFrame(list(rows))
    table = table.reindex(columns=[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)])
    for column in TEXT:
        table[column] = table[column].astype(object).where(table[column].notna(), "").astype(str)
    table["method"] = table["method"].where(table["method"] != "", PROBE)
    for column in WHOLE:
        table[column] = pd.to_numeric(table[column]).astype("Int64")
    for column in ("value", "ci_low", "ci_high"):
        table[column] = pd.to_numeric(table[column]).astype("float64")
    return table


def write_results(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write ``results.csv``: never half a table."""
    empty = [name for name in OF_EFFECTS if name in table and (table[name] == "").all()]
    with atomic_path(Path(path)) as temporary:
        table.drop(columns=empty).to_csv(temporary, index=False, float_format="%.8g")


def read_results(path: str | os.PathLike[str], *, files: Digests = NO_DIGESTS) -> pd.DataFrame:
    """Read ``results.csv`` back; further columns are kept as they are.

    files: checksums of the record that the table belongs to; none: of an earlier version.

    Raises:
        UserError: the file is missing, is no table, lacks a contracted column, differs from its
            checksum, or has numbers that no run has.
    """
    path = Path(path)
    raw = read_checked(path, files, fix="the directory of a finished run")
    if raw and not raw.endswith(b"\n"):
        raise damaged(path, "its last line is cut short")
    types: dict[Any, Any] = {**dict.fromkeys(TEXT, str), **dict.fromkeys(WHOLE, "Int64")}
    try:
        # A feature or class may be called "NA" or "null": only empty cells are missing.
        table = pd.read_csv(
            io.BytesIO(raw),
            dtype=types,
            keep_default_na=False,
            na_values=[""],
        )
    except (ValueError, TypeError, OverflowError) as error:  # pandas' parser errors: ValueErrors
        raise UserError(f"{path}: not a table of results ({error})") from None
    missing = [c for c in COLUMNS if c not in table.columns and c not in ADDED]
    if missing:
        raise UserError(f"{path}: not a table of results, without column {', '.join(missing)}")
    try:
        table = results_table(cast(list[dict[str, Any]], table.to_dict("records")))
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a table of results ({error})") from None
    _check_numbers(table, path)
    return table


def _check_numbers(table: pd.DataFrame, path: Path) -> None:
    """Refuse layers, heads and counts that cannot be, and text or infinity among numbers."""
    for column, largest in (("layer", LARGEST), ("head", LARGEST), ("n", LARGEST_COUNT)):
        cells = table[column].dropna()
        if len(cells) and not (cells.min() >= 0 and cells.max() < largest):
            raise damaged(path, f"column {column} has {cells.min()} to {cells.max()}")
    for column in ("value", "ci_low", "ci_high", *(c for c in NUMBERS if c in table)):
        cells = table[column].dropna()
        if not pd.api.types.is_numeric_dtype(cells) and len(cells):
            raise damaged(path, f"column {column} has text among its numbers")
        if len(cells) and not np.isfinite(cells.to_numpy(dtype=np.float64)).all():
            raise damaged(path, f"column {column} has infinite numbers")


def features(table: pd.DataFrame) -> list[str]:
    """The features in the order of the table."""
    return distinct(table, "feature")


def distinct(
    table: pd.DataFrame, column: str, rows: npt.NDArray[np.bool_] | None = None
) -> list[str]:
    """What occurs in a column of text, or in these of its rows, in the order of the table.

    >>> distinct(results_table([{"feature": "upos"}, {"feature": "tense"}]), "feature")
    ['upos', 'tense']
    """
    cells = table[column].array
    if isinstance(cells, pd.Categorical):  # whose codes are quicker to compare than its values
        codes = pd.unique(cells.codes if rows is None else cells.codes[rows])
        return [str(cells.categories[int(code)]) for code in codes if code >= 0]
    return [str(name) for name in pd.unique(cells if rows is None else cells[rows])]


def pick(table: pd.DataFrame, **wanted: str | float | None) -> pd.DataFrame:
    """The rows in which each of these columns has that value; ``None`` asks for nothing.

    >>> table = results_table([{"feature": "upos", "value": 0.5}, {"feature": "tense"}])
    >>> pick(table, feature="upos", split=None)["value"].tolist()
    [0.5]
    """
    return table[where(table, **wanted)]


def where(table: pd.DataFrame, **wanted: str | float | None) -> npt.NDArray[np.bool_]:
    """(rows,) whether each of these columns has that value; ``None`` asks for nothing."""
    keep = np.ones(len(table), dtype=bool)
    for column, value in wanted.items():
        if value is None:
            continue
        cells = table[column]
        if isinstance(cells.array, pd.Categorical):
            known = cells.array.categories
            keep &= cells.array.codes == (known.get_loc(value) if value in known else -2)
        else:
            keep &= (cells == value).fillna(False).to_numpy(dtype=bool)
    return keep


def layers_by_heads(rows: pd.DataFrame, column: str = "value") -> pd.DataFrame:
    """One number for each head of one stream: ``(layers, heads)``, ascending.

    Heads that a layer does not have are NaN. Whole-layer sites have one column, named after the
    site. Of several rows for one head the first counts.
    """
    layer, head, value = (
        rows[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("layer", "head", column)
    )
    known = ~np.isnan(layer)
    whole = bool(np.isnan(head[known]).all())
    if whole:
        head = np.zeros_like(layer)
    known &= ~np.isnan(head)
    layers, row = np.unique(layer[known].astype(np.int64), return_inverse=True)
    heads, cell = np.unique(head[known].astype(np.int64), return_inverse=True)
    grid = np.full((len(layers), len(heads)), np.nan)
    grid[row[::-1], cell[::-1]] = value[known][::-1]  # the first of several rows is written last
    names = distinct(rows, "site", known) if whole else heads.tolist()
    return pd.DataFrame(
        grid,
        index=pd.Index(layers.tolist(), name="layer"),
        columns=pd.Index(names[: grid.shape[1]], name="head"),
    )
