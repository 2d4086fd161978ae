"""Methods that give a head a number: what stands in the columns ``method`` and ``probe``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from probes.results.vocabulary.comparators import COMPARATORS, is_comparator

TOTAL, DIRECT = "total", "direct"
"""Values of the column ``effect``."""
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
    above: str = ""
    """The same of values above 0, in a few words under the title of a map."""
    better: str = "higher"
    """Which values are ranked first: ``higher``, ``lower``, or ``larger`` in absolute value."""
    measure: str = "{}"
    """What a metric is called that was measured by this method, from the metric's own label."""
    effects: tuple[str, ...] = ()
    """Which of ``total`` (later layers react) and ``direct`` effects it measures, the one that is
    shown first in front."""
    tells: str = ""
    """What it tells of a head, for sentences that compare methods."""
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
            tells="what a head carries",
            variants={
                "linear": Variant("linear probe", chosen="the L2 penalty"),
                "mlp": Variant("MLP probe", chosen="the number of epochs"),
                "custom": Variant("custom probe", chosen="the function's choice"),
            },
        ),
        Method(
            "ablation",
            "ablation",
            signed=True,
            oriented="Clean minus ablated: above 0 the model does better with the head's own "
            "output, so the head helps; below 0 the head works against the answer.",
            above="above 0 the head helps",
            better="larger",
            measure="effect on {}",
            effects=(TOTAL, DIRECT),
            tells="what the model loses without it",
            variants={
                "mean": Variant("mean ablation"),
                "zero": Variant("zero ablation"),
                "mean_position": Variant("mean ablation by position"),
                "resample": Variant("resample ablation"),
            },
        ),
        Method(
            "patching",
            "patching",
            signed=True,
            oriented="Above 0 the head carries what makes the clean answer win; below 0 it carries "
            "what makes it lose. Noising is shown times -1, so that both directions read alike.",
            above="above 0 the head carries what makes the clean answer win",
            better="larger",
            measure="effect on {}",
            effects=(TOTAL, DIRECT),
            tells="what of the contrast passes through it",
            variants={
                "denoise": Variant("denoising patching"),
                "noise": Variant("noising patching"),
            },
        ),
        Method(
            "attribution",
            "attribution",
            signed=True,
            oriented="A linear estimate of the effect of patching or of mean ablation, from "
            "gradients, in the same sign: above 0 the head helps the answer.",
            above="above 0 the head helps",
            better="larger",
            measure="estimated effect on {}",
            effects=(TOTAL,),
            tells="what an edit would change, to first order",
            variants={
                "mean": Variant("attribution of mean ablation"),
                "denoise": Variant("attribution of denoising patching"),
                "noise": Variant("attribution of noising patching"),
                "integrated": Variant("integrated attribution"),
            },
        ),
        Method(
            "direct_logit",
            "direct logit attribution",
            signed=True,
            oriented="What the head itself writes towards the answer, through the final norm and "
            "the unembedding: above 0 towards the answer, below 0 towards the alternatives.",
            above="above 0 the head writes towards the answer",
            better="larger",
            measure="part of {}",
            effects=(DIRECT,),
            tells="what the head itself writes towards the answer",
            variants={"parts": Variant("direct logit attribution")},
        ),
        Method(
            "steering",
            "steering",
            signed=True,
            oriented="Steered minus clean: above 0 pushing the head's output along the direction "
            "makes the model do better, below 0 worse.",
            above="above 0 the push helps",
            better="larger",
            measure="change of {}",
            effects=(TOTAL,),
            tells="what pushing its output changes",
            variants={
                "mean_difference": Variant("steering along the class difference"),
                "probe": Variant("steering along the probe"),
            },
        ),
    )
}


def effect_order(effect: str, method: str) -> int:
    """Place of a value of the column ``effect`` among those that the method measures.

    >>> sorted(["direct", "", "total"], key=lambda effect: effect_order(effect, "ablation"))
    ['total', 'direct', '']
    """
    effects = METHODS[method].effects if method in METHODS else ()
    return effects.index(effect) if effect in effects else len(effects)


def method_order(method: str) -> int:
    """Place of a method among those of the vocabulary; unknown ones come last."""
    names = list(METHODS)
    return names.index(method) if method in names else len(names)


def has_effects(method: str) -> bool:
    """Whether a method measures both total and direct effects, so that each must be named."""
    return method in METHODS and len(METHODS[method].effects) > 1


def is_signed(method: str) -> bool:
    """Whether values of a method below 0 say as much as those above."""
    return method in METHODS and METHODS[method].signed


def probe_label(probe: str, method: str = PROBE) -> str:
    """A value of the column ``probe`` in words, be it a variant or a comparator.

    >>> probe_label("linear"), probe_label("random_init")
    ('linear probe', 'random model')
    """
    if is_comparator(probe):
        return COMPARATORS[probe].label
    return METHODS[method].variant(probe).label if method in METHODS else f"{probe} {method}"
