"""GGUF files as checkpoints: unpacked once by transformers, then read from ``cache_dir``.

``<cache_dir>/gguf/<file>-<key>/`` holds config, tokenizer and chat template of a file, and
``<file>-<key>-<dtype>/`` a whole Hugging Face checkpoint in a dtype. The key is a hash of the
file's content and the version of transformers, which decides what the file is unpacked to. Each
is made under ``<name>.partial`` and renamed when it is complete; ``gguf.json`` has the hashes of
its files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from probes.config import ModelConfig
from probes.config.names import slug
from probes.core.errors import UserError
from probes.core.files import digest, disk_errors, locked, read_json, sync_directory
from probes.models.checkpoints import file_hash
from probes.models.gguf_file import TOKENS, GgufHeader, read_header, truncated
from probes.models.hf_messages import explained, quiet

log = logging.getLogger(__name__)

ABOUT = "gguf.json"
SCHEMA = 1
SPACE = 1 << 30
"""Bytes that a disk should have left, for the message when it has not."""
BFLOAT16_FILE = 32
"""``general.file_type`` of files whose weights were not quantised but stored in bfloat16."""


@dataclass(frozen=True)
class ConvertedGguf:
    """A GGUF file whose config and tokenizer are stored as transformers reads them."""

    name: str
    """As the user gave it."""
    file: Path
    sha256: str
    directory: Path
    """Of config and tokenizer."""

    def weights(self, dtype: str, auto: Any) -> Path:
        """The checkpoint with the weights, unpacked if that was not done before.

        dtype: what they are stored in; float64 is read from float32, which holds as much.
        auto: the class of transformers that opens the model with its head, or its body where it
        has none.

        Raises:
            UserError: gguf or accelerate are not installed, the file is damaged or incomplete, or
                transformers cannot unpack it.
        """
        stored = "float32" if dtype == "float64" else dtype

        def write(directory: Path) -> None:
            log.info("%s is unpacked to %s, once; it is kept in %s", self.file.name, stored, folder)
            _checked_header(self.file, self.name)
            model = self._unpacked(stored, auto)
            fresh = _fresh_copy(model)
            with quiet():
                fresh.save_pretrained(directory)
            for path in self.directory.iterdir():
                if path.name not in (ABOUT, "config.json"):
                    shutil.copy2(path, directory / path.name)

        folder = self.directory.with_name(f"{self.directory.name}-{stored}")
        _store(folder, self.file, write)
        return folder

    def _unpacked(self, dtype: str, auto: Any) -> Any:
        config = transformers.AutoConfig.from_pretrained(self.directory, local_files_only=True)
        options: dict[str, Any] = {"dtype": getattr(torch, dtype), "output_loading_info": True}
        if hasattr(transformers, "GgufConfig"):  # where it could keep the weights packed
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        with quiet(), _no_bars(), _explained(self.name, self.file, "weights"):
            model, info = auto.from_pretrained(
                self.file.parent, gguf_file=self.file.name, config=config, **options
            )
        missing = sorted(info["missing_keys"])
        if missing:
            raise UserError(
                f"model.name={self.name}: {self.file.name} lacks {len(missing)} weights of "
                f"{type(model).__name__}, which would be random: {', '.join(missing[:3])}",
                fix="another GGUF file, or model.random_init=true if random weights are wanted",
            )
        return model


def convert_gguf(settings: ModelConfig, file: Path, cache_dir: Path) -> ConvertedGguf:
    """Config and tokenizer of a GGUF file, read once by transformers and then from ``cache_dir``.

    Raises:
        UserError: gguf or accelerate are not installed, the file is damaged, its architecture is
            none that transformers can unpack, or it has no tokenizer.
    """
    sha256 = file_hash(file)
    key = digest({"schema": SCHEMA, "file": sha256, "transformers": transformers.__version__})
    folder = cache_dir / "gguf" / f"{slug(file.stem)}-{key[:16]}"

    def write(directory: Path) -> None:
        log.info("config and tokenizer of %s are read, once; kept in %s", file.name, folder)
        header = _checked_header(file, settings.name)
        _require_tokenizer(header, file)
        _warn_of_rotary_factors(header, file)
        source, options = file.parent, {"gguf_file": file.name, "local_files_only": True}
        with quiet(), _no_bars(), _explained(settings.name, file, "config"):
            config = transformers.AutoConfig.from_pretrained(source, **options)
        with quiet(), _no_bars(), _explained(settings.name, file, "tokenizer"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, config=config, **options)
        _restore(config, header)
        config.save_pretrained(directory)
        tokenizer.save_pretrained(directory)

    _store(folder, file, write)
    return ConvertedGguf(settings.name, file, sha256, folder)


# --- what a file must be -----------------------------------------------------------------------


def _checked_header(file: Path, name: str) -> GgufHeader:
    """The header of a file that is complete, where the packages that read it are installed."""
    missing = [p for p in ("gguf", "accelerate") if importlib.util.find_spec(p) is None]
    if missing:
        raise UserError(
            f"model.name={name}: reading a GGUF file needs the "
            f"package{'s' if len(missing) > 1 else ''} {' and '.join(missing)}",
            fix="pip install headprobes[gguf]",
        )
    from gguf.constants import GGML_QUANT_SIZES  # of the extra gguf

    header = read_header(file)
    whole = header.end({int(kind): size for kind, size in GGML_QUANT_SIZES.items()})
    if header.size < whole:
        raise truncated(file, header.size, f"its tensors end at byte {whole:,}")
    return header


def _require_tokenizer(header: GgufHeader, file: Path) -> None:
    if TOKENS not in header.fields:
        raise UserError(
            f"{file}: the GGUF file has no tokenizer ({TOKENS} is missing)",
            fix="another file of this model; llama.cpp's convert_hf_to_gguf.py puts the tokenizer "
            "in",
        )


def _warn_of_rotary_factors(header: GgufHeader, file: Path) -> None:
    if any(tensor.name == "rope_freqs.weight" for tensor in header.tensors):
        log.warning(
            "%s stretches its rotary positions (rope_freqs, as Llama 3.1 and later), which "
            "transformers does not read from GGUF files: numbers differ from those of the "
            "original checkpoint",
            file,
        )


@contextlib.contextmanager
def _explained(name: str, file: Path, what: str) -> Iterator[None]:
    """One message for what transformers raises while it reads a part of a GGUF file."""
    try:
        with explained(name, what):
            yield
    except UserError as error:
        cause = str(error.__cause__ or "")
        if "is not supported yet" not in cause and "Unknown gguf model_type" not in cause:
            raise
        architecture = read_header(file).architecture
        raise UserError(
            f"model.name={name}: transformers {transformers.__version__} cannot unpack GGUF files "
            f"of architecture {architecture!r}",
            allowed=", ".join(supported_architectures()),
            fix="model.name=ID_OR_DIRECTORY of the original checkpoint",
        ) from error


def supported_architectures() -> list[str]:
    """Architectures whose GGUF files transformers can unpack, under its own names."""
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    names = {str(name) for name in GGUF_SUPPORTED_ARCHITECTURES} - {"general", "tokenizer"}
    with contextlib.suppress(ImportError):  # transformers before 5.20 has one list
        from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS

        names |= set(GGUF_CONFIG_ARCHS)
    return sorted(names)


# --- what transformers makes of it -------------------------------------------------------------


def _restore(config: Any, header: GgufHeader) -> None:
    """Give a config the numbers that the model was trained with.

    A GGUF file stores numbers in 32 bits: 1e-5 comes back as 9.999999747378752e-06. The shortest
    number that is stored as the same 32 bits is the one that was meant.
    """
    for name, value in list(vars(config).items()):
        if not name.startswith("_"):
            setattr(config, name, _meant(value))
    config._name_or_path = ""
    config.dtype = "bfloat16" if header.fields.get("general.file_type") == BFLOAT16_FILE else None


def _meant(value: Any) -> Any:
    """The shortest number in place of a 32-bit one, inside dictionaries and lists too.

    >>> _meant({"eps": 9.999999747378752e-06, "theta": 100000.0, "range": 0.02})
    {'eps': 1e-05, 'theta': 100000.0, 'range': 0.02}
    """
    if isinstance(value, dict):
        return {key: _meant(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_meant(one) for one in value)
    if isinstance(value, float) and math.isfinite(value) and float(np.float32(value)) == value:
        return float(str(np.float32(value)))
    return value


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Silence the progress bar of the unpacking, which no setting of transformers turns off."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def _fresh_copy(model: Any) -> Any:
    """The same weights in a model that knows nothing of its file: the other refuses to be saved."""
    config = type(model.config).from_dict(model.config.to_dict())
    for name in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(config, name):
            delattr(config, name)
    config.dtype = model.dtype
    with torch.device("meta"):
        fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict(), assign=True)
    fresh.tie_weights()
    return fresh


# --- folders that are complete or absent -------------------------------------------------------


def _store(folder: Path, file: Path, write: Callable[[Path], None]) -> None:
    """Make a folder by ``write``, unless it is there and undamaged; one process at a time."""
    if _complete(folder):
        return
    with disk_errors(folder.parent, SPACE):
        folder.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"another run is unpacking {file.name}; waiting for it"
        with locked(folder.with_name(folder.name + ".lock"), wait_message=waiting):
            if _complete(folder):  # another process may have made it meanwhile
                return
            if folder.exists():
                log.warning("%s is damaged; it is made again from %s", folder, file)
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            write(partial)
            hashes = {path.name: file_hash(path) for path in sorted(partial.iterdir())}
            about = {"schema": SCHEMA, "file": str(file), "sha256": file_hash(file)}
            about["transformers"] = transformers.__version__
            (partial / ABOUT).write_text(json.dumps(about | {"files": hashes}, indent=1))
            for path in partial.iterdir():
                with path.open("rb") as opened:
                    os.fsync(opened.fileno())
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)
            sync_directory(folder.parent)
            _complete(folder)  # remembers the hashes under the names that files have now


def _complete(folder: Path) -> bool:
    """Whether all files of a folder are there with the content that was written."""
    try:
        files = read_json(folder / ABOUT)["files"]
        assert isinstance(files, dict)
        return all(file_hash(folder / name) == sha256 for name, sha256 in files.items())
    except (UserError, OSError, KeyError, AssertionError):
        return False
