"""Overrides before Hydra: quotes, entries of mappings, keys and options that there are not."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from probes.cli import commands as cli
from probes.cli.job import parse
from probes.cli.overrides import checked
from probes.config import register
from probes.config.files import config_dir
from probes.core.errors import UserError, closest
from probes.core.overrides import override

PATHS = [
    "my data (1)/epoch=3,step=9.csv",
    "数据/评论.csv",
    "a,b.csv",
    "it's.csv",
    'the "best".csv',
    """both ' and ".csv""",
    "~/x.csv",
    "[old] {1}.csv",
    "C:\\data\\",
    "a b\\",
    "#1;2&3!.csv",
    "Grüße.csv",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_needs_quotes_is_answered_with_the_override_that_works(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through a shell and Hydra's own parser, the advice gives the path as it stands."""
    advised = override("corpus.path", path)
    (argument,) = shlex.split(advised)
    parsed = OverridesParser.create().parse_override(argument)
    assert parsed.value() == path
    assert not parsed.is_sweep_override()
    if path in PATHS[:2]:
        assert cli.run_command(["corpus=table", f"corpus.path={path}"]) == 2
        assert f"Try {advised}\n" in capsys.readouterr().err
        register()
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            assert compose("config", overrides=["corpus=table", argument]).corpus.path == path


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="$"), min_size=1))
def test_any_text_comes_through(value: str) -> None:
    (argument,) = shlex.split(override("corpus.path", value))
    result = OverridesParser.create().parse_override(argument).value()
    assert str(result) == value or argument == f"corpus.path={value}"


@pytest.mark.parametrize(
    ("given_override", "labels"),
    [
        ("corpus.labels={topic: label}", {"topic": "label"}),
        ("corpus.labels.topic=label", {"topic": "label"}),
        ("+corpus.labels.topic=label", {"topic": "label"}),
        ("++corpus.labels.topic=label", {"topic": "label"}),
    ],
)
def test_entries_of_mappings_need_no_plus(given_override: str, labels: dict[str, str]) -> None:
    overrides = checked(["corpus=table", "corpus.path=x.csv", given_override])
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = parse(compose("config", overrides=overrides))
    assert config.corpus.labels == labels


WRONG = {
    "+trainer.precision=16-mixed": "trainer.precision: a run has no such key; allowed: trainer.acc",
    "+trainer.acelerator=gpu": "Try trainer.accelerator=gpu",
    "++evaluation.bootstrp=5": "Try evaluation.bootstrap=5",
    "corpus.sentance=3": "Try corpus.sentences=3",
    "sentences=3": "Try corpus.sentences=3",
    "+foo.bar=1": "foo: a run has no such key",
    "~layerss": "Try layers=",
    "corpus=udd": "corpus=udd: no such choice; allowed: acronyms",
    "experiment=smok": "Try experiment=smoke",
    "features=upos,deprel": "Try features=[upos,deprel], or -m features=upos,deprel",
    "cache_dir=a,b": """Try 'cache_dir="a,b"', or -m""",
    "seed=-1": "seed=-1; allowed: 0 to",
    "--probe=linear": "${args_no_hyphens}",
    "--probe.l2=[1]": "Try probe.l2=[1]",
    "corpus.sentences": "neither",
}


@pytest.mark.parametrize("argument", WRONG)
def test_what_a_run_does_not_have_is_refused_in_our_words(
    argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    message = WRONG[argument]
    if message == "neither":
        argument, message = "seed=0", "corpus.sentences: an override is KEY=VALUE"
        assert cli.run_command([argument, "corpus.sentences"]) == 2
    else:
        assert cli.run_command([argument]) == 2
    error = [x for x in capsys.readouterr().err.splitlines() if "loading" not in x]
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert message in error[0]
    for hint in ("To append", "use +", "in struct"):
        assert hint not in error[0]


def test_an_own_corpus_without_its_schema_is_told_the_line(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine.yaml").write_text("name: table\npath: x.csv\n", encoding="utf-8")
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(
            "config",
            overrides=["corpus=mine", f"hydra.searchpath=[file://{tmp_path}]"],
        )
    with pytest.raises(UserError, match=r"- /schema/corpus@_here_: table"):
        parse(config)


def test_a_name_that_is_far_from_all_gets_no_advice() -> None:
    assert closest("precision", ["accelerator", "progress"]) == ""
    assert closest("UPOS", ["upos", "number"]) == "upos"
    assert "Try" not in str(UserError("x", fix=closest("zzz", ["upos"], "features=[{}]")))


def test_options_of_hydra_stay() -> None:
    given_arguments = ["--config-dir", "my dir", "-m", "--multirun", "--cfg=job", "seed=1"]
    assert checked(given_arguments) == given_arguments


@pytest.mark.parametrize("launcher", ["ray", "ray_nodes"])
def test_tasks_of_ray_inside_jobs_of_ray_are_refused(launcher: str) -> None:
    with pytest.raises(UserError, match="would wait for the cores") as caught:
        checked(["-m", "engine=ray", f"hydra/launcher={launcher}", "seed=1,2"])
    assert "engine=ray without" in caught.value.fix
    assert checked(["-m", "engine=ray", "seed=1,2"])
    assert checked(["-m", f"hydra/launcher={launcher}", "seed=1,2"])
