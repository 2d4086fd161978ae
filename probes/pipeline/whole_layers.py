"""Which layers get whole-layer probes: all heads of a layer together, and the residual stream.

They are the larger part of the fits of a deep model, and their profile over depth is smooth: a
sample of layers shows it, and the layers of the best heads are what these are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence

from probes.statistics.maps import Layer

MOST = 12
"""Layers of a stream up to which ``auto`` takes every one, and how many it takes of more."""


def is_sampled(choice: str, heads: Sequence[Layer]) -> bool:
    """Whether not every layer is taken.

    choice: ``baseline.all_heads`` or ``baseline.residual``. heads: the layers whose heads are
    probed.
    """
    return choice == "auto" and bool(_deep(heads))


def sampled_layers(choice: str, heads: Sequence[Layer]) -> frozenset[Layer] | None:
    """The layers that are taken whatever the heads give; None: every layer.

    Of a stream with more than ``MOST`` layers so many, evenly spread, the first and the last among
    them; of other streams all.

    >>> layers = sampled_layers("auto", [("decoder", layer) for layer in range(30)])
    >>> sorted(layer for _, layer in layers)
    [0, 3, 5, 8, 11, 13, 16, 18, 21, 24, 26, 29]
    """
    if not is_sampled(choice, heads):
        return None
    deep = _deep(heads)
    kept = {layer for layer in heads if layer[0] not in deep}
    for stream in deep:
        own = sorted(layer for layer in heads if layer[0] == stream)
        # Rounded half up: the same on every machine.
        kept |= {own[(2 * i * (len(own) - 1) + MOST - 1) // (2 * (MOST - 1))] for i in range(MOST)}
    return frozenset(kept)


def _deep(heads: Sequence[Layer]) -> set[str]:
    streams = [stream for stream, _ in heads]
    return {stream for stream in streams if streams.count(stream) > MOST}
