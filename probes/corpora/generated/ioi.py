"""Indirect object identification: of two names, the one that occurs once comes next.

Wang et al. 2022 (arXiv 2211.00593). Name movers carry the indirect object at END; inhibition heads
carry the subject, the repeated name to be suppressed. The names are the classes, so blocks hold
templates, places and objects; both orders (which of the two comes first) are equally likely.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.core.errors import UserError
from probes.corpora.generated.kit.blocks import blocks, deal_words
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import (
    Expected,
    GeneratedCorpus,
    Mark,
    Prompt,
    Twin,
    twin_random,
)

NAMES = (
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Frank",
    "Grace",
    "Henry",
    "Ivy",
    "Jack",
    "Kate",
    "Leo",
)
DEFAULTS = {"names": len(NAMES)}

_BEGIN = (
    "When {} and {} went to the {}",
    "After {} and {} had come back from the {}",
    "Then {} and {} met near the {}",
    "While {} and {} were sitting at the {}",
    "As {} and {} walked towards the {}",
    "Before {} and {} left for the {}",
    "Once {} and {} had found the {}",
    "The day {} and {} worked in the {}",
    "Because {} and {} got lost behind the {}",
    "Although {} and {} hated the {}",
)
_GIVE = (
    "gave the {} to",
    "handed a {} to",
    "offered the old {} to",
    "passed a small {} to",
    "sold the {} to",
    "sent a new {} to",
    "brought one {} to",
    "showed the broken {} to",
    "lent a cheap {} to",
    "promised another {} to",
)
_PLACES = deal_words(
    """store school park station museum garden river market office harbour castle library
    church hotel bakery stadium theatre farm beach hospital bank cinema airport village
    factory tower zoo pool tunnel bridge"""
)
_OBJECTS = deal_words(
    """book drink ball ring letter lamp hat cake key coat phone basket camera blanket bottle
    pencil ticket flower candle mirror watch guitar knife ladder bag map bell mug vase
    rope"""
)

# Twins: ``third_name``: a third person gives, so that both names are as likely; ``swapped_order``:
# the names in the other order, with the same answer; ``swapped_roles``: the other one gives.

DESCRIPTIONS = {
    "indirect_object": "the name that comes next",
    "subject": "the repeated name, to be suppressed",
    "order": "whether the indirect object or the subject was named first",
    "repeated": "at the second mention: which name it repeats",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Two people, one of whom gives something to the other. ``names``: how many names there are."""
    count = options(config.name, config.options, DEFAULTS)["names"]
    if not 2 <= count <= len(NAMES):
        raise UserError(
            f"corpus.options.names={count}",
            allowed=f"2 to {len(NAMES)}",
            fix=f"corpus.options.names={len(NAMES)}",
        )
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed), twin_random(config), NAMES[:count]),
        group_name="prompt",
        default_features=("indirect_object", "subject", "order"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random, draws: Random, names: tuple[str, ...]) -> Iterator[Prompt]:
    for block in blocks():
        receiver, giver = rng.sample(names, 2)
        first = rng.random() < 0.5
        pair = (receiver, giver) if first else (giver, receiver)
        place, thing = rng.choice(_PLACES[block]), rng.choice(_OBJECTS[block])
        begin = _BEGIN[block].format(*pair, place)
        give = _GIVE[block].format(thing)
        text = f"{begin}, {giver} {give}"
        second = Mark(len(begin) + 2, len(begin) + 2 + len(giver), {"repeated": giver})
        swapped = _BEGIN[block].format(*pair[::-1], place)
        twins = [
            Twin("swapped_order", f"{swapped}, {giver} {give}", receiver),
            Twin("swapped_roles", f"{begin}, {receiver} {give}", giver),
        ]
        third_names = [name for name in names if name not in pair]
        if third_names:
            third = draws.choice(third_names)
            twins.insert(0, Twin("third_name", f"{begin}, {third} {give}"))
        yield Prompt(
            text,
            text,
            block=block,
            marks=(second,),
            values={
                "indirect_object": receiver,
                "subject": giver,
                "order": "object first" if first else "subject first",
            },
            targets=((len(text), receiver),),
            answers=(Expected(len(text), receiver, (giver,), "indirect_object"),),
            twins=tuple(twins),
        )
