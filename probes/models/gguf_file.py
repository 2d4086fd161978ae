"""GGUF files: which one is meant, and what its header holds. Nothing here loads weights."""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from probes.config import ModelConfig
from probes.core.errors import UserError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9
TOKENS = "tokenizer.ggml.tokens"

Value = str | int | float | bool


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor is in the file."""

    name: str
    elements: int
    kind: int
    """The number of its type (float32, Q4_1, ...)."""
    offset: int
    """Bytes from the start of the data."""


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file tells before its data."""

    fields: dict[str, Value]
    """Metadata; of a list its length alone."""
    tensors: tuple[GgufTensor, ...]
    data_start: int
    size: int
    """Of the file, in bytes."""

    @property
    def architecture(self) -> str:
        """The name that llama.cpp gives the architecture: ``llama``, ``qwen3``, ..."""
        return str(self.fields.get("general.architecture", "none"))

    def end(self, block_sizes: dict[int, tuple[int, int]]) -> int:
        """The size that the whole file has.

        block_sizes: by type of tensor, elements and bytes of a block; others count as empty.
        """
        ends = [self.data_start]
        for tensor in self.tensors:
            elements, n_bytes = block_sizes.get(tensor.kind, (1, 0))
            ends.append(self.data_start + tensor.offset + tensor.elements // elements * n_bytes)
        return max(ends)


def find_gguf(settings: ModelConfig) -> Path | None:
    """The GGUF file that ``model.name`` and ``model.gguf_file`` mean; None for other models.

    A directory with a ``config.json`` is an ordinary checkpoint, unless ``gguf_file`` is set.

    Raises:
        UserError: no such file, several and no choice, or a model that comes in several files.
    """
    name, chosen = settings.name, settings.gguf_file
    path = Path(name).expanduser()
    if chosen is None and name.lower().endswith(".gguf") and not path.is_dir():
        if not path.is_file():
            raise UserError(
                f"model.name={name}: no such file",
                fix="model.name=FILE.gguf, or a Hub id without .gguf",
            )
        return _single(path, settings)
    if not path.is_dir():
        if chosen is not None:
            raise UserError(
                f"model.gguf_file={chosen}: model.name={name} is no directory",
                allowed="a local directory with GGUF files",
                fix=f"hf download {name} {chosen} --local-dir DIR, then model.name=DIR",
            )
        return None
    files = sorted(file.name for file in path.iterdir() if file.suffix.lower() == ".gguf")
    if chosen is not None:
        if not (path / chosen).is_file():
            raise UserError(
                f"model.gguf_file={chosen}: no such file in {name}",
                allowed=", ".join(files) or "none: the directory holds no GGUF file",
                fix=f"model.gguf_file={files[0]}" if files else "model.gguf_file=null",
            )
        return _single(path / chosen, settings)
    if (path / "config.json").is_file() or not files:
        return None
    if len(files) > 1:
        raise UserError(
            f"model.name={name} holds {len(files)} GGUF files",
            allowed=", ".join(files),
            fix=f"model.gguf_file={files[0]}",
        )
    return _single(path / files[0], settings)


def _single(path: Path, settings: ModelConfig) -> Path:
    if "-of-" in path.stem and path.stem.rpartition("-of-")[2].isdigit():
        raise UserError(
            f"model.name={settings.name}: {path.name} is one of several files of a model",
            allowed="models in one GGUF file",
            fix="joining them: llama-gguf-split --merge FIRST_FILE WHOLE.gguf",
        )
    if settings.revision is not None:
        raise UserError(
            f"model.revision={settings.revision}: only models of the Hub have revisions",
            fix="model.revision=null",
        )
    check_magic(path)
    return path


def check_magic(path: Path) -> None:
    """Raise ``UserError`` for a file that does not begin as GGUF files do."""
    with path.open("rb") as file:
        start = file.read(8)
    if start[:4] != MAGIC:
        raise UserError(
            f"{path}: no GGUF file, it begins with {start[:4]!r} and not with {MAGIC!r}",
            fix="another file; an unfinished download or a Git LFS pointer looks like this",
        )
    version = int.from_bytes(start[4:8], "little")
    if len(start) == 8 and version not in VERSIONS:
        raise UserError(
            f"{path}: GGUF version {version}",
            allowed=" and ".join(map(str, VERSIONS)) + ", little-endian",
            fix="converting the model again with a current llama.cpp",
        )


def read_header(path: Path) -> GgufHeader:
    """Metadata and table of tensors of a GGUF file.

    Raises:
        UserError: for another format, and for a file that ends inside its header.
    """
    check_magic(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(data).header()
        except (struct.error, UnicodeDecodeError, KeyError, OverflowError) as error:
            raise truncated(path, len(data), f"its header cannot be read: {error}") from None


def truncated(path: Path, size: int, what: str) -> UserError:
    """The error for a file that is damaged or not complete."""
    return UserError(
        f"{path}: the file is truncated or damaged ({size:,} bytes; {what})",
        fix="downloading it again",
    )


class _Reader:
    """Reads a header from its start to its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 4

    def header(self) -> GgufHeader:
        _, n_tensors, n_fields = self.numbers("IQQ")
        fields: dict[str, Value] = {}
        for _ in range(int(n_fields)):
            name = self.string()
            fields[name] = self.value(int(self.numbers("I")[0]))
        tensors = tuple(self.tensor() for _ in range(int(n_tensors)))
        alignment = int(fields.get("general.alignment", 32))
        start = -(-self.at // alignment) * alignment
        return GgufHeader(fields, tensors, start, len(self.data))

    def numbers(self, form: str) -> tuple[int | float | bool, ...]:
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def skip(self, n_bytes: int) -> None:
        if self.at + n_bytes > len(self.data):
            raise struct.error(f"{n_bytes} bytes after byte {self.at}")
        self.at += n_bytes

    def string(self) -> str:
        length = int(self.numbers("Q")[0])
        start = self.at
        self.skip(length)
        return self.data[start : self.at].decode()

    def value(self, kind: int) -> Value:
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.numbers(FORMATS[kind])[0]
        element, count = (int(number) for number in self.numbers("IQ"))
        if element == STRING:
            for _ in range(count):
                self.skip(int(self.numbers("Q")[0]))
        else:
            self.skip(count * struct.calcsize(f"<{FORMATS[element]}"))
        return count

    def tensor(self) -> GgufTensor:
        name = self.string()
        shape = self.numbers(f"{self.numbers('I')[0]}Q")
        kind, offset = self.numbers("IQ")
        return GgufTensor(name, math.prod(int(n) for n in shape), int(kind), int(offset))
