"""Tables as the world writes them: Excel, pandas, R, databases, other encodings, compressed."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from probes.config import BenchmarkConfig, TableConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus
from probes.corpora.readers.delimited import Dialect

ROWS = [("It was, in all, fine", "pos"), ("Dull", "neg"), ("Good", "pos")]
COMMAS = 'text,label\n"It was, in all, fine",pos\nDull,neg\nGood,pos\n'


def read(tmp_path: Path, content: str | bytes, name: str = "t.csv", **config: Any) -> Corpus:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_corpus(TableConfig(path=str(file), **config))


def rows_of(corpus: Corpus) -> list[tuple[str, str]]:
    feature = corpus.features["label"]
    classes = [feature.classes[code] for code in feature.codes]
    return list(zip(corpus.texts, classes, strict=True))


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_first_line_of_excel(tmp_path: Path, first: str, ends: str) -> None:
    content = ends.join(
        [first, "text;label", "It was, in all, fine;pos", "Dull;neg", "Good;pos", ""]
    )
    assert rows_of(read(tmp_path, content)) == ROWS
    corpus = read(tmp_path, content, delimiter=";")
    assert rows_of(corpus) == ROWS and corpus.notes == ()
    with pytest.raises(UserError, match=r"t\.csv, line 6: 1 columns"):
        read(tmp_path, content + "alone" + ends)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_than_the_ending_says(tmp_path: Path, delimiter: str) -> None:
    content = "\n".join(delimiter.join(row) for row in [("text", "label"), *ROWS])
    corpus = read(tmp_path, content)
    assert rows_of(corpus) == ROWS
    assert corpus.notes == (f"t.csv: columns are separated by {delimiter!r}",)


def test_one_column_stays_one_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'label'"):
        read(tmp_path, "text\na; b\nc\n")


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-16-le", "\ufeff"),
        ("utf-16-be", "\ufeff"),
        ("utf-32-le", "\ufeff"),
        ("utf-8", "\ufeff"),
    ],
)
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str, mark: str) -> None:
    content = (mark + COMMAS.replace("Dull", "“Était” 好")).encode(encoding)
    for asked in ("utf-8", "utf-16", "latin-1"):
        assert read(tmp_path, content, encoding=asked).texts[1] == "“Était” 好"


@pytest.mark.parametrize(
    ("text", "encoding", "advised"),
    [
        ("“was” était", "cp1252", "cp1252"),
        ("était", "latin-1", "latin-1"),
        ("était “so”", "utf-16-le", "utf-16-le"),
        ("plain", "utf-16-be", "utf-16-be"),
    ],
)
def test_the_advised_encoding_reads_the_file(
    tmp_path: Path, text: str, encoding: str, advised: str
) -> None:
    content = COMMAS.replace("Dull", text).encode(encoding)
    with pytest.raises(UserError, match=rf"Try corpus\.encoding={advised}$"):
        read(tmp_path, content)
    assert read(tmp_path, content, encoding=advised).texts[1] == text


def test_cp1252_read_as_latin_1_is_said(tmp_path: Path) -> None:
    corpus = read(tmp_path, COMMAS.replace("Dull", "“so”").encode("cp1252"), encoding="latin-1")
    assert corpus.notes == (
        "t.csv: 2 control characters, which are quotes and dashes in cp1252. "
        "Try corpus.encoding=cp1252",
    )


def test_no_encoding_is_advised_that_would_not_help(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 3: byte.*except at 1 place") as raised:
        read(tmp_path, COMMAS.replace("Dull", "éèàü").encode().replace("ü".encode(), b"\xff"))
    assert "Try" not in str(raised.value)
    for text, encoding in (("今天天气很好我们去公园", "gb18030"), ("Привет всем вам", "cp1251")):
        with pytest.raises(UserError, match=r"is not utf-8; allowed: .*gb18030.*cp1251") as raised:
            read(tmp_path, COMMAS.replace("Dull", text).encode(encoding))
        assert "Try" not in str(raised.value)
        content = COMMAS.replace("Dull", text).encode(encoding)
        assert read(tmp_path, content, encoding=encoding).texts[1] == text


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_quotes_in_a_tsv_of_pandas_or_excel(tmp_path: Path, quoting: Any) -> None:
    rows = [('He said "so", twice', "pos"), ("two\nlines\tand a tab", "neg"), ("plain", "pos")]
    with (tmp_path / "t.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=quoting).writerows([("text", "label"), *rows])
    corpus = load_corpus(TableConfig(path=str(tmp_path / "t.tsv")))
    assert rows_of(corpus) == rows and corpus.notes == ()


def test_quotes_that_are_characters_of_a_tsv(tmp_path: Path) -> None:
    kept = read(tmp_path, 'text\tlabel\n"So\ta\nwell "said"\tb\n"Stop!"\ta\n', "t.tsv")
    assert kept.texts == ('"So', 'well "said"', '"Stop!"')
    assert kept.notes == ()  # nothing could take them off
    one = 'text\tlabel\n"Stop!"\ta\nGo\tb\n'
    assert read(tmp_path, one, "t.tsv").texts == ('"Stop!"', "Go")
    assert "Try corpus.quotes=true" in read(tmp_path, one, "t.tsv").notes[0]
    assert read(tmp_path, one, "t.tsv", quotes=True).texts == ("Stop!", "Go")


def test_backslashes_before_quotes(tmp_path: Path) -> None:
    content = 'text,label\n"A film, \\"Mira\\" agreed",pos\n"Dull \\\\ end",neg\n'
    corpus = read(tmp_path, content)
    assert corpus.texts == ('A film, "Mira" agreed', "Dull \\ end")
    assert corpus.notes == ("t.csv: backslashes read as escapes (corpus.escape='\\\\')",)
    assert read(tmp_path, content, escape="\\").texts == corpus.texts
    path = 'text,label\n"C:\\dir, ""x""",pos\nb,neg\n'  # quotes are doubled: no escapes
    assert read(tmp_path, path).texts == ('C:\\dir, "x"', "b")
    with pytest.raises(UserError, match=r"escape='ab': not one character"):
        read(tmp_path, content, escape="ab")


