"""Methods that give a head a number: what stands in the column ``method``."""

from __future__ import annotations

from dataclasses import dataclass

PROBE = "probe"
"""The method of all rows that name none: tables from before there was a second one."""


@dataclass(frozen=True)
class Method:
    """One way to ask what a head does."""

    name: str
    """As in the column ``method``."""
    label: str
    """In titles and captions."""
    signed: bool = False
    """Whether values below 0 say as much as values above: colours then diverge from an anchor at 0.
    Otherwise each metric has its own anchor, and what is worse than that says nothing."""
    oriented: str = ""
    """What a large value means, as a sentence."""
    better: str = "higher"
    """Which values are ranked first: ``higher``, ``lower``, or ``larger`` in absolute value."""
    effects: tuple[str, ...] = ()
    """Which of ``total`` (later layers react) and ``direct`` effects it measures."""


METHODS = {
    method.name: method
    for method in (
        Method(PROBE, "probe", oriented="The feature can be decoded from the head's output."),
    )
}
