"""Corpora from outside: a user's reader and a user's generated corpus, from a file of theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probes.config import CustomCorpusConfig
from probes.core.errors import UserError
from probes.corpora import load_corpus
from tests.in_process import command

SOURCE = '''
from random import Random

from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import UNASSIGNED
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt

FRUIT = ["apple", "banana", "cherry", "grape", "lemon", "mango", "peach", "plum"]


def read(config):
    """A reader: every sentence names one of two things."""
    builder = CorpusBuilder("things")
    for number in range(config.options.get("sentences", 60)):
        thing = ("cat", "dog")[number % 2]
        text = f"Number {number} is a {thing} of mine."
        example = builder.add_text(text, group=text, split=UNASSIGNED)
        start = text.index(thing)
        builder.add_unit(example, start, start + 3, "word", {"thing": thing})
    return builder.build(default_features=["thing"], descriptions={"thing": "cat or dog"})


def generate(config):
    """A generated corpus: the first word comes again."""
    random = Random(config.seed)

    def prompts():
        while True:
            words = random.choices(FRUIT, k=5)
            text = " ".join(words) + " and"
            yield Prompt(text, text, values={"first": words[0]}, targets=((len(text), words[0]),))

    return GeneratedCorpus("fruit", prompts(), "text", ("first",), {"first": "first word"})


def wrong(config):
    return [1, 2]


def no_argument():
    return None


def raises(config):
    raise TypeError("inside")
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def config(file: Path, name: str, **options: object) -> CustomCorpusConfig:
    return CustomCorpusConfig(_target_=f"{file}:{name}", options=dict(options), examples=30)


def test_a_reader(file: Path) -> None:
    corpus = load_corpus(config(file, "read", sentences=20))
    assert (corpus.name, len(corpus.texts)) == ("things", 20)
    assert corpus.features["thing"].classes == ("cat", "dog")


def test_a_generated_corpus(file: Path) -> None:
    corpus = load_corpus(config(file, "generate"))
    assert (corpus.name, len(corpus.texts), len(corpus.answers)) == ("fruit", 30, 30)
    other = config(file, "generate")
    other.seed = 1
    assert load_corpus(other).texts != corpus.texts
    other.examples = 0
    with pytest.raises(UserError, match=r"corpus\.examples=0; allowed: 1 or more"):
        load_corpus(other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", r"wrong returned an object of type list; allowed: a Corpus or a GeneratedCorpus"),
        ("no_argument", r"takes 0 positional arguments.*a function of one argument, the config"),
        ("reed", r"corpus\._target_=.*defines no 'reed'.*read"),
    ],
)
def test_targets_that_are_no_corpus(file: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_corpus(config(file, name))


def test_a_target_that_is_not_set() -> None:
    with pytest.raises(UserError, match=r"corpus\._target_ is not set.*FILE\.py:NAME"):
        load_corpus(CustomCorpusConfig())


def test_an_error_inside_keeps_its_traceback(file: Path) -> None:
    with pytest.raises(TypeError, match="inside"):
        load_corpus(config(file, "raises"))


TINY = [
    "model=simplified",
    "model.simplified.layers=1",
    "model.simplified.heads=2",
    "model.simplified.width=16",
    "model.simplified.mlp=0",
    "model.simplified.steps=2",
    "model.simplified.batch_size=8",
    "model.simplified.warmup=1",
    "model.simplified.target=null",
    "model.simplified.checkpoints=[]",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
    "significance.permutations=0",
    "evaluation.bootstrap=0",
    "min_count=1",
]


def test_on_the_command_line(file: Path) -> None:
    """A model trained on a user's generated corpus, probed on it; then in a sweep."""
    folder, target = file.parent, "mine.py:generate"
    model = [*TINY, f"model.simplified.task={target}", "model.simplified.context=16"]
    corpus = ["corpus=custom", f"corpus._target_={target}", "corpus.examples=60"]
    model.append(f"cache_dir={folder / 'cache'}")
    done = command(folder, *model, *corpus, "hydra.run.dir=one")
    assert done.status == 0, done.text
    record = json.loads((folder / "one" / "run.json").read_text())
    assert record["config"]["corpus"]["_target_"] == target
    assert record["corpus"]["name"] == "fruit"
    swept = command(folder, "-m", *model, *corpus, "corpus.seed=1,2", "hydra.sweep.dir=swept")
    assert swept.status == 0, swept.text
    assert len(list(folder.glob("swept/*/results.csv"))) == 2


def test_mistakes_on_the_command_line_are_one_message(file: Path) -> None:
    done = command(file.parent, "corpus=custom", "corpus._target_=mine.py:reed")
    assert done.status == 2 and "Traceback" not in done.text
    assert "mine.py:read" in done.text