def test_blanks_after_commas(tmp_path: Path) -> None:
    quoted = 'label, text\npos, "It was, in all, fine"\nneg, "Dull"\npos, "Good"\n'
    assert rows_of(read(tmp_path, quoted)) == ROWS
    bare = "label, text\nneg, Dull\npos, Good\n"
    assert rows_of(read(tmp_path, bare)) == ROWS[1:]
    some = "label,text\nneg, Dull\npos,Good\n"
    assert read(tmp_path, some).texts == (" Dull", "Good")


def test_lines_that_end_in_carriage_returns_only(tmp_path: Path) -> None:
    assert rows_of(read(tmp_path, COMMAS.replace("\n", "\r"))) == ROWS
    lines = "pos Fine day\rneg Dull day\r"
    corpus = read(tmp_path, lines, "t.txt", format="label_text")
    assert rows_of(corpus) == [("Fine day", "pos"), ("Dull day", "neg")]
    objects = "\r".join(json.dumps({"text": text, "label": label}) for text, label in ROWS)
    assert rows_of(read(tmp_path, objects, "t.jsonl")) == ROWS


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_cell_of_any_length(tmp_path: Path, name: str) -> None:
    long = "word " * 40_000
    separator = "," if name == "t.csv" else "\t"
    content = f'text{separator}label\n"{long}"{separator}pos\n"b"{separator}neg\n'
    assert read(tmp_path, content, name).texts == (long, "b")


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_json_is_read_as_what_it_is(tmp_path: Path, name: str) -> None:
    rows = [{"text": text, "label": label} for text, label in ROWS]
    for content in ("\n".join(map(json.dumps, rows)), json.dumps(rows), json.dumps(rows, indent=1)):
        assert rows_of(read(tmp_path, content, name)) == ROWS
    broken = json.dumps(rows[0]) + "\n{'text': 'a'}\n"
    with pytest.raises(UserError, match=rf"{name}, line 2: not JSON"):
        read(tmp_path, broken, name)


def test_json_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a JSON list of objects") as raised:
        read(tmp_path, json.dumps({"data": [1]}, indent=1), "t.json")
    assert "Try" not in str(raised.value)
    with pytest.raises(UserError, match=r"nested too deeply"):
        read(tmp_path, "[" * 200_000, "t.json")


