"""The words of the built-in grammar, as data, and their inflection.

A verb is written as its base, or as base/past/participle where it is irregular; a noun as its
singular, or singular/plural. Each block is cut into three parts that share no word form, one for
each split, so that a probe is tested on words it was not trained on. Organisations are invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

NOUNS = {
    "person": """teacher doctor farmer lawyer student baker pilot sailor singer actor driver
        neighbour child/children woman/women king soldier writer poet engineer waiter dentist
        gardener tailor priest tourist senator mayor professor scientist banker clerk hunter
        musician plumber carpenter butcher librarian journalist director captain prince widow
        uncle cousin girl boy sister brother barber chemist architect detective""",
    "animal": """cat horse wolf/wolves mouse/mice rabbit goat goose/geese lion tiger elephant
        monkey donkey squirrel eagle pigeon spider turtle frog cow pony""",
    "thing": """chair lamp bottle basket ladder knife/knives guitar piano letter newspaper carpet
        mirror candle bicycle camera wallet blanket sofa kettle violin jacket umbrella sandwich
        cake apple potato/potatoes tomato/tomatoes melon statue engine computer bracelet helmet
        pillow curtain shelf/shelves sword medal diary poem magazine coin necklace pencil suitcase
        novel""",
    "event": """concert film opera festival journey ceremony wedding lesson speech dinner
        picnic holiday exhibition parade lecture banquet""",
    "place": """village kitchen garden castle library forest river museum office school station
        hospital church bridge island valley hotel theatre factory tunnel courtyard cellar harbour
        mountain desert stadium cottage bakery palace""",
}

VERBS = {
    "handle": """carry clean build/built/built buy/bought/bought break/broke/broken fix wash
        hide/hid/hidden borrow bring/brought/brought throw/threw/thrown lift collect hold/held/held
        lose/lost/lost find/found/found pack examine deliver open keep/kept/kept fetch inspect
        steal/stole/stolen""",
    "meet": """meet/met/met thank follow invite greet teach/taught/taught marry remember convince
        warn interview forgive/forgave/forgiven tease hear/heard/heard push notice recognise
        describe approach accompany imitate photograph""",
    "intransitive": """arrive cry wait fall/fell/fallen sing/sang/sung stay disappear collapse
        shout whisper yawn sit/sat/sat stand/stood/stood pray listen hesitate return depart
        escape tremble relax wander snore shiver giggle stumble swim/swam/swum""",
    "happen": "begin/began/begun continue finish proceed resume conclude commence last happen",
    "say": """say/said/said know/knew/known announce explain suggest assume insist deny reveal
        mention argue realise predict suspect believe""",
    "try": "want try decide refuse agree manage intend expect learn wish hope pretend",
    "give": "give/gave/given send/sent/sent show/showed/shown lend/lent/lent hand pass grant post",
    "positive": """admire love enjoy adore praise appreciate cherish celebrate like respect treasure
        trust""",
    "negative": """hate despise dislike ruin insult destroy damage criticise mock resent cheat
        betray""",
}

HOMOGRAPHS = {
    "meet": """watch visit answer question help support attack test study search rescue welcome
        record review call guide guard judge""",
    "handle": "plant paint polish order report repair sign copy design offer",
    "intransitive": """walk dance rest laugh smile dream cough jump march race work vote protest
        ride/rode/ridden run/ran/run fight/fought/fought sleep/slept/slept""",
}
"""Regular words that are noun or verb by context, under the class of the verb."""

CROSSED = {
    "meet": "saw=see/saw/seen shot=shoot/shot/shot",
    "handle": "leaf/leaves=leave/left/left ground=grind/ground/ground bore=bear/bore/borne",
    "intransitive": "rose=rise/rose/risen spoke=speak/spoke/spoken dove=dive/dove/dived",
}
"""Nouns that look like a form of another verb: noun=verb."""

ADJECTIVES = {
    "person": "tall young hungry elderly retired wealthy clever curious tired patient bald",
    "thing": """wooden round red blue green yellow wet dry narrow wide empty heavy ancient deep
        long metal""",
    "any": """small large old new famous foreign quiet local northern southern eastern western
        modern ordinary""",
    "positive": """wonderful brilliant excellent lovely charming delightful superb splendid
        marvellous great amazing beautiful perfect pleasant impressive magnificent fantastic
        adorable elegant""",
    "negative": """terrible awful horrible dreadful boring ugly disgusting annoying nasty pathetic
        dull hideous disappointing unpleasant mediocre appalling tedious lousy miserable""",
}

ADVERBS = {
    "manner": """quickly slowly quietly suddenly carefully silently loudly secretly gently
        immediately eventually calmly openly patiently""",
    "frequency": "often usually rarely seldom frequently occasionally sometimes always",
    "positive": """beautifully wonderfully brilliantly perfectly happily splendidly superbly
        gracefully cheerfully skilfully""",
    "negative": """badly terribly poorly horribly awkwardly miserably clumsily dreadfully
        carelessly shamefully""",
}

NAMES = {
    "first": """Maria Ahmed Elena Tom Sofia James Anna Peter Fatima David Laura Carlos Emma Ivan
        Julia Omar Nina Paul Leila Martin Sarah Hugo Clara Diego Alice Viktor Amina Robert Ingrid
        Samuel Priya Oscar Helen Kenji Rosa Daniel Mei Lucas Nadia Simon""",
    "last": """Novak Silva Khan Berger Rossi Tanaka Miller Haddad Larsen Costa Petrov Mendez
        Fischer Okafor Dubois Nilsson Kowalski Sharma Hughes Moreau Lindgren Castillo Weber
        Santos Jansen""",
    "place": """Lisbon Oslo Cairo Berlin Madrid Prague Vienna Dublin Athens Lima Nairobi Toronto
        Boston Chicago Helsinki Warsaw Zurich Geneva Hamburg Naples Kyoto Seoul Delhi Havana Tunis
        Denver Norway Kenya Brazil Canada Portugal Egypt""",
    "place_prefix": "North South East West Upper Lower Port Lake Saint Mount",
    "place_base": """Harrow Aldbury Wexcombe Tarnfield Kelmore Ashdale Brunwick Corvale Dunmere
        Elsworth Farrowby Glenholm Hartwell""",
    "organisation": """Velmora Norvik Zentec Quantix Halvorsen Brightline Ostravia Meridian
        Kestrel Solvane Tridentis Orbitel Lumenar Fairmond Pellworth Castrel Granvik Vantor
        Ardenne Corwin Delphane Eastmere""",
    "organisation_suffix": """Bank Institute Company Council Society Press Foundation Agency Union
        Airways Motors Laboratories Studios Insurance Partners""",
}

BE = {
    "Pres": {"first": "am", "third": "is", "plural": "are"},
    "Past": {"first": "was", "third": "was", "plural": "were"},
}
HAVE = {
    "Pres": {"first": "have", "third": "has", "plural": "have"},
    "Past": {"first": "had", "third": "had", "plural": "had"},
}
DO = {
    "Pres": {"first": "do", "third": "does", "plural": "do"},
    "Past": {"first": "did", "third": "did", "plural": "did"},
}
MODALS = ("will", "can", "must", "may", "should")
DEGREES = ("very", "quite", "rather", "really", "extremely")
NUMERALS = ("two", "three", "four", "five", "ten")
PRONOUNS = (  # subject form, object form, possessive, agreement
    ("I", "me", "my", "first"),
    ("he", "him", "his", "third"),
    ("she", "her", "her", "third"),
    ("we", "us", "our", "plural"),
    ("they", "them", "their", "plural"),
)

_DOUBLED = {"swim", "run", "sit"}


@dataclass(frozen=True)
class Noun:
    singular: str
    plural: str
    kind: str
    """person, animal, thing, event or place: which verbs and adjectives it goes with."""


@dataclass(frozen=True)
class Verb:
    base: str
    third: str
    past: str
    participle: str
    gerund: str


@dataclass(frozen=True)
class Lexicon:
    """The content words of one split, by class."""

    nouns: dict[str, list[Noun]]
    homograph_nouns: dict[str, list[Noun]]
    """Nouns of kind thing or event that look like verbs."""
    verbs: dict[str, list[Verb]]
    homograph_verbs: dict[str, list[Verb]]
    adjectives: dict[str, list[str]]
    adverbs: dict[str, list[str]]
    names: dict[str, list[str]]


def make_lexica(seed: int, shares: tuple[float, float, float]) -> list[Lexicon]:
    """Three lexica that share no word form; ``seed`` decides which words are held out."""
    rng = Random(f"lexicon {seed}")
    lexica = [Lexicon({}, {}, {}, {}, {}, {}, {}) for _ in shares]

    def deal(block: str) -> list[list[str]]:
        # Random.random is the one method whose stream Python promises to keep.
        entries = sorted(block.split(), key=lambda _: rng.random())
        cuts = [round(sum(shares[:part]) * len(entries)) for part in range(4)]
        return [entries[a:b] for a, b in pairwise(cuts)]

    for kind, block in NOUNS.items():
        for lexicon, entries in zip(lexica, deal(block), strict=True):
            lexicon.nouns[kind] = [noun(entry, kind) for entry in entries]
    for kind, block in VERBS.items():
        for lexicon, entries in zip(lexica, deal(block), strict=True):
            lexicon.verbs[kind] = [verb(entry) for entry in entries]
    for lexicon in lexica:
        lexicon.homograph_nouns.update(thing=[], event=[])
    for kind, block in HOMOGRAPHS.items():
        pairs = [f"{entry.split('/')[0]}={entry}" for entry in block.split()]
        both = zip(deal(" ".join(pairs)), deal(CROSSED[kind]), strict=True)
        for lexicon, (regular, crossed) in zip(lexica, both, strict=True):
            parts = [entry.split("=") for entry in regular + crossed]
            lexicon.homograph_verbs[kind] = [verb(second) for _, second in parts]
            like = "thing" if kind == "handle" else "event"
            lexicon.homograph_nouns[like] += [noun(first, like) for first, _ in parts]
    for blocks, name in ((ADJECTIVES, "adjectives"), (ADVERBS, "adverbs"), (NAMES, "names")):
        for kind, block in blocks.items():
            for lexicon, entries in zip(lexica, deal(block), strict=True):
                getattr(lexicon, name)[kind] = entries
    return lexica


def noun(entry: str, kind: str) -> Noun:
    """``child/children`` or ``teacher`` as a noun with both numbers."""
    singular, _, plural = entry.partition("/")
    return Noun(singular, plural or _add_s(singular), kind)


def verb(entry: str) -> Verb:
    """``see/saw/seen`` or ``walk`` as a verb with all its forms."""
    base, *irregular = entry.split("/")
    stem = base + base[-1] if base in _DOUBLED else base
    mute = base.endswith("e") and not base.endswith("ee")
    gerund = (base[:-1] if mute else stem) + "ing"
    if base.endswith("e"):
        regular = base + "d"
    elif base.endswith("y") and base[-2] not in "aeiou":
        regular = base[:-1] + "ied"
    else:
        regular = stem + "ed"
    past, participle = irregular or (regular, regular)
    return Verb(base, _add_s(base), past, participle, gerund)


def _add_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"
