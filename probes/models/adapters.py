"""PEFT adapters beside a model or in place of one: what transformers applies on top of weights."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.core.files import read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    """An adapter in a local directory."""

    directory: Path
    base: str | None
    """The model that it was trained on, as its config names it: a directory or Hub id."""
    revision: str | None
    """Of a base on the Hub."""

    @property
    def alone(self) -> bool:
        """Whether the directory holds the adapter without a model, which is then its ``base``."""
        return not (self.directory / "config.json").is_file()

    @property
    def files(self) -> list[Path]:
        """What the adapter's numbers depend on."""
        return [self.directory / ADAPTER_CONFIG, self.directory / ADAPTER_WEIGHTS]


def find_adapter(settings: ModelConfig, directory: Path) -> Adapter | None:
    """The adapter in the directory of ``settings``; None where there is none.

    Raises:
        UserError: where it cannot be applied: no peft, pickled weights, a damaged config.
    """
    path = directory / ADAPTER_CONFIG
    if not path.is_file():
        return None
    config = read_json(path)
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    adapter = Adapter(
        directory,
        base if isinstance(base, str) and base else None,
        revision if isinstance(revision, str) and revision else None,
    )
    if settings.random_init:  # nothing is applied to fresh weights
        return adapter
    require_peft(settings.name, adapter.base)
    if not (directory / ADAPTER_WEIGHTS).is_file():
        raise UserError(
            f"model.name={settings.name}: {ADAPTER_CONFIG} is there, and {ADAPTER_WEIGHTS} is "
            "missing",
            allowed="adapters in safetensors format",
            fix=_without(adapter.base),
        )
    return adapter


def require_peft(name: str, base: str | None) -> None:
    """Raise ``UserError`` where adapters cannot be applied: the model would be its base alone."""
    if importlib.util.find_spec("peft") is None:
        raise UserError(
            f"model.name={name} holds an adapter ({ADAPTER_CONFIG}), and peft, which applies it, "
            "is not installed",
            fix=f"pip install peft; {_without(base)} for the base model",
        )


def _without(base: str | None) -> str:
    return f"model.name={base or 'BASE_MODEL'}"


@contextlib.contextmanager
def bare(directory: Path) -> Iterator[Path]:
    """A directory with the same files but the adapter's: transformers tells about weights that are
    missing only where it loads no adapter after them."""
    with tempfile.TemporaryDirectory(prefix="headprobes-") as temporary:
        for path in directory.iterdir():
            if not path.name.startswith("adapter_"):
                (Path(temporary) / path.name).symlink_to(path.resolve())
        yield Path(temporary)


def apply_adapter(model: Any, adapter: Adapter, name: str) -> None:
    """Apply an adapter to a loaded model as transformers does, its weights beside the model's.

    Raises:
        UserError: where some of its weights are missing: they would be random numbers.
    """
    info = model.load_adapter(str(adapter.directory))
    missing = sorted(getattr(info, "missing_keys", ()))  # transformers 4 tells nothing
    if missing:
        raise UserError(
            f"model.name={name}: {ADAPTER_WEIGHTS} lacks {len(missing)} weights of the adapter: "
            f"{', '.join(missing[:3])}",
            fix=_without(adapter.base),
        )
