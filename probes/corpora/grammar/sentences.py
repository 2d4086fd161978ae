"""The built-in corpus: sentences from a seeded grammar, annotated as they are made.

It needs no file and no network. Content words, names among them, are cut into three parts without
a common word form, one for each split, so a probe is scored on words that it never saw; function
words are shared. Many words are noun or verb by context (``watch``, ``saw``), so that the word
alone does not give the answer either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from probes.config import GrammarConfig
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import SPLITS, TEST, TRAIN, VALIDATION, Corpus
from probes.corpora.grammar.clauses import Composer
from probes.corpora.grammar.lexicon import make_lexica

SHARES = (0.6, 0.2, 0.2)
"""Of sentences and of words of each class, in the order of ``SPLITS``."""

ROLES = {"nsubj": "subject", "nsubj:pass": "subject", "obj": "object", "iobj": "object"}

MODIFIERS = {"amod": "adjectival", "advmod": "adverbial"}

DESCRIPTIONS = {
    "upos": "universal part of speech",
    "deprel": "relation to the head in the dependency tree",
    "head_upos": "universal part of speech of the head word, ROOT for the root",
    "modifier": "adjectival or adverbial modifier",
    "number": "singular or plural of nouns, pronouns, demonstratives and agreeing verbs",
    "tense": "present or past of finite verbs",
    "role": "grammatical subject or object, of nouns, names and pronouns",
    "entity_type": "kind of name, O for common nouns",
    "sentiment": "evaluation in the sentence, with negation",
    "construction": "rule that made the sentence",
}


@dataclass(frozen=True)
class Word:
    """One word with its gold annotation."""

    form: str
    upos: str
    deprel: str
    head: int
    """Index of its head in the sentence, -1 for the root."""
    number: str | None
    tense: str | None
    role: str | None
    entity_type: str | None


@dataclass(frozen=True)
class Sentence:
    """One generated sentence."""

    words: tuple[Word, ...]
    construction: str
    sentiment: str
    split: int

    @property
    def offsets(self) -> list[int]:
        """Where each word starts in ``text``."""
        starts, position = [], 0
        for word in self.words:
            position += bool(position) and word.upos != "PUNCT"  # a space before all but . , ?
            starts.append(position)
            position += len(word.form)
        return starts

    @property
    def text(self) -> str:
        """The sentence as written."""
        text = ""
        for start, word in zip(self.offsets, self.words, strict=True):
            text = text.ljust(start) + word.form
        return text


def generate(sentences: int, seed: int) -> Iterator[Sentence]:
    """Sentences of all three splits, train first, no text twice; the same for the same seed."""
    seen: set[str] = set()
    bounds = [round(sum(SHARES[:part]) * sentences) for part in range(len(SHARES) + 1)]
    for split, lexicon in zip((TRAIN, VALIDATION, TEST), make_lexica(seed, SHARES), strict=True):
        rng = Random(f"{SPLITS[split]} {seed}")
        composer = Composer(rng, lexicon)
        wanted = bounds[split + 1] - bounds[split]
        while wanted:
            mood = composer.pick(("positive", "negative", "neutral"))
            construction, nodes = composer.sentence(mood)
            while mood != "neutral" and not composer.expressed:
                construction, nodes = composer.sentence(mood)  # until an evaluative word comes up
            index = {id(node): place for place, node in enumerate(nodes)}
            words = tuple(
                Word(
                    form=node.form,
                    upos=node.upos,
                    deprel=node.deprel,
                    head=-1 if node.head is None else index[id(node.head)],
                    number=node.number,
                    tense=node.tense,
                    role=ROLES.get(node.deprel),
                    entity_type=node.entity,
                )
                for node in nodes
            )
            sentence = Sentence(words, construction, mood, split)
            if sentence.text not in seen:
                seen.add(sentence.text)
                wanted -= 1
                yield sentence


def load(config: GrammarConfig) -> Corpus:
    """The corpus of ``corpus=grammar``; each sentence is a group of its own."""
    if config.sentences < 10:
        raise UserError(
            f"corpus.sentences={config.sentences}: too few for three splits",
            allowed="10 or more",
            fix="corpus.sentences=1000",
        )
    builder = CorpusBuilder(config.name)
    for sentence in generate(config.sentences, config.seed):
        text = sentence.text
        example = builder.add_text(text, group=text, split=sentence.split)
        for start, word in zip(sentence.offsets, sentence.words, strict=True):
            values = {
                "upos": word.upos,
                "deprel": word.deprel,
                "head_upos": "ROOT" if word.head < 0 else sentence.words[word.head].upos,
                "modifier": MODIFIERS.get(word.deprel),
                "number": word.number,
                "tense": word.tense,
                "role": word.role,
                "entity_type": word.entity_type,
            }
            builder.add_unit(example, start, start + len(word.form), "word", values)
        values = {"sentiment": sentence.sentiment, "construction": sentence.construction}
        builder.add_unit(example, 0, len(text), "sentence", values)
    return builder.build(
        default_features=("upos", "deprel", "entity_type"), descriptions=DESCRIPTIONS
    )
