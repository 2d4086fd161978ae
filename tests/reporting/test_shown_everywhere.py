"""Names with characters that steer a terminal or break a picture, on everything that shows them."""

from __future__ import annotations

import io
import json
import logging.config
import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml
from PIL import Image

from probes.cli.messages import report
from probes.config.files import config_dir
from probes.core.errors import UserError
from probes.core.shown import STEERING, shown
from probes.reporting.console import new_console
from probes.reporting.drawing.maps import save_map
from probes.reporting.page.report import write_report
from probes.reporting.terminal import print_map
from probes.results.record import RunRecord
from tests.reporting.synthetic import CLASSES, heads_of, make_record, make_results

STREAMS = {"decoder": heads_of(3, 4)}
EVIL = {
    "escape": "\x1b]0;owned\x07\x1b[31m",
    "nul": "a\x00b",
    "carriage return": "right\rwrong",
    "backspace": "ab\x08\x08",
    "bidirectional": "user\u202e\u2066nimda",
    "separator": "a\u2028b\x85c",
    "eight bits": "\x9b31mred",
    "no character": "\uffff",
}


HALF = "\ud83d!"
"""Half a character: tables cannot hold it, but paths and arguments can."""


@pytest.fixture(params=EVIL)
def evil(request: pytest.FixtureRequest) -> str:
    return EVIL[request.param]


def run_of(name: str) -> tuple[pd.DataFrame, RunRecord]:
    """Results whose feature, classes, model, corpus and caveats have the name in them."""
    classes = [f"{name}{c}" for c in CLASSES]
    table = make_results(STREAMS, features=(name,), classes=classes)
    record = make_record(
        STREAMS,
        features=(name,),
        classes=classes,
        model=f"m{name}",
        corpus=f"c{name}",
        caveats=(f"caveat {name}",),
    )
    return table, record


def assert_shown(text: str, name: str) -> None:
    assert not STEERING.search(text)
    assert shown(name) in text


def test_nothing_that_a_reader_needs_is_spelled_out() -> None:
    kept = "plain, tab\t, line\n, naïve 北京 עברית العربية \u200d\u200c 👩‍🔬 \ufe0f\xa0\u00ad"
    assert shown(kept) == kept
    for code in range(0x110000):
        character = chr(code)
        assert shown(character) == character or not character.isprintable()


def test_in_the_terminal(evil: str) -> None:
    table, record = run_of(evil)
    file = io.StringIO()
    print_map(table, evil, new_console(file=file, width=300), record=record)
    assert_shown(file.getvalue(), evil)


def test_colours_of_a_terminal_stay() -> None:
    file = io.StringIO()
    table, record = run_of("x")
    console = new_console(file=file, width=80, force_terminal=True, color_system="truecolor")
    print_map(table, "x", console, record=record)
    assert "\x1b[38;2;" in file.getvalue()


def test_in_the_page(evil: str, tmp_path: Path) -> None:
    table, record = run_of(evil)
    text = write_report(table, record, tmp_path / "report.html").read_text(encoding="utf-8")
    assert_shown(text, evil)
    (data,) = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', text, re.S)
    assert not STEERING.search(json.dumps(json.loads(data), ensure_ascii=False))


def test_in_pictures(evil: str, tmp_path: Path) -> None:
    table, record = run_of(evil)
    png, svg = save_map(table, evil, tmp_path, record=record)
    with Image.open(png) as image:
        image.verify()
    text = svg.read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert not STEERING.search(text)


@pytest.mark.parametrize("evil", [*EVIL.values(), HALF])
def test_in_the_log_and_in_messages(
    evil: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = yaml.safe_load((config_dir() / "hydra/job_logging/headprobes.yaml").read_text())
    logger = logging.getLogger("probes")
    before = logger.handlers[:], logger.level, logger.propagate
    root = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        logging.config.dictConfig(settings)
        logger.info("feature %s", evil)
    finally:
        logger.handlers, logger.level, logger.propagate = before
        logging.getLogger().handlers, logging.getLogger().level = root
    report(UserError(f"feature '{evil}'"))
    said = capsys.readouterr().err
    assert_shown(said, evil)
    assert said.count(shown(evil)) == 2
