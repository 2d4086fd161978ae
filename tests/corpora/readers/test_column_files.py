"""Column files: cut at their separator only, dialects of comments and documents, joined words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from probes.config import BioConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus
from probes.corpora.joining import join_words


def read(tmp_path: Path, content: str, **config: Any) -> Corpus:
    file = tmp_path / "train.conll"
    file.write_bytes(content.encode())
    return load_corpus(BioConfig(train=str(file), **config))


def classes(corpus: Corpus, feature: str = "entity_type") -> Counter[str]:
    values = corpus.features[feature]
    return Counter(values.classes[code] for code in values.codes if code >= 0)


@pytest.mark.parametrize("separator", [" ", "   ", "\t"])
def test_tokens_keep_other_white_space(tmp_path: Path, separator: str) -> None:
    rows = [("3\u00a0000", "B-num"), ("a\u2009b\u3000c", "O"), ("d\x85e", "O")]
    corpus = read(tmp_path, "\n".join(separator.join(row) for row in rows))
    assert corpus.texts == ("3\u00a0000 a\u2009b\u3000c d\x85e",)
    assert classes(corpus) == {"num": 1, "O": 2}


def test_a_token_of_white_space_is_text_without_a_label(tmp_path: Path) -> None:
    corpus = read(tmp_path, "a\tO\n\u00a0\tO\nb\tB-x\n")
    assert corpus.texts == ("a \u00a0 b",) and classes(corpus) == {"O": 1, "x": 1}
    assert corpus.notes == ("1 tokens of white space left out",)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path: Path, ends: str) -> None:
    assert read(tmp_path, ends.join(["a O", "b B-x", "", "c O", ""])).texts == ("a b", "c")


def test_a_comma_is_a_tag(tmp_path: Path) -> None:
    rows = "Lena NNP B-PER\n, , O\nleft VBD,VBN O\n"
    corpus = read(tmp_path, rows, tag_column=1, feature="pos")
    assert classes(corpus, "pos") == {"NNP": 1, ",": 1, "VBD,VBN": 1} and corpus.notes == ()
    nested = read(tmp_path, "a\tB-x,I-y\nb\tO,B-z\nc\tB-x\n")
    assert classes(nested) == {"x": 2, "O": 1}
    assert nested.notes == ("2 tokens with several tags: the first counts",)


def test_comments_of_multiconer(tmp_path: Path) -> None:
    comment = "# id 0000-4000\tdomain=en\n"
    corpus = read(tmp_path, f"{comment}Lena _ _ B-PER\nleft _ _ O\n\n{comment}# _ _ O\nok _ _ O\n")
    assert corpus.texts == ("Lena left", "# ok")
    assert classes(corpus) == {"PER": 1, "O": 3}
    assert corpus.notes == ("2 comment lines left out",)


def test_comments_of_germeval(tmp_path: Path) -> None:
    comment = "#\tn-tv.de vom 26.02.2005 [2005-02-26] \n"
    rows = "1\tBonn\tB-LOC\tO\n2\t#\tO\tO\n"
    corpus = read(tmp_path, comment + rows + "\n" + comment + rows, token_column=1, tag_column=2)
    assert corpus.texts == ("Bonn #", "Bonn #") and classes(corpus) == {"LOC": 2, "O": 2}


def test_comments_with_keys_and_hashtags(tmp_path: Path) -> None:
    rows = "# sent_id = 1\n# text = a b\n#topic\tO\n#\tO\nb\tB-x\n#\tB-y\n"
    corpus = read(tmp_path, rows)
    assert corpus.texts == ("#topic # b #",)
    assert classes(corpus) == {"O": 2, "x": 1, "y": 1}
    assert corpus.notes == ("2 comment lines left out",)


@pytest.mark.parametrize(
    "mark",
    [
        "-DOCSTART- -X- O O",
        "-DOCSTART- O",
        "-DOCSTART-\tO",
        "#begin document (bc/a/{n}); part 000",
        "# newdoc id = d{n}",
    ],
)
def test_marks_of_documents(tmp_path: Path, mark: str) -> None:
    end = "#end document\n" if "begin" in mark else ""
    parts = [f"{mark.format(n=n)}\n\na O\nb B-x\n\nc O\n{end}" for n in range(2)]
    corpus = read(tmp_path, "\n".join(parts))
    assert corpus.texts == ("a b", "c") * 2 and corpus.group_name == "document"
    assert corpus.groups[0] == corpus.groups[1] != corpus.groups[2] == corpus.groups[3]


def test_parts_of_one_document_are_one_group(tmp_path: Path) -> None:
    mark = "#begin document (bc/a); part 00"
    corpus = read(tmp_path, f"{mark}0\na O\n#end document\n{mark}1\nb B-x\n#end document\n")
    assert corpus.texts == ("a", "b") and len(set(corpus.groups)) == 1


def test_a_tag_that_is_missing_is_no_class(tmp_path: Path) -> None:
    corpus = read(tmp_path, "a _\nb B-x\nnan O\n")
    assert corpus.texts == ("a b nan",) and classes(corpus) == {"x": 1, "O": 1}
    assert corpus.notes == ("1 tokens without a tag left out",)


def test_sentences_that_nobody_can_see_are_left_out(tmp_path: Path) -> None:
    corpus = read(tmp_path, "\u200b O\n\ufeff\u200d O\n\na O\nb B-x\n")
    assert corpus.texts == ("a b",)
    assert corpus.notes == ("1 sentences without visible characters left out",)


CHINESE = "张 B-PER\n伟 I-PER\n昨 O\n天 O\n去 O\n了 O\n上 B-LOC\n海 I-LOC\n"


def test_scripts_without_spaces_are_joined_without(tmp_path: Path) -> None:
    corpus = read(tmp_path, CHINESE)
    assert corpus.texts == ("张伟昨天去了上海",)
    assert [corpus.unit_text(unit) for unit in range(8)] == list("张伟昨天去了上海")
    assert corpus.notes == (
        "1 sentences joined without spaces, as their script is written (corpus.join)",
    )
    assert read(tmp_path, CHINESE, join=" ").texts == ("张 伟 昨 天 去 了 上 海",)
    assert read(tmp_path, CHINESE, join="").notes == ()
    assert read(tmp_path, "ab O\nc B-x\n", join="").texts == ("abc",)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["New", "York", "纽约"], "New York 纽约"),
        (["我", "用", "iPhone", "7", "拍", "照"], "我用iPhone 7拍照"),
        (["买", "i", "P", "a", "d", "吧", "。", "好", "吗"], "买iPad吧。好吗"),
        (["ฉัน", "รัก", "คุณ"], "ฉันรักคุณ"),
        (["나는", "학교에", "간다"], "나는 학교에 간다"),
        ([], ""),
    ],
)
def test_where_words_are_joined(words: list[str], text: str) -> None:
    joined, starts = join_words(words)
    assert joined == text
    for word, start in zip(words, starts, strict=True):
        assert joined[start : start + len(word)] == word


def test_malformed_lines_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.conll, line 3: no token and tag in 'alone'"):
        read(tmp_path, "a O\n\nalone\n")
