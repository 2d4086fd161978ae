"""Kinds of sites: what stands in the column ``site`` of a results table."""

from __future__ import annotations

import re
from dataclasses import dataclass

CORPUS, HEADS, ALL_HEADS, RESIDUAL = "corpus", "heads", "all_heads", "residual"
HEAD_SETS = "head_sets"

STREAMS = ("encoder", "decoder", "cross")
"""Parts of a model that have layers of their own, in the order in which maps show them."""


@dataclass(frozen=True)
class SiteKind:
    """One kind of place that numbers are about."""

    name: str
    """As in the column ``site``."""
    label: str
    """In legends and headers."""
    unit: str
    """What has a number of its own: ``head``, ``layer``, or nothing: the corpus, sets of heads."""

    @property
    def whole_layer(self) -> bool:
        """Whether a layer has one number."""
        return self.unit == "layer"


SITES = {
    site.name: site
    for site in (
        SiteKind(HEADS, "heads", "head"),
        SiteKind(RESIDUAL, "residual stream", "layer"),
        SiteKind("attention_output", "attention output", "layer"),
        SiteKind("mlp_output", "MLP output", "layer"),
        SiteKind(ALL_HEADS, "all heads", "layer"),
        SiteKind(CORPUS, "corpus", ""),
        SiteKind(HEAD_SETS, "sets of heads", ""),
    )
}


def is_whole_layer(site: str) -> bool:
    """Whether a layer has one number at this kind of site."""
    return site in SITES and SITES[site].whole_layer


def unit_of(site: str) -> str:
    """What has a number of its own at a kind of site, in a word.

    >>> unit_of("heads"), unit_of("residual")
    ('head', 'layer')
    """
    return "layer" if is_whole_layer(site) else "head"


def of_units(text: str, site: str) -> str:
    """A text of ours that is written of heads, as it reads for the units of a kind of site.

    Not for text of users, such as the description of their metric.

    >>> of_units("Heads are ranked; the best of all heads", "residual")
    'Layers are ranked; the best of all layers'
    """
    if not is_whole_layer(site):
        return text
    return re.sub(r"\b(h|H)ead(?=s?\b)", lambda m: "layer" if m[1] == "h" else "Layer", text)


def whole_layer_stream(stream: str) -> str:
    """The stream whose layers the heads of a stream are in: cross-attention is in the decoder's.

    >>> whole_layer_stream("cross"), whole_layer_stream("encoder")
    ('decoder', 'encoder')
    """
    return {"cross": "decoder"}.get(stream, stream)
