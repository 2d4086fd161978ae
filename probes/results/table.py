"""The tidy results table of a run: one row for one number.

The first thirteen columns are a contract (``COLUMNS``): columns are added to a table, never
renamed. Evidence for a value (``p_value``, ``q_value``, ``l2``, ...) stands in further columns, the
recall of each class in rows whose metric is ``recall:<class>``. Which values ``site``, ``method``
and ``probe`` have is in ``probes.results.vocabulary``; unknown metrics and columns are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from probes.core.errors import UserError, closest
from probes.core.files import atomic_path
from probes.results.vocabulary import quantity_kind
from probes.results.vocabulary.comparators import is_comparator
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.sites import CORPUS, HEADS

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
)
ADDED = ("method",)
"""Columns that tables written by earlier versions do not have."""
TEXT = ("feature", "site", "method", "probe", "stream", "split", "metric")
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
    with atomic_path(Path(path)) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")


def read_results(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read ``results.csv`` back; further columns are kept as they are.

    Raises:
        UserError: the file is missing, is no table, or lacks a contracted column.
    """
    types: dict[Any, Any] = {**dict.fromkeys(TEXT, str), **dict.fromkeys(WHOLE, "Int64")}
    try:
        # A feature or class may be called "NA" or "null": only empty cells are missing.
        table = pd.read_csv(
            path,
            dtype=types,
            keep_default_na=False,
            na_values=[""],
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file", fix="the directory of a finished run") from None
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"{path}: not a table of results ({error})") from None
    missing = [c for c in COLUMNS if c not in table.columns and c not in ADDED]
    if missing:
        raise UserError(f"{path}: not a table of results, without column {', '.join(missing)}")
    try:
        return results_table(cast(list[dict[str, Any]], table.to_dict("records")))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a table of results ({error})") from None


def features(table: pd.DataFrame) -> list[str]:
    """The features in the order of the table."""
    return distinct(table, "feature")


def main_site(table: pd.DataFrame, method: str = PROBE) -> str:
    """The site that the run was about: the heads, else the whole-layer site it was asked for."""
    sites = [
        site for site in distinct(table, "site", where(table, method=method)) if site != CORPUS
    ]
    return HEADS if HEADS in sites or not sites else sites[0]


def main_probe(table: pd.DataFrame, site: str, method: str = PROBE) -> str:
    """The kind of probe (or the variant of another method) that the run is about at this site.

    That is the one which is no comparator of the vocabulary; rows of other methods do not count.
    """
    probes = distinct(table, "probe", where(table, site=site, method=method))
    return next((p for p in probes if not is_comparator(p)), probes[0] if probes else "linear")


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


def pick(table: pd.DataFrame, **wanted: str | int | None) -> pd.DataFrame:
    """The rows in which each of these columns has that value; ``None`` asks for nothing.

    >>> table = results_table([{"feature": "upos", "value": 0.5}, {"feature": "tense"}])
    >>> pick(table, feature="upos", split=None)["value"].tolist()
    [0.5]
    """
    return table[where(table, **wanted)]


def where(table: pd.DataFrame, **wanted: str | int | None) -> npt.NDArray[np.bool_]:
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


def of_feature(table: pd.DataFrame, feature: str) -> pd.DataFrame:
    """The rows of one feature, with text as categories: a map asks for dozens of their subsets.

    Raises:
        UserError: the feature is not in the table; the message has the names there are.
    """
    known = table["feature"].dtype
    if isinstance(known, pd.CategoricalDtype) and list(known.categories) == [feature]:
        return table
    rows = pick(table, feature=feature)
    if rows.empty:
        names = features(table)
        raise UserError(
            f"feature '{feature}' is not in these results",
            allowed=", ".join(names),
            fix=f"'{closest(feature, names)}'" if names else "",
        )
    return rows.astype(dict.fromkeys(TEXT, "category"))


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


def top_heads(
    table: pd.DataFrame,
    feature: str,
    k: int = 5,
    *,
    metric: str = "accuracy",
    site: str | None = None,
    probe: str | None = None,
) -> pd.DataFrame:
    """The ``k`` heads that are best on validation, with what they reach on test.

    Choosing and reporting on different rows is what keeps the best of a thousand heads honest.

    Returns:
        Columns ``stream, layer, head, validation, test, ci_low, ci_high, n`` and the evidence
        columns of the table; best first, ties in the order of layers and heads.

    Raises:
        UserError: the feature is unknown, or has no validation values of this metric.
    """
    table = of_feature(table, feature)
    site = site or main_site(table)
    probe = probe or main_probe(table, site)
    rows = pick(table, site=site, probe=probe, metric=metric)
    place = ["stream", "layer", "head"]
    chosen_on = pick(rows, split="validation").drop_duplicates(place).dropna(subset=["value"])
    if chosen_on.empty:
        raise UserError(
            f"'{feature}' has no validation values of metric '{metric}' at site '{site}'",
            allowed=", ".join(pick(table, site=site, split="validation")["metric"].unique()),
        )
    chosen_on = chosen_on[[*place, "value"]].rename(columns={"value": "validation"})
    reported = pick(rows, split="test").drop_duplicates(place)
    extra = [c for c in table.columns if c not in COLUMNS and reported[c].notna().any()]
    reported = reported[[*place, "value", "ci_low", "ci_high", "n", *extra]]
    reported = reported.rename(columns={"value": "test"})
    chosen_on["stream"] = chosen_on["stream"].astype(str)
    reported["stream"] = reported["stream"].astype(str)
    joined = chosen_on.merge(reported, on=place, how="left")
    lower_is_better = is_lower_better(metric)
    joined = joined.sort_values(
        ["validation", *place], ascending=[lower_is_better, True, True, True], kind="stable"
    )
    return joined.head(k).reset_index(drop=True)


def is_lower_better(metric: str) -> bool:
    """Whether small values of this metric are the good ones."""
    return quantity_kind(metric).lower_is_better


def corpus_baseline(
    table: pd.DataFrame,
    feature: str,
    probe: str = "majority",
    *,
    metric: str = "accuracy",
    split: str = "test",
) -> float | None:
    """The value of a baseline of the corpus (majority, lexical, ...), or None without one."""
    rows = pick(table, feature=feature, site="corpus", probe=probe, metric=metric, split=split)
    return float(rows["value"].iloc[0]) if len(rows) else None
