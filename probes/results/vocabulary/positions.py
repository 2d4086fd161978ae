"""Where in a text a method edits, in words: the column ``positions``."""

from probes.results.vocabulary.methods import METHODS, TOTAL

EVERYWHERE = "all"
"""Of ablation and patching, where it goes without saying."""
EDITED = {"read": "at the scored tokens only"}
"""Of ablation, patching and their estimates."""
STEERED = {
    "last": "at the scored tokens",
    "generated": "at the tokens of the answers",
    "all": "at all tokens but the first",
}
"""Of steering."""


def positions_label(positions: str, method: str) -> str:
    """What a title says of where was edited; empty where that goes without saying.

    >>> positions_label("read", "ablation"), positions_label("all", "ablation")
    ('at the scored tokens only', '')
    >>> positions_label("read", "direct_logit")  # which edits nothing
    ''
    """
    edits = method not in METHODS or TOTAL in METHODS[method].effects
    if not edits or positions in ("", EVERYWHERE):
        return ""
    return EDITED.get(positions, f"at positions: {positions}")
