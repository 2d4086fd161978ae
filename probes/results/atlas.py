"""A finished atlas on disk: ``atlas.json``, and the table of all heads and features."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from probes.core.errors import UserError
from probes.core.files import read_json
from probes.results.integrity import check_seal, digests_of, has_content
from probes.results.table import read_results

SCHEMA = 1
RECORD, TABLE = "atlas.json", "atlas.csv"
REQUIRED = ("job", "corpus", "stages", "depth", "majority", "control", "score", "significant")


@dataclass(frozen=True)
class SavedAtlas:
    """``atlas.json`` and ``atlas.csv``."""

    directory: Path
    record: dict[str, Any]
    """What ``probes.atlas.publish`` writes: model, jobs, features, depths, what was left out."""
    table: pd.DataFrame

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.record["model"]["name"])

    @property
    def features(self) -> list[tuple[str, str]]:
        """(job, feature) of all that was probed, in the order of the atlas."""
        pairs = self.table[["job", "feature"]].drop_duplicates()
        return [(str(job), str(feature)) for job, feature in pairs.itertuples(index=False)]


def is_atlas(directory: str | os.PathLike[str]) -> bool:
    """Whether the directory holds a finished atlas (``atlas.json`` is written last)."""
    return has_content(Path(directory) / RECORD)


def load_atlas(directory: str | os.PathLike[str]) -> SavedAtlas:
    """Open a finished atlas.

    Raises:
        UserError: the directory holds no finished atlas, damaged files, or another schema.
    """
    directory = Path(directory)
    if not is_atlas(directory):
        raise UserError(
            f"{directory} holds no finished atlas (no {RECORD})",
            fix="the directory that experiment=atlas printed at its end",
        )
    record: dict[str, Any] = check_seal(read_json(directory / RECORD), directory / RECORD)
    if record.get("schema") != SCHEMA:
        raise UserError(
            f"{directory / RECORD}: schema {record.get('schema')!r}", allowed=str(SCHEMA)
        )
    if not isinstance(record.get("model"), dict) or "name" not in record["model"]:
        raise UserError(f"{directory / RECORD}: no record of an atlas, without its model")
    files = digests_of(record, directory / RECORD)
    table = read_results(directory / TABLE, files=files)
    missing = [column for column in REQUIRED if column not in table]
    if missing:
        raise UserError(f"{directory / TABLE}: no table of an atlas, without {', '.join(missing)}")
    table["significant"] = table["significant"].astype(str).str.lower() == "true"
    return SavedAtlas(directory, record, table)
