"""Words, phrases and noun phrases of the built-in grammar.

Phrases are built with their dependency tree, after the guidelines of Universal Dependencies: a
``Phrase`` knows its words in order and which of them is its head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import TypeVar

from probes.corpora.grammar.lexicon import NUMERALS, PRONOUNS, Lexicon, Noun

T = TypeVar("T")

PEOPLE = {"person": 4, "name": 4, "pronoun": 2}
"""Weights of what a noun phrase may be, where it is a person."""


@dataclass(eq=False)
class Node:
    """A word in its tree; ``head`` is None for the root."""

    form: str
    upos: str
    deprel: str = "root"
    head: Node | None = None
    number: str | None = None
    tense: str | None = None
    entity: str | None = None


@dataclass
class Phrase:
    """Words in order, one of which is the head of the others."""

    nodes: list[Node]
    head: Node
    agreement: str = "third"
    """What a finite verb agrees with: first, third or plural."""
    kind: str = ""
    """Of a common noun: person, animal, thing, event or place."""

    def before(self, deprel: str, *others: Phrase) -> Phrase:
        """This phrase with dependents of its head put in front of it."""
        for other in reversed(others):
            self.nodes = other.under(self.head, deprel) + self.nodes
        return self

    def after(self, deprel: str, *others: Phrase) -> Phrase:
        """This phrase with dependents of its head put behind it."""
        for other in others:
            self.nodes = self.nodes + other.under(self.head, deprel)
        return self

    def under(self, head: Node, deprel: str) -> list[Node]:
        self.head.head, self.head.deprel = head, deprel
        return self.nodes


def word(form: str, upos: str, **marks: str | None) -> Phrase:
    """A phrase of one word."""
    node = Node(form, upos, **marks)  # type: ignore[arg-type]
    return Phrase([node], node)


class PhraseComposer:
    """Draws noun phrases and modifiers from one lexicon; ``mood`` colours evaluative words."""

    def __init__(self, rng: Random, lexicon: Lexicon) -> None:
        self.rng = rng
        self.lexicon = lexicon
        self.mood = "neutral"
        self.expressed = False
        """Whether the sentence so far has a word (or a negated one) that shows its mood."""

    # --- chance --------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        # Random.random is the one method whose stream Python promises to keep.
        return items[int(self.rng.random() * len(items))]

    def weighted(self, weights: dict[str, int]) -> str:
        draw = self.rng.random() * sum(weights.values())
        ends = accumulate(weights.values())
        return next(name for name, end in zip(weights, ends, strict=True) if draw < end)

    # --- noun phrases --------------------------------------------------------------------------

    def nominal(self, kinds: dict[str, int], *, subject: bool = False, depth: int = 0) -> Phrase:
        """A noun phrase of one of the kinds: a noun with what belongs to it, name or pronoun."""
        kind = self.weighted(kinds)
        if kind == "pronoun":
            nominative, oblique, _, agreement = self.pick(PRONOUNS)
            phrase = word(nominative if subject else oblique, "PRON")
            phrase.head.number = "Plur" if agreement == "plural" else "Sing"
            phrase.agreement = agreement
            return phrase
        if kind in ("name", "organisation"):
            return self.person() if kind == "name" else self.organisation()
        phrase = self.common(kind)
        if depth == 0 and self.chance(0.12):
            place = self.place() if self.chance(0.5) else self.common("place")
            phrase.after("nmod", place.before("case", word(self.pick(("in", "from")), "ADP")))
        return phrase

    def common(self, kind: str) -> Phrase:
        """Determiner, adjectives and a common noun, singular or plural."""
        plural = self.chance(0.4)
        noun = self.noun(kind)
        number = "Plur" if plural else "Sing"
        form = noun.plural if plural else noun.singular
        phrase = word(form, "NOUN", number=number, entity="O")
        phrase.agreement, phrase.kind = "plural" if plural else "third", noun.kind
        if self.chance(0.35):
            phrase.before("amod", self.adjective(noun.kind))
        draw = self.rng.random()
        if plural and draw < 0.2:
            phrase.before("nummod", word(self.pick(NUMERALS), "NUM"))
        elif plural and draw < 0.45:
            return phrase  # a bare plural
        elif draw < 0.6:
            possessive, agreement = self.pick([(p[2], p[3]) for p in PRONOUNS])
            owner = "Plur" if agreement == "plural" else "Sing"
            return phrase.before("nmod:poss", word(possessive, "PRON", number=owner))
        elif draw < 0.7:
            forms = ("these", "those") if plural else ("this", "that")
            return phrase.before("det", word(self.pick(forms), "DET", number=number))
        if not plural and draw > 0.88:
            return phrase.before("det", word("a", "DET"))
        return phrase.before("det", word("the", "DET"))

    def noun(self, kind: str) -> Noun:
        alike = self.lexicon.homograph_nouns.get(kind)
        if alike and self.chance(0.5):
            return self.pick(alike)
        return self.pick(self.lexicon.nouns[kind])

    def person(self) -> Phrase:
        phrase = self.name(self.pick(self.lexicon.names["first"]), "PERSON")
        if self.chance(0.4):
            phrase.after("flat", self.name(self.pick(self.lexicon.names["last"]), "PERSON"))
        if self.chance(0.1):
            title = self.common("person")
            title.nodes = [node for node in title.nodes if node.deprel == "amod"] + [title.head]
            title.head.form = self.pick(self.lexicon.nouns["person"]).singular
            title.head.number = "Sing"
            title.before("det", word(self.pick(("a", "the")), "DET"))
            title.before("punct", word(",", "PUNCT")).after("punct", word(",", "PUNCT"))
            phrase.after("appos", title)
        return phrase

    def place(self) -> Phrase:
        if self.chance(0.7):
            return self.name(self.pick(self.lexicon.names["place"]), "PLACE")
        phrase = self.name(self.pick(self.lexicon.names["place_base"]), "PLACE")
        prefix = self.pick(self.lexicon.names["place_prefix"])
        return phrase.before("compound", self.name(prefix, "PLACE"))

    def organisation(self) -> Phrase:
        phrase = self.name(self.pick(self.lexicon.names["organisation"]), "ORGANISATION")
        if self.chance(0.5):
            suffix = self.pick(self.lexicon.names["organisation_suffix"])
            head = self.name(suffix, "ORGANISATION")
            return head.before("compound", phrase)
        return phrase

    @staticmethod
    def name(form: str, entity: str) -> Phrase:
        return word(form, "PROPN", number="Sing", entity=entity)

    # --- modifiers -----------------------------------------------------------------------------

    def adjective(self, kind: str, *, negated: bool = False) -> Phrase:
        """An adjective that suits the kind of noun and the mood; negation turns its polarity."""
        if self.mood != "neutral" and (negated or self.chance(0.7)):
            self.expressed = True
            opposite = {"positive": "negative", "negative": "positive"}
            polarity = opposite[self.mood] if negated else self.mood
            return word(self.pick(self.lexicon.adjectives[polarity]), "ADJ")
        pools = ["any", kind] if kind in ("person", "thing") else ["any"]
        return word(self.pick(self.lexicon.adjectives[self.pick(pools)]), "ADJ")

    def adverb(self) -> Phrase:
        """An adverb of manner."""
        if self.mood != "neutral" and self.chance(0.5):
            self.expressed = True
            return word(self.pick(self.lexicon.adverbs[self.mood]), "ADV")
        return word(self.pick(self.lexicon.adverbs["manner"]), "ADV")

    def whereabouts(self) -> Phrase:
        """A prepositional phrase of place or company."""
        draw = self.rng.random()
        if draw < 0.4:
            return self.place().before("case", word(self.pick(("in", "near")), "ADP"))
        if draw < 0.75:
            preposition = self.pick(("in", "near", "behind", "outside", "beside"))
            return self.common("place").before("case", word(preposition, "ADP"))
        companion = self.nominal(PEOPLE, depth=1)
        return companion.before("case", word(self.pick(("with", "without")), "ADP"))
