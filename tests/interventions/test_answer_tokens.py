"""Answers of a corpus as tokens of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.corpora.answers import Answer, Contrast
from probes.corpora.corpus import Corpus
from probes.interventions.answer_tokens import score_answers
from probes.interventions.measures import MEASURES
from probes.interventions.twins import find_twins
from probes.models.handle import Handle
from probes.models.loading import open_model
from tests.models.test_chat import TEMPLATES, templated
from tests.small_corpora import corpus_of_texts
from tests.tiny_checkpoints import write_checkpoint

DIFFERENCE, PROBABILITY = MEASURES["logit_difference"], MEASURES["log_probability"]


def corpus_with(texts: Sequence[str], answers: Sequence[Answer]) -> Corpus:
    return replace(corpus_of_texts(texts), answers=tuple(answers))


def written(handle: Handle, ids: Sequence[int]) -> str:
    return str(handle.tokenizer.decode(list(ids), skip_special_tokens=True))


def test_the_token_before_an_answer_is_read(talking: Handle) -> None:
    text = "Mary gave it to"
    corpus = corpus_with([text], [Answer(0, len(text), " John", (" Mary", " Paul"))])
    texts = score_answers(corpus, talking, DIFFERENCE)
    (ids,) = np.split(texts.alignment.ids, texts.alignment.offsets[1:-1])
    whole = talking.encode([text + " John"])[0]
    end = len(talking.encode([text + " "])[0].ids)  # this tokenizer has a token for a space
    assert ids.tolist() == whole.ids[:end]
    assert texts.alignment.last.tolist() == [end - 1]
    assert texts.targets.tolist() == [whole.ids[end]]


def test_all_tokens_of_an_answer_are_read_where_the_measure_sums_them(
    talking: Handle,
) -> None:
    text = "Mary gave it to"
    corpus = corpus_with([text], [Answer(0, len(text), " John")])
    texts = score_answers(corpus, talking, PROBABILITY)
    assert written(talking, texts.targets.tolist()).strip() == "John"
    assert len(set(texts.part.tolist())) == 1
    # Each token is predicted from the one before it.
    begin = int(texts.alignment.last[0])
    assert texts.alignment.last.tolist() == list(range(begin, begin + len(texts.targets)))


def test_several_answers_in_one_text_are_one_row(talking: Handle) -> None:
    text = "one two three"
    answers = [Answer(0, 3, " two", (" six",)), Answer(0, len(text), " four", (" nine",))]
    texts = score_answers(corpus_with([text], answers), talking, DIFFERENCE)
    assert len(texts) == 1 and len(texts.row) == 2 and texts.row.tolist() == [0, 0]
    assert len(texts.alignment.example) == 1


def test_what_cannot_be_scored_is_counted(talking: Handle) -> None:
    text = "say"
    same = Answer(0, len(text), " yes", (" yesterday",))  # its first token is the answer's own
    with pytest.raises(UserError, match=r"no answer .* can be scored"):
        score_answers(corpus_with([text], [same]), talking, DIFFERENCE)
    both = replace(same, alternatives=(" yesterday", " no"))
    texts = score_answers(corpus_with([text], [both]), talking, DIFFERENCE)
    assert len(texts.others) == 1
    assert any("answer's own token" in note for note in texts.notes)


def test_a_corpus_without_answers_is_refused_with_what_to_do(talking: Handle) -> None:
    with pytest.raises(UserError, match=r"says of no text what comes next.*measure=downstream"):
        score_answers(corpus_of_texts(["a b"]), talking, DIFFERENCE)


def test_sentences_are_sequences_of_their_own(talking: Handle) -> None:
    good, bad = "the cats sleep", "the cats sleeps"
    answer = Answer(0, 0, good, (bad,), sequence=True)
    texts = score_answers(corpus_with([good], [answer]), talking, MEASURES["sentence_difference"])
    assert texts.bad.tolist() == [False, True]
    assert len(texts.alignment.example) == 2 and len(texts) == 1
    for part, sentence in enumerate((good, bad)):
        assert written(talking, texts.targets[texts.part == part].tolist()).strip() == sentence
    with pytest.raises(UserError, match="whole sentences"):
        score_answers(corpus_with([good], [answer]), talking, DIFFERENCE)


def test_taking_rows_keeps_their_reads_and_alternatives(talking: Handle) -> None:
    names = ["Ann", "Bob", "Cid", "Dan"]
    texts = [f"{name} met Eve. Eve met" for name in names]
    answers = [
        Answer(i, len(t), f" {names[i]}", tuple(f" {n}" for n in names if n != names[i]))
        for i, t in enumerate(texts)
    ]
    whole = score_answers(corpus_with(texts, answers), talking, DIFFERENCE)
    for chosen in ([1, 3], [0], [0, 1, 2, 3]):
        rows = np.isin(np.arange(4), chosen)
        taken = whole.take(rows)
        alone = score_answers(corpus_with(texts, answers), talking, DIFFERENCE, examples=chosen)
        assert taken.example.tolist() == chosen
        for name in ("targets", "others", "bounds", "part", "row"):
            assert getattr(taken, name).tolist() == getattr(alone, name).tolist(), name
        for name in ("ids", "offsets", "last", "sequence", "grouped", "bounds"):
            one, other = getattr(taken.alignment, name), getattr(alone.alignment, name)
            assert np.asarray(one).tolist() == np.asarray(other).tolist(), name


@pytest.mark.parametrize("template", ["chatml", "headers", "inst"])
def test_in_a_chat_the_answer_is_what_the_model_replies(template: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, tokenizer=templated(TEMPLATES[template]))
    chat = replace(open_model(ModelConfig(name=str(tmp_path), chat="user")), context=500)
    text, twin = "Ann met Eve and saw", "Cid met Eve and saw"
    corpus = replace(
        corpus_with([text], [Answer(0, len(text), " Eve", (" Ann",))]),
        contrasts=(Contrast(0, "other", twin),),
    )
    # The prompt as generation has it: the user's turn, and the beginning of the model's.
    prompt, of_twin = (chat.encode([t], [len(t)])[0].ids for t in (text, twin))
    scored = score_answers(corpus, chat, DIFFERENCE)
    whole = chat.encode([text + " Eve"], [len(text)])[0].ids
    (read,) = scored.alignment.last.tolist()
    assert scored.alignment.ids.tolist() == whole[: read + 1]
    assert scored.alignment.ids.tolist()[: len(prompt) - 1] == prompt[:-1]
    assert written(chat, scored.targets.tolist()).strip().startswith("E")
    twins = find_twins(corpus, chat, scored, "other")
    assert twins.parts.tolist() == [True] and twins.ids.tolist()[: len(of_twin) - 1] == of_twin[:-1]
    # Whole texts are scored at their own tokens, not at those of the template.
    loss = score_answers(corpus, chat, MEASURES["loss"])
    assert written(chat, loss.targets.tolist()).replace(" ", "") == text.replace(" ", "")
