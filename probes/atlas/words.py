"""The caveats of an atlas, and how its numbers were made, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from probes.atlas.depth import GroupDepth
from probes.atlas.features import FeatureLine


def caveats(lines: Sequence[FeatureLine], kind: str) -> list[str]:
    """What these numbers do not show; features at chance are listed by name."""
    sentences = [
        "A probe shows what can be read off a head, not that the model uses it. Whether a head "
        "causes an answer is shown by ablating or patching it.",
    ]
    if kind == "encoder":
        sentences.append(
            "An encoder reads a text in both directions: what a head carries at a word may come "
            "from the words after it."
        )
    chance = [line.label for line in lines if not line.significant]
    if chance:
        sentences.append(
            f"At chance in every head ({len(chance)} of {len(lines)} features): "
            f"{', '.join(chance)}. No probe found these in any head, which does not show that the "
            "model lacks them. Where a small model cannot do a task, its answer at the end of the "
            "prompt is expected here."
        )
    words = [line.label for line in lines if line.significant and line.by_words]
    if words:
        sentences.append(
            "The words alone (the word itself, or a bag of the words of the prompt) predict these "
            "features as well as the best head, which may carry the words rather than what they "
            "mean: "
            f"{', '.join(words)}."
        )
    shared = [line.label for line in lines if len(line.stages) > 1]
    if shared:
        sentences.append(
            "Kinds of heads that the catalogue reads with the same feature cannot be told apart "
            f"by it; these features stand in several stages: {', '.join(shared)}."
        )
    return sentences


def how_made(level: float, tests: int, lines: Sequence[FeatureLine], crossed: int) -> list[str]:
    """One sentence or two for each decision."""
    sentences = [
        "Every feature of the catalogue that suits the model was read on its own corpus: one "
        "extraction and one run for each corpus, whose report has the full maps, intervals and "
        "controls.",
        "A head carries a feature when its probe is better than the majority class and better than "
        "the control task with random labels; the larger of both p-values counts. Over all "
        f"{tests:,} heads and features together the false discovery rate is held at {level:g} "
        "(Benjamini and Hochberg 1995).",
        "Features are compared by score: of what there is to gain over the majority, the share "
        "that neither the majority nor the control task reaches. A head's strongest feature is the "
        "significant one of the highest score; it is chosen on the rows it is reported on, so of "
        "two close ones either may be the stronger.",
        "Depth is the layer over the last layer. A group's strength in a layer is the mean over "
        "heads of their best significant score, its centre the mean depth weighted by strength.",
    ]
    if crossed:
        sentences.append(
            f"{crossed} corpora have few groups (templates, blocks of facts) and were "
            "cross-validated, so that each of their groups is reported once."
        )
    if lines:
        sentences.append(
            "The accuracy of a feature's best head is corrected for choosing it among many heads; "
            "that of the residual stream is taken after its best layer."
        )
    return sentences


def depth_line(group: GroupDepth) -> str:
    """A group's depth beside the survey's claim.

    >>> depth_line(GroupDepth("EP", "decoder", "deep", [0.0, 1.0], [0, 2], [4, 4], [0.0, 0.5]))
    'EP: centre at 1.00 (deep), 2 of 8 heads; the survey says deep: it agrees'
    """
    if group.centre is None:
        return f"{group.name}: no head carries it"
    text = f"{group.name}: centre at {group.centre:.2f} ({group.third}), "
    text += f"{group.carried} of {sum(group.of)} heads"
    if group.claim is None:
        return f"{text}; the survey gives no depth"
    agrees = "it agrees" if group.claim == group.third else "it differs"
    return f"{text}; the survey says {group.claim}: {agrees}"
