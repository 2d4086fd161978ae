"""Every config class of transformers that reads text: its streams and heads, or why it is refused.

``python -m benchmarks.model_families`` writes the table in ``docs/model_families.md`` from tiny
random models, one of each class; a test compares them.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto import modeling_auto

from benchmarks.tiny_configs import tiny_body, tiny_config
from probes.core.errors import UserError
from probes.models.forward import forward
from probes.models.handle import body_class
from probes.models.hf_config import model_kind
from probes.models.hf_messages import quiet
from probes.models.padding import PaddingError, padded
from probes.models.sites import Site, find_sites
from probes.models.verification import verify_sites

PAGE = Path(__file__).parent.parent / "docs" / "model_families.md"
BEGIN, END = "<!-- families: written by benchmarks/model_families.py -->\n", "<!-- /families -->\n"
MAPPINGS = ("CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "TEXT_ENCODING")
LARGEST = 20_000_000
"""Parameters of a model that counts as tiny."""


def model_types() -> list[str]:
    """The model types with text as input: those of language models and text encoders."""
    named = (getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES") for name in MAPPINGS)
    return sorted({model_type for names in named for model_type in names})


def row(model_type: str) -> str:
    """A line of the table."""
    try:
        with quiet(), warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            body = _body(model_type)
    except Exception as error:  # whatever a config class or its model raises
        why = f"no tiny model: {type(error).__name__}"
        return f"| `{model_type}` | not tried: {why} | |\n"
    try:
        sites, padding = _verified(body)
    except UserError as error:
        if isinstance(error.__cause__, RuntimeError):  # shapes that do not fit: of the tiny config
            return f"| `{model_type}` | not tried: its tiny model does not run | |\n"
        return f"| `{model_type}` | refused: {_short(error.wrong, body)} | |\n"
    return f"| `{model_type}` | {_streams(sites)} | {padding} |\n"


def table() -> str:
    """All rows under a header."""
    header = "| model type | heads, by stream | padding |\n|---|---|---|\n"
    return header + "".join(row(model_type) for model_type in model_types())


def with_table(page: str, text: str) -> str:
    """The page with this table between its marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + text + END + rest.split(END)[1]


def rows_of(page: str) -> dict[str, str]:
    """Model type -> its line in a page."""
    lines = page.split(BEGIN)[1].split(END)[0].splitlines(keepends=True)[2:]
    return {line.split("`")[1]: line for line in lines}


def _body(model_type: str) -> nn.Module:
    config = tiny_config(model_type)
    with torch.device("meta"):
        size = sum(p.numel() for p in body_class(config).from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size} parameters")
    return tiny_body(model_type)


def _verified(body: Any) -> tuple[list[Site], str]:
    sites = find_sites(body)
    try:
        verify_sites(body, sites)
    except PaddingError:
        return sites, "none: one text at a time"
    try:
        forward(body, model_kind(body.config), *padded([[5, 6, 7], [8, 9]], "left"))
        verify_sites(body, sites, padding=("left",))
    except UserError:  # positions are fixed, or padding changes the numbers
        return sites, "right"
    return sites, "either side"


def _streams(sites: list[Site]) -> str:
    """Heads and width of each stream, and the projection that they enter."""
    parts = []
    for stream in dict.fromkeys(site.stream for site in sites):
        of_stream = [site for site in sites if site.stream == stream]
        shapes = dict.fromkeys(f"{site.units} x {site.width}" for site in of_stream)
        names = dict.fromkeys(_name(site) for site in of_stream)
        parts.append(f"{stream} {', '.join(shapes)} ({', '.join(f'`{name}`' for name in names)})")
    return "; ".join(parts)


def _name(site: Site) -> str:
    """The path of the projection in its layer."""
    parts = site.module.split(".")
    last = max(i for i, part in enumerate(parts) if part.isdigit())
    return ".".join(parts[last + 1 :])


def _short(wrong: str, body: nn.Module) -> str:
    """What is wrong, without numbers that random weights give."""
    wrong = wrong.removeprefix(f"{type(body).__name__}: ").removeprefix(f"{type(body).__name__} ")
    return wrong.split(": where the attention")[0].replace("|", "/")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table()), encoding="utf-8")
