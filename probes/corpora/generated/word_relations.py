"""Word pairs of three relations: which of three words goes with a thing, and how?

Semantic induction heads attend from a word to one that it is related to (Ren et al. 2024, arXiv
2402.13055): a part, a usage, a category. Every prompt lists one word of each sort, of which only
one fits the thing, so the relation is told by the pair and by neither word. Things and templates
belong to blocks; some categories recur in several.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from probes.config import GeneratedConfig
from probes.corpora.generated.kit.blocks import Part, Say, blocks, others, write
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import BLOCKS, GeneratedCorpus, Prompt

RELATIONS = {"part": "part", "usage": "use", "category": "kind"}
"""Class -> the word that a model answers with."""

_TABLE = """
    car wheel,bonnet drive vehicle; boat sail,mast row vessel; school classroom,desk learn
    institution; shirt cuff,button iron garment; knife blade,handle cut tool; pencil lead,eraser
    draw stationery; flower petal,stem smell plant; theatre stage,curtain perform venue; violin
    bow,string play instrument; church altar,steeple pray building; hammer shaft,grip pound tool;
    kettle spout,base boil appliance; apple core,peel eat fruit; bed mattress,pillow sleep
    furniture; camera lens,shutter photograph device; needle eye,point sew implement; house
    roof,wall live building; shoe sole,lace walk footwear; train carriage,whistle travel vehicle;
    cow udder,horn milk animal; book page,cover read text; piano key,pedal practise instrument;
    castle moat,tower defend fortress; bank vault,safe save business; coat sleeve,collar wear
    garment; tree branch,root climb plant; bicycle saddle,spoke cycle vehicle; broom bristle,stick
    sweep implement; chair leg,seat sit furniture; pan lid,rim cook utensil; guitar fret,neck strum
    instrument; letter stamp,envelope write message; horse mane,hoof ride animal; bird wing,beak
    watch animal; shop counter,till buy business; clock dial,hand time instrument; phone
    screen,battery call device; hospital ward,clinic heal institution; oven grate,burner bake
    appliance; pool lane,shallows swim facility"""

_ROWS = [
    (thing, {"part": parts.split(","), "usage": [usage], "category": [category]})
    for thing, parts, usage, category in (row.split() for row in _TABLE.split(";"))
]
THINGS = [_ROWS[4 * block : 4 * block + 4] for block in range(BLOCKS)]
"""(BLOCKS,) four neighbours of the table each, chosen so that no word fits a second thing."""

_LIST = (
    "Words:",
    "Given are",
    "Consider",
    "The list has",
    "We have",
    "Candidates:",
    "Choose from",
    "Terms:",
    "Look at",
    "Here stand",
)
_ASK = (
    "One fits as its",
    "The match is a",
    "The relation is that of a",
    "What fits is the",
    "It goes with its",
    "The link is called",
    "Related as a",
    "They are tied by the",
    "The pair shows the",
    "Connected through the",
)

DESCRIPTIONS = {
    "relation": "how the thing goes with the listed word that fits it, read at the thing",
    "related_by": "the same, read at the end",
    "place": "place of the fitting word in the list",
}


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Three words, a thing, and a request for the relation between it and the word that fits."""
    options(config.name, config.options, {})
    return GeneratedCorpus(
        name=config.name,
        prompts=_prompts(Random(config.seed)),
        group_name="prompt",
        default_features=("relation", "related_by", "place"),
        descriptions=DESCRIPTIONS,
    )


def _prompts(rng: Random) -> Iterator[Prompt]:
    for block in blocks():
        thing, related = rng.choice(THINGS[block])
        relation = rng.choice(list(RELATIONS))
        words = {relation: rng.choice(related[relation])}
        for sort in RELATIONS:
            if sort != relation:
                words[sort] = rng.choice(_unrelated(block, thing, related[sort], sort))
        order = rng.sample(list(RELATIONS), len(RELATIONS))
        a, b, c = (words[sort] for sort in order)
        word = RELATIONS[relation]
        parts: list[Part] = [_LIST[block], f"{a}, {b}, {c}. Thing:"]
        parts += [(thing, {"relation": relation}), Say(word), ".", _ASK[block]]
        said = Say(word, others(RELATIONS.values(), word), "related_by")
        yield write([*parts, said]).prompt(
            block=block,
            values={"related_by": relation, "place": f"number {order.index(relation) + 1}"},
        )


def _unrelated(block: int, thing: str, own: list[str], sort: str) -> list[str]:
    """Words of that sort which belong to other things of the block."""
    words = {word for other, related in THINGS[block] for word in related[sort] if other != thing}
    return sorted(words - set(own))
