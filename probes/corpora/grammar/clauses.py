"""The rules of the built-in grammar: how words and phrases make clauses and sentences."""

from __future__ import annotations

from collections.abc import Callable

from probes.corpora.grammar.lexicon import BE, DEGREES, DO, HAVE, MODALS, Verb
from probes.corpora.grammar.phrases import PEOPLE, Node, Phrase, PhraseComposer, word

OBJECTS = {
    "handle": {"thing": 1},
    "meet": {"person": 3, "animal": 1, "name": 2, "organisation": 2, "event": 2, "pronoun": 1},
    "positive": {"person": 1, "thing": 1, "event": 2, "place": 1, "name": 1, "organisation": 1},
    "negative": {"person": 1, "thing": 1, "event": 2, "place": 1, "name": 1, "organisation": 1},
}
"""Class of a transitive verb -> weights of what its object may be."""

AGENTS = {"person": 5, "animal": 2, "name": 3, "organisation": 3, "pronoun": 3}
ANYTHING = {"person": 2, "animal": 1, "thing": 2, "event": 2, "place": 1, "name": 1}


class Composer(PhraseComposer):
    """Draws sentences from one lexicon; ``mood`` colours the evaluative words of a sentence."""

    def sentence(self, mood: str) -> tuple[str, list[Node]]:
        """Name of the construction and the words of one sentence; mood as in ``expressed``."""
        self.mood, self.expressed = mood, False
        name = self.weighted({name: weight for name, (weight, _) in SENTENCES.items()})
        phrase = SENTENCES[name][1](self)
        if phrase.nodes[-1].form != "?":
            phrase.after("punct", word(".", "PUNCT"))
        phrase.nodes = [
            here
            for here, following in zip(phrase.nodes, [*phrase.nodes[1:], None], strict=True)
            if not (here.form == "," and following is not None and following.upos == "PUNCT")
        ]
        for here, following in zip(phrase.nodes, phrase.nodes[1:], strict=False):
            if here.form == "a" and following.form[0] in "aeiouAEIOU":
                here.form = "an"
        first = phrase.nodes[0]
        first.form = first.form[0].upper() + first.form[1:]
        return name, phrase.nodes

    # --- verbs ---------------------------------------------------------------------------------

    def verb(self, kind: str) -> Verb:
        alike = self.lexicon.homograph_verbs.get(kind)
        if alike and self.chance(0.5):
            return self.pick(alike)
        return self.pick(self.lexicon.verbs[kind])

    def transitive_kind(self) -> str:
        if self.mood != "neutral" and self.chance(0.5):
            self.expressed = True
            return self.mood
        return self.weighted({"handle": 3, "meet": 4})

    def finite(self, verb: Verb, agreement: str) -> Phrase:
        """A verb in a finite form, alone or under an auxiliary, perhaps with an adverb."""
        tense = self.weighted({"Pres": 1, "Past": 1})
        draw = self.rng.random()
        if draw < 0.55:
            third = tense == "Pres" and agreement == "third"
            form = verb.past if tense == "Past" else verb.third if third else verb.base
            number = None if tense == "Past" else singular(agreement)
            phrase = word(form, "VERB", tense=tense, number=number)
        elif draw < 0.68:
            phrase = word(verb.gerund, "VERB").before("aux", self.be(tense, agreement))
        elif draw < 0.8:
            number = singular(agreement) if tense == "Pres" else None
            have = word(HAVE[tense][agreement], "AUX", tense=tense, number=number)
            return word(verb.participle, "VERB").before("aux", have)
        elif draw < 0.92 or self.mood != "neutral":  # a denied evaluation would be ambiguous
            return word(verb.base, "VERB").before("aux", word(self.pick(MODALS), "AUX"))
        else:
            phrase = word(verb.base, "VERB").before("advmod", word("not", "PART"))
            return phrase.before("aux", self.do(tense, agreement))
        if draw < 0.55 and self.chance(0.15):
            frequency = word(self.pick(self.lexicon.adverbs["frequency"]), "ADV")
            phrase.before("advmod", frequency)
        return phrase

    @staticmethod
    def be(tense: str, agreement: str, upos: str = "AUX") -> Phrase:
        return word(BE[tense][agreement], upos, tense=tense, number=singular(agreement))

    @staticmethod
    def do(tense: str, agreement: str) -> Phrase:
        number = singular(agreement) if tense == "Pres" else None
        return word(DO[tense][agreement], "AUX", tense=tense, number=number)

    # --- clauses -------------------------------------------------------------------------------

    def transitive(self) -> Phrase:
        kind = self.transitive_kind()
        subject = self.subject(AGENTS if kind == "meet" else PEOPLE)
        clause = self.finite(self.verb(kind), subject.agreement)
        clause.after("obj", self.nominal(OBJECTS[kind]))
        return self.modified(clause).before("nsubj", subject)

    def intransitive(self) -> Phrase:
        happens = self.chance(0.2)
        subject = self.subject({"event": 1} if happens else AGENTS)
        verb = self.verb("happen" if happens else "intransitive")
        clause = self.modified(self.finite(verb, subject.agreement), often=True)
        return clause.before("nsubj", subject)

    def modified(self, clause: Phrase, *, often: bool = False) -> Phrase:
        """A clause with, at times, an adverb or a prepositional phrase at its end."""
        if self.chance(0.5 if often else 0.25):
            clause.after("advmod", self.adverb())
        if self.chance(0.4 if often else 0.2):
            clause.after("obl", self.whereabouts())
        return clause

    def passive(self) -> Phrase:
        kind = self.transitive_kind()
        allowed = {k: w for k, w in OBJECTS[kind].items() if k != "pronoun"}
        subject = self.subject(allowed)
        clause = word(self.verb(kind).participle, "VERB")
        tense = self.weighted({"Pres": 1, "Past": 2})
        clause.before("aux:pass", self.be(tense, subject.agreement))
        if self.chance(0.65):
            agent = self.nominal({**PEOPLE, "organisation": 2}, depth=1)
            clause.after("obl:agent", agent.before("case", word("by", "ADP")))
        return self.modified(clause).before("nsubj:pass", subject)

    def ditransitive(self) -> Phrase:
        subject = self.subject(PEOPLE)
        clause = self.finite(self.pick(self.lexicon.verbs["give"]), subject.agreement)
        gift = self.nominal({"thing": 1}, depth=1)
        receiver = self.nominal({**PEOPLE, "organisation": 2}, depth=1)
        if self.chance(0.5):
            clause.after("iobj", receiver).after("obj", gift)
        else:
            clause.after("obj", gift).after("obl", receiver.before("case", word("to", "ADP")))
        return clause.before("nsubj", subject)

    def copular(self) -> Phrase:
        subject = self.subject(ANYTHING)
        negated = self.chance(0.3)
        draw = self.rng.random()
        person = subject.head.upos == "PROPN" or subject.head.upos == "PRON"
        if draw < 0.6 or not person:
            clause = self.adjective("person" if person else "", negated=negated)
            if not negated and self.chance(0.3):
                clause.before("advmod", word(self.pick(DEGREES), "ADV"))
        elif draw < 0.8 and subject.agreement != "plural":
            role = self.pick(self.lexicon.nouns["person"]).singular
            clause = word(role, "NOUN", number="Sing", entity="O")
            if self.chance(0.4):
                clause.before("amod", self.adjective("person", negated=negated))
            clause.before("det", word("a", "DET"))
        else:
            clause = self.place().before("case", word("in", "ADP"))
        if negated:
            denial = word("not", "PART") if self.chance(0.6) else word("never", "ADV")
            clause.before("advmod", denial)
        tense = self.weighted({"Pres": 1, "Past": 1})
        clause.before("cop", self.be(tense, subject.agreement))
        return clause.before("nsubj", subject)

    def existential(self) -> Phrase:
        thing = self.common(self.weighted({"person": 1, "animal": 1, "thing": 2, "event": 1}))
        tense = self.weighted({"Pres": 1, "Past": 1})
        clause = self.be(tense, thing.agreement, "VERB").before("expl", word("there", "PRON"))
        return clause.after("nsubj", thing).after("obl", self.whereabouts())

    def subject(self, kinds: dict[str, int]) -> Phrase:
        """A subject: a noun phrase, at times with a relative clause or two of them joined."""
        phrase = self.nominal(kinds, subject=True)
        draw = self.rng.random()
        if phrase.head.upos == "NOUN" and draw < 0.12:
            phrase.after("acl:relcl", self.relative(phrase))
        elif phrase.head.upos != "PRON" and draw > 0.92:
            phrase.after("conj", self.conjunct(phrase)).agreement = "plural"
        return phrase

    def relative(self, antecedent: Phrase) -> Phrase:
        """``that watched Maria`` or ``that Maria watched``, after the noun that it describes."""
        kind = self.transitive_kind()
        own = "who" if antecedent.kind == "person" else "which"
        pronoun = word(self.pick(("that", own)), "PRON")
        if self.chance(0.5):
            clause = self.finite(self.verb(kind), antecedent.agreement)
            clause.after("obj", self.nominal(OBJECTS[kind], depth=1))
            return clause.before("nsubj", pronoun)
        subject = self.nominal(PEOPLE, subject=True, depth=1)
        clause = self.finite(self.verb(kind), subject.agreement).before("nsubj", subject)
        return clause.before("obj", pronoun)

    def conjunct(self, like: Phrase) -> Phrase:
        other = self.person() if like.head.upos == "PROPN" else self.common("person")
        return other.before("cc", word("and", "CCONJ"))

    def simple(self) -> Phrase:
        """One clause of the commonest kinds."""
        name = self.weighted({"transitive": 4, "intransitive": 3, "copular": 2, "passive": 1})
        clause: Phrase = getattr(self, name)()
        return clause

    # --- sentences of more than one clause, and questions --------------------------------------

    def coordination(self) -> Phrase:
        second = self.simple().before("cc", word(self.pick(("and", "but")), "CCONJ"))
        return self.simple().after("conj", second.before("punct", word(",", "PUNCT")))

    def verb_coordination(self) -> Phrase:
        subject = self.subject(PEOPLE)
        first = self.finite(self.verb("intransitive"), subject.agreement)
        kind = self.transitive_kind()
        second = self.finite(self.verb(kind), subject.agreement)
        second.after("obj", self.nominal(OBJECTS[kind], depth=1))
        first.after("conj", second.before("cc", word("and", "CCONJ")))
        return first.before("nsubj", subject)

    def complement(self) -> Phrase:
        subject = self.subject(PEOPLE)
        clause = self.finite(self.pick(self.lexicon.verbs["say"]), subject.agreement)
        content = self.simple().before("mark", word("that", "SCONJ"))
        return clause.after("ccomp", content).before("nsubj", subject)

    def adverbial(self) -> Phrase:
        mark = word(self.pick(("because", "when", "although", "if", "while")), "SCONJ")
        side = self.simple().before("mark", mark)
        if self.chance(0.5):
            side.after("punct", word(",", "PUNCT"))
            return self.simple().before("advcl", side)
        return self.simple().after("advcl", side)

    def infinitive(self) -> Phrase:
        subject = self.subject(PEOPLE)
        clause = self.finite(self.pick(self.lexicon.verbs["try"]), subject.agreement)
        kind = self.transitive_kind()
        goal = word(self.verb(kind).base, "VERB").before("mark", word("to", "PART"))
        goal.after("obj", self.nominal(OBJECTS[kind], depth=1))
        return clause.after("xcomp", goal).before("nsubj", subject)

    def question(self) -> Phrase:
        subject = self.nominal(AGENTS, subject=True)
        kind = self.transitive_kind()
        tense = self.weighted({"Pres": 1, "Past": 1})
        clause = word(self.verb(kind).base, "VERB").before("nsubj", subject)
        clause.before("aux", self.do(tense, subject.agreement))
        if self.chance(0.6):
            clause.after("obj", self.nominal(OBJECTS[kind]))
        else:
            clause.before("obj", word(self.pick(("what", "who")), "PRON"))
        return clause.after("punct", word("?", "PUNCT"))

    def subject_question(self) -> Phrase:
        kind = self.transitive_kind()
        clause = self.finite(self.verb(kind), "third").after("obj", self.nominal(OBJECTS[kind]))
        return clause.before("nsubj", word("who", "PRON")).after("punct", word("?", "PUNCT"))


def singular(agreement: str) -> str:
    """The grammatical number that an agreement stands for."""
    return "Plur" if agreement == "plural" else "Sing"


SENTENCES: dict[str, tuple[int, Callable[[Composer], Phrase]]] = {
    "transitive": (20, Composer.transitive),
    "intransitive": (14, Composer.intransitive),
    "copular": (16, Composer.copular),
    "passive": (10, Composer.passive),
    "ditransitive": (7, Composer.ditransitive),
    "existential": (4, Composer.existential),
    "coordination": (6, Composer.coordination),
    "verb coordination": (5, Composer.verb_coordination),
    "complement": (6, Composer.complement),
    "adverbial": (5, Composer.adverbial),
    "infinitive": (5, Composer.infinitive),
    "question": (6, Composer.question),
    "subject question": (3, Composer.subject_question),
}
"""Name of a construction -> its weight and the rule that builds it."""
