"""The page, the pictures and the terminal of an atlas, from made-up tables."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
from rich.console import Console

from probes.atlas.depth import depths
from probes.atlas.features import FeatureLine
from probes.atlas.figures import save_figures
from probes.atlas.page import write_page
from probes.atlas.plan import LeftOut
from probes.atlas.result import Atlas
from probes.atlas.stages import COLOURS, paled, stage_maps
from probes.atlas.terminal import print_atlas
from probes.results.summary import Estimate
from tests.atlas.synthetic import kept_by, rows_of, table_of
from tests.catalogue.entries import entry_named
from tests.reporting.chromium import opened

HOSTILE = "</script><img src=x onerror=alert(1)>[bold]"
SHOWN = {"truthfulness": "truth", "successor": "successor", "coherence": "language"}


def lines_of(table: pd.DataFrame) -> list[FeatureLine]:
    return [
        FeatureLine(
            job=entry_named(name).corpus, corpus=entry_named(name).corpus, feature=feature,
            label=f"{feature} · {HOSTILE if name == 'coherence' else entry_named(name).corpus}",
            entries=(entry_named(name),), classes=2, majority=0.5, words=0.9,
            best=Estimate(0.8, 0.7, 0.9), where="layer 1, head 0", residual=Estimate(None),
            tested=int((table["feature"] == feature).sum()),
            significant=int(table["significant"][table["feature"] == feature].sum()),
        )
        for name, feature in SHOWN.items()
    ]  # fmt: skip


def atlas(layers: int = 3, heads: int = 4, streams: tuple[str, ...] = ("decoder",)) -> Atlas:
    kept = {"truthfulness": kept_by((1, 0), (2, 1)), "successor": kept_by((1, 0), score=0.9)}
    parts = [
        rows_of(entry_named(name), feature, layers, heads, kept.get(name, kept_by()), stream=stream)
        for name, feature in SHOWN.items()
        for stream in streams
    ]
    table = table_of(*parts)
    return Atlas(
        model=HOSTILE,
        kind="decoder",
        level=0.05,
        table=table,
        lines=lines_of(table),
        depths=depths(table, [entry_named(name) for name in SHOWN]),
        left_out=[LeftOut("needle", ("needle",), ("retrieval",), HOSTILE)],
        jobs=[],
        created="2026-11-20T10:00:00+00:00",
    )


def test_maps_show_the_strongest_feature_of_each_head() -> None:
    made = atlas()
    reasoning, expression = stage_maps(made.table, made.lines)
    cells = {(c.layer, c.head): c.number for c in reasoning.cells if c.number}
    label = {f.number: f.label for f in reasoning.features}
    assert {place: label[number] for place, number in cells.items()} == {
        (1, 0): "successor · succession",
        (2, 1): "truth · binary",
    }
    assert (reasoning.carrying, len(reasoning.cells)) == (2, 12)
    assert expression.carrying == 0 and expression.features == []
    assert len(set(COLOURS)) == len(COLOURS)
    assert paled("#1f77b4", 2.0) == paled("#1f77b4", 1.0) == "#1f77b4"


def test_hostile_names_are_text(tmp_path: Path) -> None:
    page = write_page(atlas(streams=("decoder", "cross")), tmp_path / "report.html")
    text = page.read_text()
    assert "<img src=x" not in text and text.count("&lt;/script&gt;") >= 3
    dom = opened(page)
    assert "data-error" not in dom and "<img src" not in dom.replace('<img class="picture"', "")
    assert dom.count('data-rendered="atlas"') == 4


def test_the_page_says_what_is_at_chance_and_what_was_left_out(tmp_path: Path) -> None:
    made = atlas()
    text = write_page(made, tmp_path / "report.html").read_text()
    assert "At chance in every head (1 of 3 features): language" in text
    assert "2 of 12 heads carry at least one" in text
    assert "The words alone" in text and "shows what can be read off a head, not that" in text
    before = text.encode()
    assert write_page(made, tmp_path / "report.html").read_bytes() == before


def test_pictures_of_any_shape(tmp_path: Path) -> None:
    for number, made in enumerate((atlas(), atlas(3, 24), atlas(streams=("encoder", "decoder")))):
        saved = save_figures(made, tmp_path / str(number))
        assert {path.name for path in saved} == {
            "LR.png", "LR.svg", "EP.png", "EP.svg", "depth.png", "depth.svg"
        }  # fmt: skip
        assert all(path.stat().st_size > 3_000 for path in saved)


def test_the_terminal_summary() -> None:
    file = io.StringIO()
    print_atlas(atlas(), Console(file=file, width=100))
    text = " ".join(file.getvalue().split())
    assert "LR latent reasoning 2 of 2 2 of 12 successor · succession (1)" in text
    assert f"at chance in every head: language · {HOSTILE}" in text
    assert f"left out needle · needle: {HOSTILE}" in text
    assert "EP: no head carries it" in text
