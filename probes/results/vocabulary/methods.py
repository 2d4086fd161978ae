"""Methods that give a head a number: what stands in the columns ``method`` and ``probe``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from probes.results.vocabulary.comparators import COMPARATORS, is_comparator

PROBE = "probe"
"""The method of all rows that name none: tables from before there was a second one."""


@dataclass(frozen=True)
class Variant:
    """One kind of a method: of probes ``linear`` and ``mlp``, as in the column ``probe``."""

    label: str
    """In titles and captions."""
    chosen: str = ""
    """What is chosen for each head on validation, as in ``the L2 penalty``."""


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
    variants: Mapping[str, Variant] = field(default_factory=dict)
    """Those with words of their own, by their name in the column ``probe``."""

    def variant(self, name: str) -> Variant:
        """The variant of this name; one without words of its own is called by its name.

        >>> METHODS["probe"].variant("mlp").label, METHODS["probe"].variant("ridge").label
        ('MLP probe', 'ridge probe')
        """
        return self.variants.get(name, Variant(f"{name} {self.label}"))


METHODS = {
    method.name: method
    for method in (
        Method(
            PROBE,
            "probe",
            oriented="The feature can be decoded from the head's output.",
            variants={
                "linear": Variant("linear probe", chosen="the L2 penalty"),
                "mlp": Variant("MLP probe", chosen="the number of epochs"),
                "custom": Variant("custom probe", chosen="the function's choice"),
            },
        ),
    )
}


def probe_label(probe: str, method: str = PROBE) -> str:
    """A value of the column ``probe`` in words, be it a variant or a comparator.

    >>> probe_label("linear"), probe_label("random_init")
    ('linear probe', 'random model')
    """
    if is_comparator(probe):
        return COMPARATORS[probe].label
    return METHODS[method].variant(probe).label
