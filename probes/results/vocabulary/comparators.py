"""What a head's probe is compared with: the rows of a results table that are no map of the run.

A comparator is named in the column ``probe`` (beside the run's own kind of probe), or, where it
is the run's own kind of probe on a whole layer, in the column ``site``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from probes.results.vocabulary.sites import ALL_HEADS, RESIDUAL, SITES

MAJORITY, LEXICAL, BAG_OF_WORDS = "majority", "lexical", "bag_of_words"
RANDOM_INIT, ERASED = "random_init", "erased"
MATCHED = "matched"
RANDOM_DIRECTION, RANDOM_COVARIANCE, RANDOM_HEADS = (
    "random_direction",
    "random_covariance",
    "random_heads",
)


class Compared(StrEnum):
    """What a head and its comparator have in common."""

    SAME_ROWS = "same rows"
    """Predictions for the same rows of the corpus without any model; at site ``corpus``."""
    SAME_UNIT = "same unit"
    """The probe of the same head of another model, or of the same head after an edit."""
    SAME_SET = "same set"
    """As many heads pushed as far, in other directions or at other heads of their layers."""
    SAME_LAYER = "same layer"
    """The probe of the whole layer that the head is in; ``name`` is its site."""


@dataclass(frozen=True)
class Comparator:
    """One thing that heads are compared with."""

    name: str
    """As in the column ``probe``, or ``site`` where the same layer is compared."""
    compared: Compared
    label: str
    """In legends, headers of columns and differences of maps."""
    title: str
    """In a list of baselines, which has room for more words."""
    gain_label: str
    gain_description: str
    """Of the metric ``gain_<name>``: the head's value minus that of its comparator."""
    colour: str = ""
    """Of its line in a profile by layer; those of the corpus have no line."""
    drawn: int = 0
    """Place of its line among the others."""
    abbreviation: str = ""
    """Above its column beside a map in the terminal, three letters."""
    legend: str = ""
    """What the abbreviation stands for."""

    @property
    def gain(self) -> str:
        """Name of the metric that compares a head with it."""
        return f"gain_{self.name}"


COMPARATORS = {
    comparator.name: comparator
    for comparator in (
        Comparator(
            MAJORITY,
            Compared.SAME_ROWS,
            label="majority",
            title="majority class",
            gain_label="gain over majority",
            gain_description="Accuracy minus that of always answering the most frequent class.",
        ),
        Comparator(
            LEXICAL,
            Compared.SAME_ROWS,
            label="words alone",
            title="majority class of the word type",
            gain_label="gain over words",
            gain_description="Accuracy minus that of knowing the word alone: the most frequent "
            "class of its type.",
        ),
        Comparator(
            BAG_OF_WORDS,
            Compared.SAME_ROWS,
            label="bag of words",
            title="bag of words and length",
            gain_label="gain over bag of words",
            gain_description="Accuracy minus that of a bag of words with the length of the text.",
        ),
        Comparator(
            RANDOM_INIT,
            Compared.SAME_UNIT,
            label="random model",
            title="best head of the random model",
            gain_label="gain over random model",
            gain_description="Accuracy minus that of the same head of the model with fresh "
            "weights: what training gave.",
            colour="#a3a7b0",
            drawn=5,
            abbreviation="rnd",
            legend="best head of the random model",
        ),
        Comparator(
            ERASED,
            Compared.SAME_UNIT,
            label="feature erased",
            title="best head after the feature of evaluation.erase was erased",
            gain_label="loss by erasure",
            gain_description="Accuracy minus that without the erased feature: what rides on it.",
            colour="#5c8a4d",
            drawn=6,
            abbreviation="era",
            legend="best head after a feature was erased",
        ),
        Comparator(
            MATCHED,
            Compared.SAME_UNIT,
            label="matched control",
            title="largest effect of the matched control",
            gain_label="beyond the matched control",
            gain_description="Effect minus that of the same edit with the head's output on another "
            "training text of the same answer and alternatives: what is special to this text's "
            "answer.",
            colour="#c06a9b",
            drawn=7,
            abbreviation="mat",
            legend="the same edit with a matched other text",
        ),
        Comparator(
            RANDOM_DIRECTION,
            Compared.SAME_SET,
            label="random directions",
            title="the same heads pushed as far in random directions",
            gain_label="beyond random directions",
            gain_description="Change by steering minus that of pushing the same heads as far in "
            "random directions.",
            colour="#a3a7b0",
        ),
        Comparator(
            RANDOM_COVARIANCE,
            Compared.SAME_SET,
            label="directions of the covariance",
            title="the same heads pushed as far in directions that their outputs vary in",
            gain_label="beyond directions of the covariance",
            gain_description="Change by steering minus that of pushing the same heads as far in "
            "directions drawn with the covariance of their outputs.",
            colour="#8a6d3b",
        ),
        Comparator(
            RANDOM_HEADS,
            Compared.SAME_SET,
            label="random heads",
            title="random heads of the same layers pushed as far",
            gain_label="beyond random heads",
            gain_description="Change by steering minus that of pushing random heads of the same "
            "layers as far, each along its own direction.",
            colour="#5c8a4d",
        ),
        Comparator(
            RESIDUAL,
            Compared.SAME_LAYER,
            label=SITES[RESIDUAL].label,
            title="residual stream of the best layer",
            gain_label="gain over residual stream",
            gain_description="Accuracy minus that of a probe on the residual stream after the "
            "layer.",
            colour="#3c3c46",
            drawn=2,
            abbreviation="res",
            legend="residual stream",
        ),
        Comparator(
            "attention_output",
            Compared.SAME_LAYER,
            label=SITES["attention_output"].label,
            title="attention output of the best layer",
            gain_label="gain over attention output",
            gain_description="Accuracy minus that of a probe on the output of the attention.",
            colour="#8a6d3b",
            drawn=3,
            abbreviation="att",
            legend="attention output",
        ),
        Comparator(
            "mlp_output",
            Compared.SAME_LAYER,
            label=SITES["mlp_output"].label,
            title="MLP output of the best layer",
            gain_label="gain over MLP output",
            gain_description="Accuracy minus that of a probe on the output of the layer's MLP.",
            colour="#7a4f8f",
            drawn=4,
            abbreviation="mlp",
            legend="MLP output",
        ),
        Comparator(
            ALL_HEADS,
            Compared.SAME_LAYER,
            label=SITES[ALL_HEADS].label,
            title="all heads of the best layer",
            gain_label="gain over all heads",
            gain_description="Accuracy minus that of a probe on all heads of the layer together.",
            colour="#b5541c",
            drawn=1,
            abbreviation="all",
            legend="all heads together",
        ),
    )
}
"""In the order of a list of baselines, the simplest first."""


def comparators(*compared: Compared) -> list[Comparator]:
    """Those that are compared in one of these ways, in the order of the table.

    >>> [row.name for row in comparators(Compared.SAME_UNIT)]
    ['random_init', 'erased', 'matched']
    """
    return [row for row in COMPARATORS.values() if row.compared in compared]


def is_comparator(probe: str) -> bool:
    """Whether this value of the column ``probe`` is no probe of the run's own kind."""
    row = COMPARATORS.get(probe)
    return row is not None and row.compared is not Compared.SAME_LAYER
