"""The layers of a model that is known and not loaded."""

from __future__ import annotations

from probes.config.layers import LayerChoice
from probes.models.handle import Handle
from probes.models.sites import Site, find_sites


def known_sites(handle: Handle, kind: str) -> list[Site]:
    """The sites of one kind, found in the model's structure without its weights.

    Raises:
        UserError: whatever ``find_sites`` refuses.
    """
    return find_sites(handle.skeleton(), kind, head_projection=handle.settings.head_projection)


def chosen_layers(layers: object, handle: Handle, kind: str) -> list[int] | None:
    """``layers`` of a configuration as numbers; None: all. Layers that a model lacks stay.

    kind: of the sites whose layers are counted. Only a stride needs the model's structure.

    Raises:
        UserError: it is no number, range or stride, and whatever ``find_sites`` refuses.
    """
    choice = LayerChoice.parse(layers)
    if choice is None:
        return None
    there = [] if choice.every is None else [s.layer for s in known_sites(handle, kind)]
    return choice.of(there)
