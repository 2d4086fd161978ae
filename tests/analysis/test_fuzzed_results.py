"""Results with changes under checksums that are right, as somebody may forge them, and damaged
bytes: one message, or the run as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from probes.core.errors import UserError
from probes.core.files import digest
from probes.results.banks import load_banks
from probes.results.evidence import load_evidence
from probes.results.integrity import DIGEST
from probes.results.integrity import FILES as DIGESTS
from probes.results.tensor_files import with_metadata
from tests.analysis.test_damage import FILES, intact, read_everything, without_checksums
from tests.mutations import EXAMPLES, STRIDES, changed_json, changed_text, fuzz, written

__all__ = ["intact"]


@pytest.fixture
def copy(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "run"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unknown keys
        yield


def sealed(content: Any) -> bytes:
    """With the right digest of itself."""
    if isinstance(content, dict):
        with suppress(ValueError, TypeError):
            content[DIGEST] = digest({k: v for k, v in content.items() if k != DIGEST})
    return written(content)


def fuzz_file(
    path: Path, examples: int, as_bytes: Callable[[Any], bytes], read: Callable[[], object]
) -> None:
    """Read changes of a JSON file: the file as it is can be read, and not every change of it."""
    content = json.loads(path.read_text())
    accepted: list[Any] = []

    def check(changed: Any) -> None:
        path.write_bytes(as_bytes(changed))
        with suppress(UserError):
            read()
            accepted.append(changed)

    check(content)
    assert len(accepted) == 1
    fuzz(changed_json(content), examples, check)
    assert len(accepted) < examples


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("old", [False, True])
def test_changed_records(copy: Path, examples: int, old: bool) -> None:
    if old:
        without_checksums(copy)
    fuzz_file(
        copy / "run.json", examples, written if old else sealed, lambda: read_everything(copy)
    )


@pytest.mark.parametrize("examples", EXAMPLES)
def test_changed_descriptions_of_probes(copy: Path, examples: int) -> None:
    fuzz_file(copy / "probes.json", examples, written, lambda: load_banks(copy))


@pytest.mark.parametrize("examples", EXAMPLES)
def test_changed_descriptions_of_evidence(copy: Path, examples: int) -> None:
    path = copy / "evidence.safetensors"
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
    maps = json.loads(metadata["maps"])
    without_checksums(copy)

    def check(changed: Any) -> None:
        path.write_bytes(with_metadata(raw, {**metadata, "maps": json.dumps(changed)}))
        with suppress(UserError):
            load_evidence(path)
            read_everything(copy)

    fuzz(changed_json(maps), examples, check)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_changed_tables(copy: Path, examples: int) -> None:
    """Of earlier versions, whose tables have no checksum; changes are in the first lines."""
    path = copy / "results.csv"
    without_checksums(copy)
    lines = path.read_text().splitlines(keepends=True)

    def check(changed: bytes) -> None:
        path.write_bytes(changed + "".join(lines[12:]).encode())
        with suppress(UserError):
            read_everything(copy)

    fuzz(changed_text("".join(lines[:12])), examples, check)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith("tensors")])
def test_bytes_of_a_header(copy: Path, name: str, stride: int) -> None:
    """Refused by the checksum of the record; of an earlier version read only if it is harmless."""
    path = copy / name
    content = path.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for number, place in enumerate(range(0, header, stride)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        if number % 40 == 0:
            with pytest.raises(UserError):
                read_everything(copy)
        if name == "probes.safetensors":
            _forge_checksum(copy / "probes.json", bytes(changed))
            with suppress(UserError):
                load_banks(copy)
        else:
            with suppress(UserError):
                load_evidence(path)


def _forge_checksum(path: Path, raw: bytes) -> None:
    content = json.loads(path.read_text())
    content["sha256"] = hashlib.sha256(raw).hexdigest()
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("stride", STRIDES)
def test_lengths_of_a_record(copy: Path, stride: int) -> None:
    path = copy / "run.json"
    content = path.read_bytes()
    assert DIGESTS.encode() in content
    for length in range(1, len(content.rstrip()), 7 * stride):
        path.write_bytes(content[:length])
        with pytest.raises(UserError):
            read_everything(copy)
