"""Messages of transformers while it reads a model: silenced, or turned into one error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers.utils import logging

from probes.core.errors import UserError


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' tables and bars; what matters of them is raised as an error instead."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # Of attention-only models: their feed-forward parts are matrices of no numbers.
            warnings.filterwarnings("ignore", message="Initializing zero-element")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Turn what transformers raises while it reads a part of a model into a ``UserError``."""
    try:
        yield
    except UserError:
        raise
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"model.name={name} does not fit into memory ({_first_line(error)})",
            fix="model.dtype=bfloat16 or model.device_map=auto",
        ) from error
    except Exception as error:
        reason = _first_line(error)
        if "trust_remote_code" in str(error):
            raise UserError(
                f"model.name={name} brings code of its own, which would be executed",
                fix="model.trust_remote_code=true if you trust it",
            ) from error
        local = Path(name).expanduser().is_dir() or name == "minilm"
        if local or what != "config" or not isinstance(error, OSError):
            raise UserError(f"model.name={name}: its {what} cannot be read ({reason})") from error
        raise UserError(
            f"model.name={name}: no such directory, and not found on the Hub or, when offline, "
            f"in its local cache ({reason})",
            fix="model.name=DIRECTORY, a Hub id that exists, or minilm",
        ) from error


def _first_line(error: Exception) -> str:
    """The first line of an exception's message, without the advice in the lines after it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    # "Validation error for field 'x':" goes on in the next line.
    return " ".join([first, *lines[1:2]] if first.endswith(":") else [first]).rstrip(".")
