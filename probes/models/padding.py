"""Whether padding reaches real tokens: a text in a padded batch beside the same text alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from probes.core.errors import UserError
from probes.models.forward import token_offset
from probes.models.hf_config import Kind
from probes.models.sites import Site

Side = Literal["right", "left"]
Read = Mapping[Site, Tensor]
"""What passed at each site: (batch, tokens, units, width)."""

ALLOWED = {torch.float64: 0.01, torch.float32: 0.01, torch.float16: 0.05, torch.bfloat16: 0.1}
"""Relative difference of a token's vector that a batch may make by its shape alone."""


class PaddingError(UserError):
    """Padding changes a model's numbers. Everything else about its sites is right, so texts can be
    run one at a time."""


def padded(texts: Sequence[Sequence[int]], side: Side) -> tuple[Tensor, Tensor]:
    """Token ids and mask, (texts, longest) each, with 0 under the padding as in extraction.

    >>> padded([[5, 6], [7]], "left")[0].tolist()
    [[5, 6], [0, 7]]
    """
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        start = longest - len(text) if side == "left" else 0
        ids[row, start : start + len(text)] = torch.tensor(list(text))
        mask[row, start : start + len(text)] = 1
    return ids, mask


def check_padding(
    name: str,
    kind: Kind,
    alone: Read,
    batch: Read,
    text: int,
    *,
    row: int,
    side: Side,
    repeated: Callable[[], Read],
) -> None:
    """Compare the tokens of a text in row ``row`` of a padded batch with the text alone.

    name: of the model, in the message. text: its number of tokens. repeated: the text twice in a
    batch without padding, run only where rounding to 16 bits may be what differs.

    Raises:
        PaddingError: that names the site that differs most.
    """
    errors = {}
    for site, single in alone.items():
        offset, longest = token_offset(kind, site.stream), batch[site].shape[1]
        start = offset if side == "right" else longest - text
        of_row = batch[site][row, start : start + text]
        errors[site] = difference(of_row, single[0, offset : offset + text])
    site = max(errors, key=lambda s: errors[s] if errors[s] == errors[s] else float("inf"))
    dtype = alone[site].dtype
    if errors[site] <= ALLOWED[dtype]:
        return
    if dtype in (torch.float16, torch.bfloat16):
        offset = token_offset(kind, site.stream)
        twice = repeated()[site][1, offset : offset + text]
        if errors[site] <= 4 * difference(twice, alone[site][0, offset : offset + text]):
            return
    much = f"by {errors[site]:.0%}" if errors[site] == errors[site] else "to no number"
    raise PaddingError(
        f"{name}: padding on the {side} changes what {site.module} reads or puts out for the "
        f"tokens of a text ({much})",
        fix="extraction.tokens_per_batch=1, which runs one text at a time",
    )


def difference(one: Tensor, other: Tensor) -> float:
    """Largest relative difference of a token's vector, (tokens, units, width) each; NaN for NaN.

    Relative to the size of the token's vector, or to a tenth of the mean size where it is less.
    """
    where = torch.device("cpu") if one.device.type == "mps" else one.device
    one, other = (x.to(where).double().flatten(1) for x in (one, other))  # (T, H * D)
    size = other.norm(dim=1)  # (T,)
    size = torch.maximum(size, 0.1 * size.mean()).clamp(min=torch.finfo(torch.float64).tiny)
    return float(((one - other).norm(dim=1) / size).max())
