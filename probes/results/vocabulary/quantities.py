"""What a map can show of each head: metrics, differences of metrics, and p- and q-values.

Each row says how a quantity is called, which values are good, and its *anchor*: the value at which
a head knows nothing, where the colours of a map begin.
"""

from __future__ import annotations

from dataclasses import dataclass

from probes.results.vocabulary.comparators import COMPARATORS, Compared
from probes.statistics.metrics import METRICS, Metric

RECALL = "recall:"
"""Start of the names of metrics that are the recall of one class."""
NORMALISED = "normalised_"
"""Start of the names of effects divided by that of the whole contrast."""

OTHERS = 99
"""Place of quantities that are shown in the order in which they were measured."""


@dataclass(frozen=True)
class QuantityKind:
    """One quantity, for any feature."""

    name: str
    """As in the column ``metric``; of p- and q-values, the column that holds them."""
    label: str
    description: str = ""
    """One sentence, shown above its map."""
    better: str = "higher"
    """Which values are good: ``higher`` or ``lower``."""
    unit: str = ""
    """What one of it is, in the plural; empty: it is a share or a ratio, or has no unit."""
    anchor: float | None = None
    """Where a head knows nothing; None: what the majority class reaches."""
    anchor_label: str = "majority"
    anchor_metric: str = ""
    """Metric whose majority is the anchor, where it is not this one."""
    uniform: bool = False
    """Whether the anchor is one over the number of classes where the majority was not measured."""
    on_training_rows: bool = False
    """Measured while the training labels are sent, so it has no test value."""
    probability: bool = False
    """A p- or q-value: a column beside the accuracy, on a scale of its own."""
    evidence: bool = False
    """Whether heads may be called significant by it; the first that a table has is taken."""
    of_effects: bool = False
    """Whether the heads of signed maps may be called significant by it, before all others: the
    test against a matched control."""
    hover_only: bool = False
    """Not corrected for the number of heads, so that it gets no map of its own."""
    place: int = OTHERS
    """Smaller ones are shown first; equal ones in the order in which they were measured."""

    @property
    def lower_is_better(self) -> bool:
        """Whether small values are the good ones."""
        return self.better == "lower"


def _of_metric(metric: Metric) -> QuantityKind:
    return QuantityKind(
        metric.name,
        metric.label,
        metric.description,
        better=metric.better,
        anchor=metric.anchor,
        anchor_label=metric.anchor_label,
        uniform=metric.uniform,
        place=0 if metric.name == "accuracy" else OTHERS,
    )


_DERIVED = (
    QuantityKind(
        "selectivity",
        "selectivity",
        "Accuracy minus accuracy on the control task, whose labels are random: what the "
        "probe read in the head rather than learned by itself (Hewitt and Liang 2019).",
        anchor=0.0,
        anchor_label="nothing",
        place=50,
    ),
    QuantityKind(
        "control_accuracy",
        "control accuracy",
        "Accuracy on the control task, whose labels are random (Hewitt and Liang 2019).",
        anchor_metric="accuracy",
    ),
    QuantityKind(
        "codelength_bits",
        "codelength (bits)",
        "Bits needed to send the labels, the probe being learned on the way (Voita "
        "and Titov 2020); fewer is better.",
        better="lower",
        on_training_rows=True,
    ),
    QuantityKind(
        "compression",
        "compression",
        "Uniform code over codelength; 1 means that nothing was learned.",
        anchor=1.0,
        anchor_label="uniform code",
        on_training_rows=True,
    ),
    QuantityKind(
        "accuracy_seed_mean",
        "accuracy, mean of seeds",
        "Mean accuracy over probes trained from different initialisations.",
        anchor_metric="accuracy",
    ),
    QuantityKind(
        "accuracy_seed_sd",
        "accuracy, spread of seeds",
        "Standard deviation of the accuracy over initialisations.",
    ),
)


def _probability(
    name: str,
    label: str,
    description: str,
    *,
    evidence: bool = False,
    of_effects: bool = False,
    hover_only: bool = False,
) -> QuantityKind:
    return QuantityKind(
        name,
        label,
        description,
        better="lower",
        anchor=1.0,
        anchor_label="",
        probability=True,
        evidence=evidence,
        of_effects=of_effects,
        hover_only=hover_only,
    )


