"""CoNLL-U: columns, offsets, multiword tokens, empty nodes, documents, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probes.config import SplitConfig, UDConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import TEST, TRAIN, VALIDATION, Corpus
from probes.corpora.splits import assign_splits

ENGLISH = """\
# newdoc id = d1
# sent_id = 1
# text = I don't see it.
1\tI\tI\tPRON\tPRP\tCase=Nom|Number=Sing\t4\tnsubj\t4:nsubj\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\tTense=Pres\t4\taux\t4:aux\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t4:advmod\t_
4\tsee\tsee\tVERB\tVB\tVerbForm=Inf\t0\troot\t0:root\t_
5\tit\tit\tPRON\tPRP\tCase=Acc|Gender=Neut|Number=Sing\t4\tobj\t4:obj\tSpaceAfter=No
6\t.\t.\tPUNCT\t.\t_\t4\tpunct\t4:punct\t_
"""

GERMAN = """\
# sent_id = 2
# text = Er ist im Haus
1\tEr\ter\tPRON\tPPER\tCase=Nom|Number[psor]=Sing\t5\tnsubj\t_\t_
2\tist\tsein\tAUX\tVAFIN\t_\t5\tcop\t_\t_
3-4\tim\t_\t_\t_\t_\t_\t_\t_\t_
3\tin\tin\tADP\tAPPR\t_\t5\tcase\t_\t_
4\tdem\tder\tDET\tART\tCase=Dat\t5\tdet\t_\t_
5\tHaus\tHaus\tNOUN\tNN\tCase=Dat\t0\troot\t_\t_
5.1\tist\tsein\tAUX\tVAFIN\t_\t_\t_\t0:root\t_
"""

PLAIN = "1\tGo\tgo\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No\n2\t!\t!\tPUNCT\t.\t_\t1\tpunct\t_\t_\n"


def read(tmp_path: Path, **parts: str) -> Corpus:
    for part, content in parts.items():
        (tmp_path / f"xx_toy-ud-{part}.conllu").write_text(content, encoding="utf-8")
    return load_corpus(UDConfig(path=str(tmp_path)))


def values(corpus: Corpus, feature: str) -> list[str | None]:
    found = corpus.features[feature]
    return [None if code < 0 else found.classes[code] for code in found.codes]


def words(corpus: Corpus) -> list[str]:
    return [corpus.unit_text(unit) for unit in range(len(corpus.units))]


def test_every_column_is_a_feature(tmp_path: Path) -> None:
    corpus = read(tmp_path, train=ENGLISH)
    assert corpus.texts == ("I don't see it.",)
    assert words(corpus) == ["I", "do", "n't", "see", "it", "."]
    assert values(corpus, "upos") == ["PRON", "AUX", "PART", "VERB", "PRON", "PUNCT"]
    assert values(corpus, "xpos") == ["PRP", "VBP", "RB", "VB", "PRP", "."]
    assert values(corpus, "lemma") == ["I", "do", "not", "see", "it", "."]
    assert values(corpus, "deprel") == ["nsubj", "aux", "advmod", "root", "obj", "punct"]
    assert values(corpus, "deps") == values(corpus, "deprel")
    assert values(corpus, "head_upos") == ["VERB"] * 3 + ["ROOT"] + ["VERB"] * 2
    assert values(corpus, "head_side") == ["right"] * 3 + ["root"] + ["left"] * 2
    assert values(corpus, "case") == ["Nom", None, None, None, "Acc", None]
    assert values(corpus, "gender") == [None] * 4 + ["Neut", None]
    assert corpus.default_features == ("upos", "deprel")
    assert corpus.group_name == "document" and corpus.groups == ("d1",)


def test_contracted_words_share_characters_and_empty_nodes_are_left_out(tmp_path: Path) -> None:
    corpus = read(tmp_path, train=GERMAN)
    assert words(corpus) == ["Er", "ist", "im", "im", "Haus"]
    assert values(corpus, "upos") == ["PRON", "AUX", "ADP", "DET", "NOUN"]
    assert values(corpus, "number_psor")[0] == "Sing"
    assert corpus.group_name == "sentence"
    assert corpus.notes == (
        "1 empty nodes left out",
        "2 words that share the characters of a multiword token",
    )


def test_text_is_rebuilt_where_it_is_missing_or_wrong(tmp_path: Path) -> None:
    corpus = read(tmp_path, train=PLAIN + "\n# text = Something else\n" + PLAIN)
    assert corpus.texts == ("Go!", "Go!")
    assert words(corpus) == ["Go", "!"] * 2
    assert corpus.notes == ("2 texts rebuilt from their words, which '# text' does not match",)


def test_documents_go_on_until_the_next_one(tmp_path: Path) -> None:
    other = ENGLISH.replace("newdoc id = d1", "newdoc id = d2")
    corpus = read(tmp_path, train="\n".join([ENGLISH, GERMAN, other]))
    assert corpus.groups == ("d1", "d1", "d2")


def test_subtypes_and_windows_line_ends(tmp_path: Path) -> None:
    content = ENGLISH.replace("\tnsubj\t", "\tnsubj:pass\t").replace("\n", "\r\n")
    corpus = read(tmp_path, train=content)
    assert values(corpus, "deprel")[0] == "nsubj:pass"
    assert values(corpus, "deprel_universal")[0] == "nsubj"
    assert values(corpus, "xpos")[-1] == "."


def test_parts_and_their_splits(tmp_path: Path) -> None:
    corpus = read(tmp_path, train=ENGLISH, dev=GERMAN, test=PLAIN)
    assert sorted(corpus.splits.tolist()) == [TRAIN, VALIDATION, TEST]
    swapped = load_corpus(
        UDConfig(path=str(tmp_path), splits={"train": "dev", "validation": None, "test": "test"})
    )
    assert swapped.texts == ("Er ist im Haus", "Go!")
    # As from the command line, where validation: dev stays in place.
    merged = load_corpus(
        UDConfig(path=str(tmp_path), splits={"train": "dev", "validation": "dev", "test": "test"})
    )
    assert merged.texts == swapped.texts and merged.splits.tolist() == [TRAIN, TEST]


def test_one_file_and_first_sentences(tmp_path: Path) -> None:
    file = tmp_path / "any.conllu"
    file.write_text("\n".join([ENGLISH, GERMAN, PLAIN]), encoding="utf-8")
    assert load_corpus(UDConfig(path=str(file), max_sentences=2)).texts == (
        "I don't see it.",
        "Er ist im Haus",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ENGLISH.replace("\tVB\tVerbForm=Inf", "\tVB"), r"line 8: 9 columns.*has 10"),
        (PLAIN + "\n" + PLAIN.replace("1\tGo", "x\tGo"), r"line 4: .*"),
        (ENGLISH.replace("\t4\tobj", "\t9\tobj"), r"line 9: head 9 is no word"),
        (PLAIN.replace("\t0\troot", "\tzero\troot"), r"line 1: .*"),
        (PLAIN.replace("\t!\t!", "\t \t!"), r"line 2: a word without characters"),
        ("", r"corpus 'ud' is empty"),
        ("# text = only a comment\n", r"corpus 'ud' is empty"),
    ],
)
def test_malformed_files(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, train=content)


@pytest.mark.parametrize("blank", [1, 2, 5])
def test_blank_last_columns_are_empty_ones(tmp_path: Path, blank: int) -> None:
    """As editors leave them that cut what stands before the end of a line."""
    rows = [line.split("\t") for line in PLAIN.splitlines()]
    cut = "\n".join("\t".join([*row[:-blank], *[""] * blank]) if row[1:] else "" for row in rows)
    whole = PLAIN.replace("SpaceAfter=No", "_")
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    if blank <= 2:  # of more, the heads are gone too
        assert (
            read(tmp_path / "cut", train=cut).texts == read(tmp_path / "whole", train=whole).texts
        )
    else:
        assert read(tmp_path / "cut", train=cut).texts == ("Go !",)


@pytest.mark.parametrize("space", ["\r", " ", "\u00a0"])
def test_space_around_a_form_is_none_of_it(tmp_path: Path, space: str) -> None:
    changed = GERMAN.replace("Haus\tHaus", f"{space}Haus{space}\tHaus")
    assert changed != GERMAN
    corpus = read(tmp_path, train=changed)
    assert corpus.texts == ("Er ist im Haus",)
    assert corpus.units.end[-1] == len(corpus.texts[0])


def test_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "xx-ud-train.conllu"
    file.write_bytes(PLAIN.encode() + b"# text = \xff\n")
    with pytest.raises(UserError, match=r"line 3: byte 0xff is not utf-8"):
        load_corpus(UDConfig(path=str(tmp_path)))


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "xx-ud-dev.conllu").write_text(PLAIN)
    with pytest.raises(UserError, match=r"train=train.*xx-ud-dev.*corpus\.splits\.train=dev"):
        load_corpus(UDConfig(path=str(tmp_path)))
    with pytest.raises(UserError, match=r"corpus\.path=.*no such file"):
        load_corpus(UDConfig(path=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match=r"corpus\.path is not set"):
        load_corpus(UDConfig())
    with pytest.raises(UserError, match=r"splits=.*tset.*no such split"):
        load_corpus(UDConfig(path=str(tmp_path), splits={"train": "dev", "tset": "test"}))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"holds no \.conllu file"):
        load_corpus(UDConfig(path=str(empty)))


def test_two_treebanks_in_one_directory(tmp_path: Path) -> None:
    for name in ("aa", "bb"):
        (tmp_path / f"{name}-ud-train.conllu").write_text(PLAIN)
    with pytest.raises(UserError, match=r"several files.*aa-ud-train\.conllu"):
        load_corpus(UDConfig(path=str(tmp_path)))


@pytest.mark.shared
@pytest.mark.slow
def test_english_ewt(shared: Path) -> None:
    corpus = load_corpus(UDConfig(path=str(shared / "data" / "ud_english_ewt")))
    assert np.bincount(corpus.splits).tolist() == [12_544, 2_001, 2_077]
    split_of_unit = corpus.splits[corpus.units.example]
    assert (split_of_unit == TRAIN).sum() == 204_577  # as the treebank's stats.xml says
    assert len(set(corpus.groups)) == 540 + 318 + 316
    assert corpus.notes == ("43 empty nodes left out",)
    assert {"upos", "xpos", "deprel", "head_upos", "number", "tense", "case", "gender"} <= set(
        corpus.features
    )
    # An independent reading of the file: forms and tags of all lines that begin with a number.
    lines = (shared / "data/ud_english_ewt/en_ewt-ud-test.conllu").read_text().split("\n")
    expected = [line.split("\t")[1:4:2] for line in lines if line.split("\t")[0].isdigit()]
    tags = corpus.features["upos"]
    test = np.flatnonzero(split_of_unit == TEST)
    assert [[corpus.unit_text(u), tags.classes[tags.codes[u]]] for u in test] == expected

    split = assign_splits(corpus, SplitConfig())
    # 67 and 93 are equal to the letter, as another reading of the files says.
    assert split.notes[1:3] == (
        "71 validation examples dropped: their texts recur in train (4 of them in other case or "
        "spacing)",
        "104 test examples dropped: their texts recur in train (11 of them in other case or "
        "spacing)",
    )
    assert (split.splits == TEST).sum() == 2_077 - 104


@pytest.mark.shared
def test_german_gsd(shared: Path) -> None:
    corpus = load_corpus(
        UDConfig(
            path=str(shared / "data" / "ud_german_gsd"), splits={"train": "dev", "test": "test"}
        )
    )
    assert [(corpus.splits == split).sum() for split in (TRAIN, TEST)] == [799, 977]
    assert {"case", "gender"} <= set(corpus.features)
    assert corpus.features["case"].classes == ("Acc", "Dat", "Gen", "Nom")
    assert corpus.group_name == "sentence"
    split = assign_splits(corpus, SplitConfig())
    assert all((split.splits == part).sum() > 100 for part in (TRAIN, VALIDATION, TEST))


def conllu(*words: str, name: str = "s") -> str:
    rows = [
        f"{n}\t{word}\t_\tNOUN\t_\t_\t{int(n > 1)}\t{'dep' if n > 1 else 'root'}\t_\t_"
        for n, word in enumerate(words, start=1)
    ]
    return "\n".join([f"# sent_id = {name}", *rows, "", ""])


def test_a_part_in_several_files_is_read_together(tmp_path: Path) -> None:
    names = ("a-1", "a-2", "b-1", "b-2")
    for name in names:
        (tmp_path / f"xx_demo-ud-train-{name}.conllu").write_text(conllu("in", name))
    (tmp_path / "xx_demo-ud-test.conllu").write_text(conllu("the", "test"))
    expected = ("in a-1", "in a-2", "in b-1", "in b-2", "the test")
    for part in ("train", "*-train-*"):
        corpus = load_corpus(UDConfig(path=str(tmp_path), splits={"train": part, "test": "test"}))
        assert corpus.texts == expected
        assert corpus.splits.tolist() == [TRAIN] * 4 + [TEST]
    one = load_corpus(UDConfig(path=str(tmp_path), splits={"train": "xx_demo-ud-train-b-1.conllu"}))
    assert one.texts == ("in b-1",)
    (tmp_path / "yy_other-ud-train-a.conllu").write_text(conllu("other", "treebank"))
    with pytest.raises(UserError, match=r"splits\.train=train: several files"):
        load_corpus(UDConfig(path=str(tmp_path)))


def test_treebanks_without_their_words_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "xx-ud-train.conllu"
    hidden, shown = conllu("_", "_", "_"), conllu("a", "_", "b")
    file.write_text(hidden * 2 + shown)
    with pytest.raises(UserError, match=r"words of 2 of 3 sentences are left out.*README"):
        load_corpus(UDConfig(path=str(tmp_path)))
    file.write_text(hidden + shown + conllu("_") + conllu("\u200b", "\u200d"))
    corpus = load_corpus(UDConfig(path=str(tmp_path)))
    assert corpus.texts == ("a _ b", "_")
    assert corpus.notes == (
        "1 sentences left out: underscores stand for their words",
        "1 sentences without visible characters left out",
        "2 texts rebuilt from their words, which '# text' does not match",
    )
