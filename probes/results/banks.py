"""Save and load banks: ``probes.safetensors`` has the tensors, ``probes.json`` says what they are.

Loading reads JSON and safetensors only and believes neither: names, shapes, dtypes and the
checksum must agree, so that a damaged or tampered file is an error and not a wrong probe.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from probes.core.files import parse_json, write_atomically
from probes.results.integrity import NO_DIGESTS, Digests, damaged, read_checked
from probes.training.bank import SHAPES, ProbeBank, concatenate

SCHEMA_VERSION = 1
TENSORS, DESCRIPTION = "probes.safetensors", "probes.json"
_TOP = {"schema_version", "base_model", "sha256", "banks"}
_FIELDS: dict[str, type] = {
    "name": str,
    "kind": str,
    "feature": str,
    "classes": list,
    "site": str,
    "stream": str,
    "layer": int,
    "heads": list,
    "problem": str,
    "probe": str,
    "choice": list,
    "shapes": dict,
}


@dataclass(frozen=True)
class SavedBanks:
    """What a run saved: its banks and the model they belong to."""

    banks: tuple[ProbeBank, ...]
    base_model: dict[str, Any]
    """``name`` and ``fingerprint`` of the model whose activations the probes take."""


def save_banks(
    directory: Path | str, banks: Iterable[ProbeBank], base_model: dict[str, Any]
) -> None:
    """Write all banks; those that share a key (chunks of one layer) become one.

    The description is renamed into place last: without it the tensors count for nothing.
    """
    directory = Path(directory)
    chunks: dict[str, list[ProbeBank]] = {}
    for bank in banks:
        chunks.setdefault(bank.key, []).append(bank)
    whole = {key: concatenate(parts) for key, parts in chunks.items()}
    tensors = {
        f"{key}/{name}": tensor.detach().cpu().contiguous()
        for key, bank in whole.items()
        for name, tensor in bank.tensors.items()
    }
    # Not save_file: its files are readable by their owner only, and its errors are of its own type.
    raw = save(tensors)
    write_atomically(directory / TENSORS, raw)
    description = {
        "schema_version": SCHEMA_VERSION,
        "base_model": base_model,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "banks": [describe_bank(bank) for bank in whole.values()],
    }
    write_atomically(directory / DESCRIPTION, json.dumps(description, indent=1) + "\n")


def load_banks(directory: Path | str, *, files: Digests = NO_DIGESTS) -> SavedBanks:
    """Read what ``save_banks`` wrote.

    files: checksums of the run's record; none: of an earlier version.

    Keys that this version does not know are left out with a warning.

    Raises:
        UserError: a file is missing or damaged, or the two do not agree.
    """
    directory = Path(directory)
    description = _read_description(directory / DESCRIPTION, files)
    path = directory / TENSORS
    raw = read_checked(path, files)
    if hashlib.sha256(raw).hexdigest() != description["sha256"]:
        raise damaged(path, f"its sha256 is not the one in {DESCRIPTION}")
    try:
        tensors = load(raw)
    except SafetensorError as error:
        raise damaged(path, f"it is not a safetensors file ({error})") from error
    banks = tuple(rebuild_bank(entry, tensors, path) for entry in description["banks"])
    if tensors:
        raise damaged(path, f"{DESCRIPTION} does not describe tensor '{next(iter(tensors))}'")
    return SavedBanks(banks, description["base_model"])


def describe_bank(bank: ProbeBank) -> dict[str, Any]:
    """What a bank is, as JSON: all of it but the tensors."""
    return {
        "name": bank.key,
        "kind": bank.kind,
        "feature": bank.feature,
        "classes": list(bank.classes),
        "site": bank.site,
        "stream": bank.stream,
        "layer": bank.layer,
        "heads": list(bank.heads),
        "problem": bank.problem,
        "probe": bank.probe,
        "choice": list(bank.choice),
        "shapes": {name: list(tensor.shape) for name, tensor in bank.tensors.items()},
    }


def _read_description(path: Path, files: Digests) -> dict[str, Any]:
    description: dict[str, Any] = parse_json(read_checked(path, files), path)
    if not description.keys() >= _TOP:
        raise damaged(path, f"it needs the keys {', '.join(sorted(_TOP))}")
    version = description["schema_version"]
    if not isinstance(version, int) or version < 1:
        raise damaged(path, f"schema_version is {version!r}, not a positive integer")
    wanted: dict[str, type] = {"base_model": dict, "sha256": str, "banks": list}
    for key, kind in wanted.items():
        if not isinstance(description[key], kind):
            raise damaged(path, f"{key} is not a {kind.__name__}")
    _warn_unknown(path, description.keys() - _TOP)
    for entry in description["banks"]:
        if not isinstance(entry, dict):
            raise damaged(path, "an entry of banks is not an object")
        for key, kind in _FIELDS.items():
            value = entry.get(key)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise damaged(path, f"bank {entry.get('name')!r}: {key} is {value!r}")
        _warn_unknown(path, entry.keys() - _FIELDS.keys())
    return description


def rebuild_bank(entry: dict[str, Any], tensors: dict[str, torch.Tensor], path: Path) -> ProbeBank:
    """A bank from ``describe_bank``, its tensors taken out of ``tensors``, where their names begin
    with its own.

    path: the file that messages name.

    Raises:
        UserError: the two do not agree, or numbers are not finite.
    """
    name = entry["name"]
    if entry["kind"] not in SHAPES:
        raise damaged(path, f"bank '{name}' is of kind '{entry['kind']}'")
    if not all(isinstance(c, str) for c in entry["classes"]) or len(entry["classes"]) < 2:
        raise damaged(path, f"bank '{name}': classes is not a list of two or more strings")
    if not all(type(h) is int and h >= 0 for h in entry["heads"]):
        raise damaged(path, f"bank '{name}': heads is not a list of indices")
    if not all(type(c) in (int, float) for c in entry["choice"]):
        raise damaged(path, f"bank '{name}': choice is not a list of numbers")
    own = {}
    for part in SHAPES[entry["kind"]]:
        tensor = tensors.pop(f"{name}/{part}", None)
        if tensor is None or list(tensor.shape) != entry["shapes"].get(part):
            found = "missing" if tensor is None else f"of shape {list(tensor.shape)}"
            raise damaged(path, f"tensor '{name}/{part}' is {found}")
        if not torch.isfinite(tensor).all():
            raise damaged(path, f"tensor '{name}/{part}' is not finite")
        own[part] = tensor
    try:
        bank = ProbeBank(
            **{key: entry[key] for key in ("kind", "feature", "site", "stream", "layer")},
            classes=tuple(entry["classes"]),
            heads=tuple(entry["heads"]),
            tensors=own,
            problem=entry["problem"],
            probe=entry["probe"],
            choice=tuple(entry["choice"]),
        )
    except ValueError as error:
        raise damaged(path, f"bank '{name}': {error}") from error
    if bank.key != name:
        raise damaged(path, f"bank '{name}' calls itself '{bank.key}'")
    return bank


def _warn_unknown(path: Path, keys: Iterable[str]) -> None:
    if keys := sorted(keys):
        warnings.warn(f"{path}: unknown keys ignored: {', '.join(keys)}", stacklevel=4)
