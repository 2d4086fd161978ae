"""The built-in corpus: well-formed trees, agreement, ambiguity, held-out words."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from probes.config import GrammarConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import LEVELS, TEST, TRAIN, VALIDATION, Corpus
from probes.corpora.grammar.lexicon import noun, verb
from probes.corpora.grammar.sentences import Sentence, generate

OPEN_CLASSES = {"NOUN", "PROPN", "VERB", "ADJ", "ADV"}
FORMS_OF_BE = {"am", "is", "are", "was", "were"}
PINNED = [
    "Our factory is pleasant.",
    "Their clever butcher can hate our guides terribly near Madrid.",
]
CLOSED_ADVERBS = {"very", "quite", "rather", "really", "extremely", "never"}


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    return list(generate(2000, seed=0))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus(GrammarConfig(sentences=2000))


def content_types(sentences: list[Sentence], split: int) -> set[str]:
    return (
        {
            word.form.casefold()
            for sentence in sentences
            if sentence.split == split
            for word in sentence.words
            if word.upos in OPEN_CLASSES
        }
        - FORMS_OF_BE
        - CLOSED_ADVERBS
    )


def test_sizes_and_speed() -> None:
    begin = time.perf_counter()
    corpus = load_corpus(GrammarConfig(sentences=2000))
    assert time.perf_counter() - begin < 5  # about 0.2 s alone
    assert len(corpus.texts) == len(set(corpus.texts)) == 2000
    assert np.bincount(corpus.splits).tolist() == [1200, 400, 400]
    assert (corpus.units.level == LEVELS.index("word")).sum() > 15_000
    assert corpus.default_features == ("upos", "deprel", "entity_type")
    assert len(set(corpus.groups)) == 2000


def test_trees_are_well_formed(sentences: list[Sentence]) -> None:
    for sentence in sentences:
        heads = [word.head for word in sentence.words]
        roots = [i for i, word in enumerate(sentence.words) if word.head == -1]
        assert len(roots) == 1, sentence.text
        assert sentence.words[roots[0]].deprel == "root"
        assert [w.deprel for w in sentence.words].count("root") == 1
        for start in range(len(heads)):  # every word reaches the root: no cycle
            steps, at = 0, start
            while heads[at] != -1:
                at, steps = heads[at], steps + 1
                assert steps <= len(heads), sentence.text


def test_finite_verbs_agree_with_their_subjects(sentences: list[Sentence]) -> None:
    checked = 0
    for sentence in sentences:
        dependents = defaultdict(list)
        for word in sentence.words:
            dependents[word.head].append(word)
        for place, predicate in enumerate(sentence.words):
            subjects = [w for w in dependents[place] if w.deprel in ("nsubj", "nsubj:pass")]
            assert len(subjects) <= 1, sentence.text
            marks = [w for w in dependents[place] if w.deprel in ("aux", "aux:pass", "cop")]
            finite = [w for w in [predicate, *marks] if w.tense and w.number]
            if not subjects or not finite or subjects[0].number is None:
                continue
            subject = subjects[0]
            joined = any(w.deprel == "conj" for w in dependents[sentence.words.index(subject)])
            number = "Plur" if joined else subject.number
            assert finite[0].number == number, sentence.text
            checked += 1
    assert checked > 1000


def test_agreement_shows_in_the_form(sentences: list[Sentence]) -> None:
    plural_forms = {"are", "were"}
    for sentence in sentences:
        for word in sentence.words:
            if word.form in plural_forms:
                assert word.number == "Plur"
            if word.form == "is":
                assert word.number == "Sing"
            if word.upos == "VERB" and word.tense == "Pres" and word.form not in ("are", "is"):
                ends_in_s = word.form.endswith("s") and not word.form.endswith("ss")
                assert ends_in_s <= (word.number == "Sing"), sentence.text


def test_ambiguous_words_occur_as_noun_and_verb(sentences: list[Sentence]) -> None:
    for split, least in ((TRAIN, 30), (VALIDATION, 8), (TEST, 8)):
        tags: dict[str, Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            if sentence.split == split:
                for word in sentence.words:
                    tags[word.form.casefold()][word.upos] += 1
        both = [form for form, count in tags.items() if count["NOUN"] and count["VERB"]]
        assert len(both) >= least


@pytest.mark.parametrize("seed", range(4))
def test_content_words_of_the_splits_are_disjoint(seed: int) -> None:
    sentences = list(generate(1000, seed))
    train, validation, test = (content_types(sentences, s) for s in (TRAIN, VALIDATION, TEST))
    assert not train & test
    assert not train & validation
    assert not validation & test
    assert min(len(train), len(validation), len(test)) > 100


def test_function_words_are_shared(sentences: list[Sentence]) -> None:
    closed = defaultdict(set)
    for sentence in sentences:
        for word in sentence.words:
            if word.upos in ("DET", "ADP", "PRON", "AUX", "CCONJ", "SCONJ"):
                closed[sentence.split].add(word.form.casefold())
    assert closed[TEST] <= closed[TRAIN]


def test_writing(sentences: list[Sentence]) -> None:
    for sentence in sentences:
        text = sentence.text
        assert text[0].isupper() and text[-1] in ".?"
        assert not any(mark in text for mark in ("  ", " ,", " .", ",,", ",.", ",?"))
        for first, second in zip(text.split(), text.split()[1:], strict=False):
            assert first not in ("a", "A") or second[0] not in "aeiou", text
            assert first not in ("an", "An") or second[0] in "aeiouAEIOU", text


def test_units_cover_their_words(corpus: Corpus, sentences: list[Sentence]) -> None:
    expected = [word.form for sentence in sentences for word in sentence.words]
    words = np.flatnonzero(corpus.units.level == LEVELS.index("word"))
    assert [corpus.unit_text(unit) for unit in words] == expected
    tags = corpus.features["upos"]
    assert [tags.classes[code] for code in tags.codes[words]] == [
        word.upos for sentence in sentences for word in sentence.words
    ]
    sentence_units = np.flatnonzero(corpus.units.level == LEVELS.index("sentence"))
    assert [corpus.unit_text(unit) for unit in sentence_units] == list(corpus.texts)


def test_names_have_one_and_several_words(sentences: list[Sentence]) -> None:
    lengths: dict[str, Counter[int]] = defaultdict(Counter)
    for sentence in sentences:
        kinds = [word.entity_type for word in sentence.words] + [None]
        run = 0
        for here, following in pairwise(kinds):
            run += 1
            if here != following:
                lengths[str(here)][run] += 1
                run = 0
    for kind in ("PERSON", "PLACE", "ORGANISATION"):
        assert lengths[kind][1] > 20 and lengths[kind][2] > 20


def test_sentiment_is_balanced_and_not_a_bag_of_words(sentences: list[Sentence]) -> None:
    counts = Counter(sentence.sentiment for sentence in sentences)
    assert min(counts.values()) > 500
    negated = [s for s in sentences if any(w.form in ("not", "never") for w in s.words)]
    of_polarity = defaultdict(set)
    for sentence in sentences:
        plain = not any(w.form in ("not", "never") for w in sentence.words)
        for word in sentence.words:
            if plain and word.upos == "ADJ":
                of_polarity[word.form].add(sentence.sentiment)
    turned = [
        s
        for s in negated
        for w in s.words
        if of_polarity.get(w.form) in ({"positive"}, {"negative"})
        and s.sentiment not in of_polarity[w.form]
    ]
    assert len(turned) > 30


def test_same_seed_same_corpus_other_seed_other_corpus(corpus: Corpus) -> None:
    again, other = (
        load_corpus(GrammarConfig(sentences=2000)),
        load_corpus(GrammarConfig(sentences=2000, seed=1)),
    )
    assert again.fingerprint == corpus.fingerprint
    assert other.fingerprint != corpus.fingerprint
    assert other.text_fingerprint != corpus.text_fingerprint


def test_text_is_pinned() -> None:
    """A change of the generator changes every cache and every published figure: not by accident."""
    assert [sentence.text for sentence in generate(10, seed=0)][:2] == PINNED


def test_inflection() -> None:
    assert noun("city", "place").plural == "cities"
    assert noun("watch", "thing").plural == "watches"
    assert noun("boy", "person").plural == "boys"
    assert verb("carry").past == "carried" and verb("carry").third == "carries"
    assert verb("agree").gerund == "agreeing" and verb("agree").past == "agreed"
    assert verb("swim/swam/swum").gerund == "swimming"
    assert verb("see/saw/seen").participle == "seen"


@pytest.mark.parametrize("sentences", [0, -5, 3])
def test_too_few_sentences(sentences: int) -> None:
    with pytest.raises(UserError, match=r"corpus\.sentences=.*too few"):
        load_corpus(GrammarConfig(sentences=sentences))