@pytest.mark.parametrize(
    ("ending", "compress"), [("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)]
)
def test_compressed_files(tmp_path: Path, ending: str, compress: Any) -> None:
    content = compress(COMMAS.encode())
    assert rows_of(read(tmp_path, content, f"t.csv.{ending}")) == ROWS
    assert rows_of(read(tmp_path, content, "t.csv")) == ROWS  # by what it holds, not its name
    with pytest.raises(UserError, match=r"damaged or incomplete compressed file"):
        read(tmp_path, content[:-9], f"t.csv.{ending}")


def test_compressed_benchmarks_and_archives(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv.gz").write_bytes(gzip.compress(COMMAS.encode()))
    corpus = load_corpus(BenchmarkConfig(path=str(tmp_path)))
    assert corpus.splits.tolist() == [0, 0, 0, 2, 2, 2]
    with pytest.raises(UserError, match=r"is a zip archive"):
        read(tmp_path, b"PK\x03\x04abc", "t.xlsx.csv")


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1: 2 columns are called 'label'"):
        read(tmp_path, "text,label,label\na,b,c\n")
    with pytest.raises(UserError, match=r"line 2: two columns are called 'label'"):
        read(
            tmp_path,
            '{"text": "a", "label": 1}\n{"text": "b", "label": 1, "label": 2}\n',
            "t.jsonl",
        )
    assert read(tmp_path, "text,label,,\na,b,,\nc,d,,\n").texts == ("a", "c")  # Excel's empty ones


def test_half_characters_and_nul_are_replaced_and_counted(tmp_path: Path) -> None:
    corpus = read(tmp_path, '{"text": "half \\ud83d", "label": "a"}\n', "t.jsonl")
    assert corpus.texts == ("half \ufffd",)
    assert corpus.notes == ("1 NUL characters or halves of a character replaced by U+FFFD",)
    whole = read(tmp_path, '{"text": "\\ud83d\\udc4d", "label": "a"}\n', "t.jsonl")
    assert whole.texts == ("\U0001f44d",) and whole.notes == ()
    assert read(tmp_path, "text,label\na\0b,x\n").texts == ("a\ufffdb",)


def test_emoji_that_are_written_in_halves(tmp_path: Path) -> None:
    halves = "\ud83d\udc4d and \ud83d".encode("utf-8", "surrogatepass")
    corpus = read(tmp_path, COMMAS.encode().replace(b"Dull", halves))
    assert corpus.texts[1] == "\U0001f44d and \ufffd"


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_row_that_cannot_be_read_is_named_and_advice_helps(tmp_path: Path, name: str) -> None:
    sign = "," if name == "t.csv" else "\t"
    with pytest.raises(UserError, match=r"line 3: 3 columns where the first row has 2") as raised:
        read(tmp_path, f"text{sign}label\na{sign}x\nb{sign}y{sign}z\n", name)
    assert "Try" not in str(raised.value)  # no delimiter and no quoting fits
    if name == "t.csv":
        stray = 'text,label\n"a"b,x\nc,y\n'
        with pytest.raises(UserError, match=r"line 2: .*Try corpus\.quotes=false$"):
            read(tmp_path, stray)
        assert read(tmp_path, stray, quotes=False).texts == ('"a"b', "c")
        with pytest.raises(UserError, match=r"line 3: .*end of data"):
            read(tmp_path, 'text,label\na,x\n"b,y\nc,z\n', quotes=True)


def test_a_row_without_a_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: no value in column 'split'"):
        read(tmp_path, "text,label,split\na,b,\n", split="split")


# --- label and text ---------------------------------------------------------------------------


def lines(tmp_path: Path, content: str, **config: Any) -> Corpus:
    return read(tmp_path, content, "t.txt", format="label_text", **config)


def test_label_and_text_are_split_as_the_file_does(tmp_path: Path) -> None:
    assert rows_of(lines(tmp_path, "ham\tThe meal\nvery bad\tDull day\n")) == [
        ("The meal", "ham"),
        ("Dull day", "very bad"),
    ]
    assert rows_of(lines(tmp_path, "ham The\tmeal\nspam\tDull day\nham So\n")) == [
        ("The\tmeal", "ham"),
        ("Dull day", "spam"),
        ("So", "ham"),
    ]
    assert rows_of(lines(tmp_path, "NUM:a\u00a0b 3\u00a0000 men\n")) == [
        ("3\u00a0000 men", "NUM:a\u00a0b")
    ]


def test_labels_of_fasttext(tmp_path: Path) -> None:
    corpus = lines(tmp_path, "__label__good The meal\n__label__bad Dull\nno label here\n")
    assert rows_of(corpus) == [("The meal", "good"), ("Dull", "bad")]
    assert corpus.notes == ("1 rows without a label left out",)
    last = lines(tmp_path, "The meal __label__good\nDull __label__bad\n")
    assert rows_of(last) == [("The meal", "good"), ("Dull", "bad")]
    several = "__label__good __label__new The meal\n__label__bad Dull\n"
    with pytest.raises(UserError, match=r"holds a list.*'good', 'new'.*label\.0"):
        lines(tmp_path, several)
    with pytest.raises(UserError, match=r"holds a list.*'good', 'new'"):
        lines(tmp_path, "__label__good,__label__new The meal\n")
    first = lines(tmp_path, several, labels={"label": "label.0"})
    assert rows_of(first) == [("The meal", "good"), ("Dull", "bad")]


@pytest.mark.parametrize(
    ("name", "content", "dialects"),
    [
        ("t.csv", COMMAS, 1),
        ("t.csv", COMMAS.replace(",pos", ";pos").replace(",neg", ";neg").replace(",l", ";l"), 1),
        ("t.tsv", "text\tlabel\nDull\tneg\nGood\tpos\n", 1),
        ("t.tsv", 'text\tlabel\n"Dull"\tneg\n"Go ""od"""\tpos\n', 2),
    ],
)
def test_a_file_is_parsed_once_by_each_dialect_that_is_tried(
    name: str, content: str, dialects: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Dialect] = []

    def rows(dialect: Dialect, text: str) -> Any:
        seen.append(dialect)
        return parse(dialect, text)

    parse = Dialect.rows
    monkeypatch.setattr(Dialect, "rows", rows)
    read(tmp_path, content, name)
    assert len(seen) == len(set(seen)) == dialects
