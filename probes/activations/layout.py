"""How a cache looks on disk: file names, the header of a layer's file, the manifest.

The format is plain safetensors and JSON, so that anyone can read it without this project.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probes.activations.dtypes import DTYPES
from probes.core.errors import UserError
from probes.core.files import ALIGNMENT, digest

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
ROWS = "rows.safetensors"
ROW_FIELDS = ("unit", "example", "window", "first_token", "last_token")


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a cache: what its file holds."""

    stream: str
    """encoder, decoder or cross."""
    layer: int
    """Index of the layer in its stream of the model; hybrid models skip numbers."""
    units: int
    """Heads; 1 for whole-layer sites."""
    width: int
    """Numbers per row and unit: d_head, or d_model for whole-layer sites."""
    file: str


def layer_file(stream: str, layer: int, *, single_stream: bool) -> str:
    """``layer_000.safetensors``, with the stream before it where a model has several."""
    name = f"layer_{layer:03d}.safetensors"
    return name if single_stream else f"{stream}.{name}"


def header(units: int, rows: int, width: int, dtype: str) -> bytes:
    """The bytes before the numbers in the file of tensor ``z``, of shape (units, rows, width)."""
    name, n_bytes = DTYPES[dtype].safetensors, data_bytes(units, rows, width, dtype)
    return _header({"z": (name, [units, rows, width], n_bytes)})


def rows_header(rows: int) -> bytes:
    """The bytes before the numbers in the rows' file: one int32 tensor for each row field."""
    return _header({field: ("I32", [rows], 4 * rows) for field in ROW_FIELDS})


def _header(tensors: dict[str, tuple[str, list[int], int]]) -> bytes:
    """A safetensors header; tensors follow in this order, as (dtype, shape, bytes)."""
    description, offset = {}, 0
    for name, (dtype, shape, n_bytes) in tensors.items():
        offsets = [offset, offset + n_bytes]
        description[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        offset += n_bytes
    text = json.dumps(description, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def data_bytes(units: int, rows: int, width: int, dtype: str) -> int:
    """Bytes of the numbers of one layer."""
    return units * rows * width * DTYPES[dtype].itemsize


def seal(content: dict[str, Any]) -> bytes:
    """A JSON object as a file, with a checksum over the rest of it."""
    body = {key: value for key, value in content.items() if key != "checksum"}
    body["checksum"] = digest(body)
    return json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"


def sealed(content: dict[str, Any]) -> bool:
    """Whether a JSON object has the checksum of the rest of it."""
    body = {key: value for key, value in content.items() if key != "checksum"}
    return bool(content.get("checksum") == digest(body))


def damaged(path: Path, what: str) -> UserError:
    """The error for a cache that must not be used."""
    return UserError(
        f"activation cache {path} is damaged: {what}",
        # Never to delete it: the path may be what a file of somebody else names.
        fix="cache_dir=ANOTHER_DIRECTORY, which extracts anew",
    )


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a cache directory, checked for its own integrity.

    Raises:
        UserError: if it is missing, no JSON object, changed, of a newer schema, or names sizes or
            files that no cache of ours has.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise damaged(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"not JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise damaged(path, "not a JSON object")
    version = manifest.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(
            f"activation cache {directory} has schema version {version}",
            allowed=f"up to {SCHEMA_VERSION}",
            fix="a newer version of headprobes, or another cache_dir",
        )
    if not sealed(manifest):
        raise damaged(path, "its checksum differs from its content")
    try:
        _check_types(manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"unexpected content ({error!r})") from error
    return manifest


def layers_of(manifest: dict[str, Any]) -> list[LayerInfo]:
    """The layers that a checked manifest lists."""
    return [LayerInfo(**entry) for entry in manifest["head_map"]]


def head_map(layers: list[LayerInfo]) -> list[dict[str, Any]]:
    """The layers as the manifest stores them."""
    return [asdict(layer) for layer in layers]


def _check_types(manifest: dict[str, Any]) -> None:
    """Refuse what would make a reader open other files or allocate absurd sizes."""
    if manifest["dtype"] not in DTYPES:
        raise ValueError(f"dtype {manifest['dtype']!r}")
    if type(manifest["complete"]) is not bool:
        raise TypeError("complete must be true or false")
    numbers = [manifest["rows"]]
    if not isinstance(manifest["head_map"], list) or not manifest["head_map"]:
        raise TypeError("head_map must be a list of layers")
    single = len({entry["stream"] for entry in manifest["head_map"]}) == 1
    for entry in manifest["head_map"]:
        if not re.fullmatch(r"[a-z_]{1,40}", entry["stream"]):
            raise ValueError(f"stream {entry['stream']!r}")
        if type(entry["layer"]) is not int or not 0 <= entry["layer"] < 100_000:
            raise ValueError(f"layer {entry['layer']!r}")
        if entry["file"] != layer_file(entry["stream"], entry["layer"], single_stream=single):
            raise ValueError(f"file {entry['file']!r}")
        if set(entry) != {"stream", "layer", "units", "width", "file"}:
            raise ValueError(f"fields {sorted(entry)}")
        numbers += [entry["units"], entry["width"]]
    if len({entry["file"] for entry in manifest["head_map"]}) < len(manifest["head_map"]):
        raise ValueError("a layer appears twice")
    if any(type(number) is not int or number < 1 for number in numbers):
        raise ValueError("sizes must be positive integers")
    if not isinstance(manifest["files"], dict) or not isinstance(manifest["fields"], dict):
        raise TypeError("files and fields must be objects")
