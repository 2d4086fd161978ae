"""What a map can show of each head: the metrics measured and what follows from them.

A quantity knows how it is called, which direction is good, and its *anchor*: the value at which a
head knows nothing, where the colours of a map begin.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from probes.results.table import (
    corpus_baseline,
    distinct,
    is_lower_better,
    main_probe,
    main_site,
    of_feature,
    pick,
    where,
)
from probes.results.vocabulary.quantities import RECALL

LABELS = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "selectivity": "selectivity",
    "control": "control accuracy",
    "control_accuracy": "control accuracy",
    "codelength": "codelength (bits)",
    "codelength_bits": "codelength (bits)",
    "compression": "compression",
    "gain": "gain over majority",
    "gain_majority": "gain over majority",
    "gain_lexical": "gain over words",
    "gain_bag_of_words": "gain over bag of words",
    "gain_all_heads": "gain over all heads",
    "gain_residual": "gain over residual stream",
    "gain_random_init": "gain over random model",
    "gain_erased": "loss by erasure",
    "accuracy_seed_mean": "accuracy, mean of seeds",
    "accuracy_seed_sd": "accuracy, spread of seeds",
    "q_value": "q-value",
    "p_value": "p-value",
    "p_familywise": "family-wise p",
    "q_control": "q against control",
    "p_control": "p against control",
}
DESCRIPTIONS = {
    "accuracy": "Share of test rows that the head's probe labels correctly.",
    "gain": "Accuracy minus that of always answering the most frequent class.",
    "gain_majority": "Accuracy minus that of always answering the most frequent class.",
    "gain_lexical": "Accuracy minus that of knowing the word alone: the most frequent class of its "
    "type.",
    "gain_bag_of_words": "Accuracy minus that of a bag of words with the length of the text.",
    "gain_all_heads": "Accuracy minus that of a probe on all heads of the layer together.",
    "gain_residual": "Accuracy minus that of a probe on the residual stream after the layer.",
    "gain_random_init": "Accuracy minus that of the same head of the model with fresh weights: "
    "what training gave.",
    "gain_erased": "Accuracy minus that without the erased feature: what rides on it.",
    "accuracy_seed_mean": "Mean accuracy over probes trained from different initialisations.",
    "accuracy_seed_sd": "Standard deviation of the accuracy over initialisations.",
    "selectivity": "Accuracy minus accuracy on the control task, whose labels are random: what the "
    "probe read in the head rather than learned by itself (Hewitt and Liang 2019).",
    "control": "Accuracy on the control task with random labels.",
    "control_accuracy": "Accuracy on the control task, whose labels are random (Hewitt and Liang "
    "2019).",
    "macro_f1": "Mean over classes of the F1 score: rare classes count as much as frequent ones.",
    "balanced_accuracy": "Mean over classes of the recall.",
    "auroc": "Area under the ROC curve; .5 is chance.",
    "codelength_bits": "Bits needed to send the labels, the probe being learned on the way (Voita "
    "and Titov 2020); fewer is better.",
    "compression": "Uniform code over codelength; 1 means that nothing was learned.",
    "q_value": "Expected share of false discoveries if this head and all better ones are reported "
    "(Benjamini and Hochberg 1995).",
    "p_familywise": "Probability that the best of all heads is this good by chance "
    "(max-statistic permutation test, Westfall and Young 1993).",
    "p_value": "Permutation p-value of this head alone, not corrected for the number of heads.",
    "q_control": "Expected share of false discoveries among heads that beat their control task.",
    "p_control": "p-value against the control task, not corrected for the number of heads.",
}
ORDER = ("accuracy", "gain", "gain_majority", "gain_lexical", "gain_bag_of_words", "selectivity")
"""Shown first, in this order; what else is present follows."""
FIXED_ANCHORS = {"selectivity": 0.0, "auroc": 0.5, "compression": 1.0}
ANCHOR_LABELS = {"auroc": "chance", "compression": "uniform code"}
ON_TRAINING_ROWS = ("codelength_bits", "compression")
"""Measured while the training labels are sent, so they have no test value."""
DIFFERENCE = "difference"
"""Of the accuracies of two maps, in points (hundredths)."""
EVIDENCE = ("q_value", "p_familywise", "p_value")
"""Columns of significance, the one to go by first: corrected for the number of heads, or not."""
PROBABILITIES = (*EVIDENCE, "q_control", "p_control")
BESIDE = (*PROBABILITIES, "control", "selectivity", "codelength_bits", "compression")
"""Columns beside the accuracy that are shown like metrics."""


@dataclass(frozen=True)
class Quantity:
    """One number for each head, and how to read it."""

    name: str
    """Name of the metric or column, ``gain`` or ``difference``."""
    label: str
    lower_is_better: bool
    anchor: float
    """Where a head knows nothing."""
    anchor_label: str

    @property
    def probability(self) -> bool:
        """Whether it is a p- or q-value, whose scale is fixed."""
        return self.name in PROBABILITIES

    @property
    def diverging(self) -> bool:
        """Whether both signs say as much: first better, second better."""
        return self.name == DIFFERENCE


POINTS = Quantity(DIFFERENCE, "difference (points)", False, 0.0, "no difference")


def quantities(table: pd.DataFrame, feature: str, classes: int = 2) -> list[Quantity]:
    """What can be shown of one feature, the accuracy first."""
    table = of_feature(table, feature)
    site = main_site(table)
    rows = pick(table, site=site, probe=main_probe(table, site))
    rows = rows[(rows["split"] == "test") | rows["metric"].isin(ON_TRAINING_ROWS)]
    names = [m for m in distinct(rows, "metric") if not m.startswith(RECALL)]
    if (
        "gain_majority" not in names
        and "accuracy" in names
        and corpus_baseline(table, feature) is not None
    ):
        names.append("gain")
    accuracy = pick(rows, metric="accuracy")
    for column in BESIDE:
        if column in accuracy and accuracy[column].notna().any() and column not in names:
            names.append(column)
    if "control_accuracy" in names and "control" in names:
        names.remove("control")
    names.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return [quantity(table, feature, name, classes) for name in names]


def quantity(table: pd.DataFrame, feature: str, name: str, classes: int = 2) -> Quantity:
    """The quantity of that name for one feature."""
    label = LABELS.get(name, name.replace("_", " "))
    anchor, says = 0.0, ""
    majority = corpus_baseline(table, feature, metric=name)
    if name.startswith("gain"):
        anchor, says = 0.0, "no gain"
    elif name in FIXED_ANCHORS:
        anchor, says = FIXED_ANCHORS[name], ANCHOR_LABELS.get(name, "nothing")
    elif name in PROBABILITIES:
        anchor, says = 1.0, ""
    elif majority is not None:
        anchor, says = majority, "majority"
    elif name == "balanced_accuracy":
        anchor, says = 1.0 / max(classes, 1), "chance"
    elif name in ("control_accuracy", "control", "accuracy_seed_mean"):
        majority = corpus_baseline(table, feature)
        anchor, says = (majority, "majority") if majority is not None else (0.0, "")
    return Quantity(name, label, is_lower_better(name), anchor, says)


def values(
    table: pd.DataFrame,
    feature: str,
    name: str,
    *,
    split: str = "test",
    site: str | None = None,
    probe: str | None = None,
) -> pd.DataFrame:
    """Rows of the table whose ``value`` (and interval) is the quantity of that name."""
    table = of_feature(table, feature)
    site = site or main_site(table)
    probe = probe or main_probe(table, site)
    rows = where(table, site=site, probe=probe)
    for metric in (name, "gain_majority") if name == "gain" else (name,):
        measured = rows & where(table, metric=metric)
        on_split = measured & where(table, split=split)
        # Measured on training rows only, it stands for the probe in place of its test value.
        if split == "test" and metric in ON_TRAINING_ROWS and not on_split.any():
            on_split = measured
        if on_split.any():
            return table[on_split]
    accuracy = table[rows & where(table, metric="accuracy", split=split)].copy()
    if name in ("gain", "gain_majority"):
        majority = corpus_baseline(table, feature, split=split)
        if majority is None:
            return accuracy.iloc[:0]
        # The majority is a constant of the test rows: the interval moves with the value.
        accuracy[["value", "ci_low", "ci_high"]] -= majority
        return accuracy
    if name in accuracy.columns:
        accuracy["value"] = pd.to_numeric(accuracy[name], errors="coerce")
        accuracy[["ci_low", "ci_high"]] = float("nan")
        return accuracy
    return accuracy.iloc[:0]


def evidence_column(table: pd.DataFrame, feature: str) -> str | None:
    """The column that says which heads are significant, the best corrected one that is filled."""
    table = of_feature(table, feature)
    site = main_site(table)
    rows = pick(table, site=site, probe=main_probe(table, site), metric="accuracy", split="test")
    return next((c for c in EVIDENCE if c in rows and rows[c].notna().any()), None)