_MEASURES = (
    QuantityKind(
        "logit_difference",
        "logit difference",
        "Logit of the answer minus the mean of the alternatives' logits, first tokens.",
        unit="logits",
        place=10,
    ),
    QuantityKind(
        "log_probability",
        "log-probability",
        "Log-probability of the answer, summed over its tokens (nats).",
        unit="nats",
        place=11,
    ),
    QuantityKind(
        "choice_accuracy",
        "choice accuracy",
        "Share of texts whose answer has the largest logit among answer and alternatives.",
        place=12,
    ),
    QuantityKind(
        "sentence_difference",
        "sentence difference",
        "Log-probability of the good text minus that of the bad one (nats).",
        unit="nats",
        place=13,
    ),
    QuantityKind(
        "loss",
        "next-token log-likelihood",
        "Mean log-probability of the next token over a text, which is minus the loss (nats).",
        unit="nats a token",
        place=14,
    ),
    QuantityKind(
        "downstream",
        "downstream log-probability",
        "Log-probability of the gold label by the probe on the last layer's residual stream.",
        unit="nats",
        place=15,
    ),
    QuantityKind(
        "log_odds",
        "log-odds",
        "Log-odds of a class by the probe on the last layer's residual stream (nats).",
        unit="nats",
        place=16,
    ),
)
"""What effects are measured on (beside ``accuracy``); of all of them larger is better."""
MEASURES = ("accuracy", *(kind.name for kind in _MEASURES))
"""Names of what effects are measured on."""

_PROBABILITIES = (
    _probability(
        "q_value",
        "q-value",
        "Expected share of false discoveries if this head and all better ones are reported "
        "(Benjamini and Hochberg 1995).",
        evidence=True,
    ),
    _probability(
        "p_familywise",
        "family-wise p",
        "Probability that the best of all heads is this good by chance "
        "(max-statistic permutation test, Westfall and Young 1993).",
        evidence=True,
    ),
    _probability(
        "p_value",
        "p-value",
        "Permutation p-value of this head alone, not corrected for the number of heads.",
        evidence=True,
        hover_only=True,
    ),
    _probability(
        "q_control",
        "q against control",
        "Expected share of false discoveries among heads that beat their control task.",
        of_effects=True,
    ),
    _probability(
        "p_control_familywise",
        "family-wise p against control",
        "Probability that the largest of all heads differs this much from its matched control by "
        "chance (max-statistic sign-flip test, two-sided).",
        of_effects=True,
    ),
    _probability(
        "p_control",
        "p against control",
        "p-value against the control task, not corrected for the number of heads.",
        hover_only=True,
    ),
)

QUANTITIES = {kind.name: kind for kind in (*_DERIVED, *_MEASURES, *_PROBABILITIES)}
"""All but the metrics (``statistics.metrics.METRICS``) and the gains over comparators."""


def quantity_kind(name: str) -> QuantityKind:
    """The row of this name: of a metric and of a gain from their tables, a plain one of others.

    >>> quantity_kind("gain_lexical").label, quantity_kind("my_metric").label
    ('gain over words', 'my metric')
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    if name in METRICS:
        return _of_metric(METRICS[name])
    for number, row in enumerate(COMPARATORS.values(), start=1):
        if row.gain == name:
            place = number if row.compared is Compared.SAME_ROWS else QuantityKind.place
            return QuantityKind(
                name, row.gain_label, row.gain_description, anchor=0.0, anchor_label="no gain",
                place=place,
            )  # fmt: skip
    if name.startswith(NORMALISED):
        whole = quantity_kind(name.removeprefix(NORMALISED))
        return QuantityKind(
            name,
            f"{whole.label}, share of the contrast",
            f"{whole.description} Divided by what the whole contrast changes (a ratio of means).",
        )
    return QuantityKind(name, name.replace("_", " "))


def evidence_columns(*, signed: bool = False) -> list[str]:
    """Columns that may say which heads are significant, the one to go by first.

    signed: of a map of effects, where a matched control asks the better question.
    """
    kinds = QUANTITIES.values()
    control = [kind.name for kind in kinds if kind.of_effects] if signed else []
    return control + [kind.name for kind in kinds if kind.evidence]


def probabilities() -> list[str]:
    """Columns of p- and q-values beside an accuracy."""
    return [kind.name for kind in QUANTITIES.values() if kind.probability]
