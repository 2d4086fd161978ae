"""What the files of one run say of each other, where its record has no checksums.

Records of earlier versions have none. Their files are compared with each other instead: heads and
classes that the record does not know, maps with holes, counts above the number of rows, and
accuracies that the sums by group do not give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probes.results.integrity import damaged
from probes.results.record import RunRecord
from probes.results.vocabulary.methods import PROBE
from probes.results.vocabulary.sites import HEADS
from probes.statistics.maps import MapEvidence

if TYPE_CHECKING:
    from probes.results.banks import SavedBanks  # torch: seconds, which a table does not need

ROUNDED = 1e-6
"""Values in a table have eight digits."""
SHARES = r"(accuracy|balanced_accuracy|macro_f1|control_accuracy|recall:.*)"
"""Metrics between 0 and 1."""
PROBABILITIES = ("p_value", "p_familywise", "q_value", "p_control", "q_control")


def check_table(table: pd.DataFrame, record: RunRecord, path: Path) -> None:
    """Refuse a table that is not of the run that the record describes.

    Raises:
        UserError: what contradicts the record.
    """
    for problem in _of_table(table, record):
        raise damaged(path, problem)


def check_banks(saved: SavedBanks, record: RunRecord, path: Path) -> None:
    """Refuse probes of another model, of heads it does not have, or of other classes.

    Raises:
        UserError: what contradicts the record.
    """
    known = _heads(record)
    fingerprint = saved.base_model.get("fingerprint")
    if fingerprint != record.model.fingerprint or saved.base_model.get("name") != record.model.name:
        raise damaged(path, "its probes are of another model than the run")
    for bank in saved.banks:
        task = record.tasks.get(bank.feature)
        heads = known.get((bank.stream, bank.layer), 0)
        if task is None or (bank.is_real and list(bank.classes) != task.classes):
            raise damaged(path, f"bank '{bank.key}' has another feature or classes than the run")
        if heads == 0 or (bank.site == HEADS and max(bank.heads, default=0) >= heads):
            raise damaged(path, f"bank '{bank.key}' has heads that the model has not")


def check_evidence(
    maps: Iterable[MapEvidence], record: RunRecord, table: pd.DataFrame, path: Path
) -> None:
    """Refuse sums of units that the model does not have, or that contradict the table.

    Raises:
        UserError: what contradicts record or table.
    """
    for evidence in maps:
        for problem in _of_evidence(evidence, record, table):
            raise damaged(path, f"map of '{evidence.feature}': {problem}")


def _of_table(table: pd.DataFrame, record: RunRecord) -> Iterator[str]:
    known = _heads(record)
    if set(table["feature"]) != set(record.tasks):
        yield "it has other features than its run"
    rows = table[table["layer"].notna()]
    for stream, layer in rows[["stream", "layer"]].drop_duplicates().itertuples(index=False):
        if (stream, int(layer)) not in known:
            yield f"the model has no layer {stream} {layer}"
    for feature, task in record.tasks.items():
        most = sum(n for counts in task.counts.values() for n in counts)
        if int(table.loc[table["feature"] == feature, "n"].max(skipna=True) or 0) > most:
            yield f"more rows of '{feature}' than the run has"
    shares = table.loc[table["metric"].str.fullmatch(SHARES), "value"]
    if not shares.dropna().between(0, 1).all():
        yield "a share that is not between 0 and 1"
    for column in PROBABILITIES:
        if column in table and not table[column].dropna().between(0, 1).all():
            yield f"column {column} is not between 0 and 1"
    yield from _of_heads(rows[(rows["site"] == HEADS) & rows["head"].notna()], known)


def _of_heads(rows: pd.DataFrame, known: dict[tuple[str, int], int]) -> Iterator[str]:
    for stream, layer, head in (
        rows[["stream", "layer", "head"]].drop_duplicates().itertuples(index=False)
    ):
        if int(head) >= known.get((stream, int(layer)), 0):
            yield f"the model has no head {layer}.{head} ({stream})"
    probed = rows[(rows["method"] == PROBE) & (rows["metric"] == "accuracy")]
    names = ["feature", "probe", "split"]
    for (feature, probe, split), rows_of in probed.groupby(names, observed=True):
        if len(rows_of) != sum(known.values()):
            yield f"{len(rows_of)} heads have an accuracy of '{feature}' ({probe}, {split})"


def _of_evidence(evidence: MapEvidence, record: RunRecord, table: pd.DataFrame) -> Iterator[str]:
    units, groups = len(evidence.units), len(evidence.groups)
    shapes = (evidence.units.shape, evidence.rows.shape, evidence.totals.shape)
    if shapes != ((units, 2), (groups,), (units, groups)) or len(evidence.streams) != units:
        yield "its arrays do not fit each other"
        return
    known = _heads(record)
    for stream, layer, head in evidence.keys:
        heads = known.get((stream, layer), 0)
        if heads == 0 or (evidence.site == HEADS and not 0 <= head < heads):
            yield f"the model has no head {layer}.{head} ({stream})"
    if np.issubdtype(evidence.totals.dtype, np.floating):
        return
    if (evidence.totals < 0).any() or (evidence.totals > evidence.rows).any():
        yield "more right answers than rows"
    wanted = {"feature": evidence.feature, "site": evidence.site, "probe": evidence.probe}
    rows = table[(table["split"] == "test") & (table["metric"] == "accuracy")]
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    shares = evidence.totals.sum(axis=1) / max(int(evidence.rows.sum()), 1)
    by_unit = dict(zip(evidence.keys, shares, strict=True))
    cells = rows[["stream", "layer", "head", "value"]].to_numpy(dtype=object)
    for stream, layer, head, value in cells.tolist():
        head = 0 if pd.isna(head) else head
        share = None if pd.isna(layer) else by_unit.get((stream, int(layer), int(head)))
        if share is not None and not abs(share - value) < ROUNDED:
            yield f"it gives {layer}.{head} {share:.6g} right, results.csv {value}"


def _heads(record: RunRecord) -> dict[tuple[str, int], int]:
    """How many heads each layer has."""
    return {
        (stream.name, layer): heads
        for stream in record.model.streams
        for layer, heads in zip(stream.layers, stream.heads, strict=True)
    }
