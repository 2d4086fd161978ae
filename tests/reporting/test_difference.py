"""The difference of two maps as a map, in the terminal, as a picture and for programs."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from probes.reporting.difference import ComparedRun, Difference, difference_map
from probes.reporting.difference_json import difference_json
from probes.reporting.difference_shown import print_difference, save_difference
from probes.reporting.drawing.colours import BETTER, LESS, scale_of
from probes.reporting.drawing.depths import draw_depths
from probes.reporting.drawing.maps import draw_map
from probes.statistics.bootstrap import Interval
from probes.statistics.compare import Comparison, DepthProfile, RankCorrelation
from tests.reporting.synthetic import heads_of, make_record
from tests.reporting.test_maps import cells, lightness

RANK = RankCorrelation(value=0.5, low=0.2, high=0.7, ceiling=0.8)


def side(run: str, *, probe: str = "linear", model: str = "org/m") -> ComparedRun:
    return ComparedRun(Path(run), make_record({"decoder": [2]}, model=model), probe)


def difference(
    streams: dict[str, list[int]],
    *,
    site: str = "heads",
    same_shape: bool = True,
    rank: RankCorrelation | None = RANK,
    seed: int = 0,
) -> Difference:
    """Differences of up to .3 in both directions, known to .1."""
    random = np.random.default_rng(seed)
    units = [(s, layer, h) for s, heads in streams.items() for layer, n in enumerate(heads)
             for h in range(n)]  # fmt: skip
    value = random.uniform(-0.3, 0.3, len(units))
    profiles = {}
    for stream, heads in streams.items():
        first, second = random.random((2, len(heads)))
        apart = Interval(first - second - 0.05, first - second + 0.04)
        depth = np.linspace(0, 1, len(heads))
        profiles[stream] = DepthProfile(depth, first, second, first - second, apart)
    if not same_shape:
        units, value = [], value[:0]
    interval = Interval(value - 0.1, value + 0.1)
    found = Comparison(units, value, interval, rank if units else None, profiles, groups=12)
    return Difference("upos", site, side("a", probe="mlp"), side("b"), 0.95, found)


def printed(shown: Difference, *, width: int = 80, **options: object) -> str:
    file = io.StringIO()
    print_difference(shown, Console(file=file, width=width, highlight=False, **options))  # type: ignore[arg-type]
    return file.getvalue()


def test_every_unit_stands_in_its_place_in_points() -> None:
    shown = difference({"encoder": [3, 2], "cross": [2, 2]})
    drawn = difference_map(shown)
    assert [panel.stream for panel in drawn.panels] == ["encoder", "cross"]
    assert np.isnan(drawn.panels[0].values.to_numpy()[1, 2])
    panels = {panel.stream: panel for panel in drawn.panels}
    for (stream, layer, head), value in zip(
        shown.comparison.units, shown.comparison.difference, strict=True
    ):
        assert panels[stream].values.loc[layer, head] == pytest.approx(100 * value)
    profile = shown.comparison.profiles["cross"]
    np.testing.assert_allclose(panels["cross"].profile["mean"], 100 * profile.difference)
    np.testing.assert_allclose(panels["cross"].profile["mean_low"], 100 * profile.interval.low)


def test_units_whose_interval_includes_0_are_faded() -> None:
    shown = difference({"decoder": heads_of(6, 8)})
    sides = np.ptp(cells(draw_map(difference_map(shown)))[0][:, :, 0], axis=1)
    apart = np.abs(shown.comparison.difference) > 0.1
    assert 0 < apart.sum() < len(apart)
    np.testing.assert_array_equal(sides > 0.8, apart)
    assert (difference_map(shown).passed, difference_map(shown).tested) == (apart.sum(), 48)


def test_both_signs_are_as_strong() -> None:
    scale = scale_of(difference_map(difference({"decoder": heads_of(4, 4)})))
    np.testing.assert_allclose(scale.position([0, 3.0, -3.0]), [0, 3 / scale.best, -3 / scale.best])
    np.testing.assert_array_equal(scale.colours([0.0]), BETTER[:1])
    np.testing.assert_array_equal(scale.colours([-1000.0]), LESS[-1:])
    np.testing.assert_allclose(lightness(LESS), lightness(BETTER), atol=0.03)
    assert (np.diff(lightness(LESS)) < 0).all()


def test_small_differences_do_not_fill_the_scale() -> None:
    shown = difference({"decoder": [4, 4]})
    smaller = replace(shown.comparison, difference=shown.comparison.difference / 100)
    assert scale_of(difference_map(replace(shown, comparison=smaller))).best == 5.0


def test_the_colour_bar_is_as_long_on_both_sides() -> None:
    bar = draw_map(difference_map(difference({"decoder": [4, 4]}))).axes[-1]
    assert bar.get_xlim() == (-1.0, 1.0)
    texts = [label.get_text() for label in bar.get_xticklabels()]
    assert "no difference" in texts[1] and texts[0] == texts[-1].replace("+", "-")


@pytest.mark.parametrize(
    "streams",
    [
        {"decoder": [1]},
        {"decoder": heads_of(40, 32)},
        {stream: [4, 4] for stream in ("encoder", "decoder", "cross")},
    ],
)
def test_pictures(streams: dict[str, list[int]], tmp_path: Path) -> None:
    for same_shape in (True, False):
        shown = difference(streams, same_shape=same_shape)
        png, svg = save_difference(shown, tmp_path / f"new/{same_shape}.png")
        height, width, _ = imread(png).shape
        assert 300 < width < 3500 and 250 < height < 4000
        assert svg.suffix == ".svg" and svg.stat().st_size > 1000


def test_whole_layers_are_one_column() -> None:
    shown = difference({"decoder": [1, 1, 1]}, site="residual")
    drawn = difference_map(shown)
    assert drawn.panels[0].values.columns.tolist() == ["residual"]
    assert list(drawn.panels[0].profile) == ["residual", "residual_low", "residual_high"]
    text = printed(shown)
    assert "of 3 layers differ" in text and "By layer, residual:" in text
    assert [unit["head"] for unit in difference_json(shown)["units"]] == [None] * 3


def test_numbers_in_the_terminal() -> None:
    shown = difference({"decoder": [3, 2]})
    text = printed(shown)
    for value in 100 * shown.comparison.difference:
        assert (f" {value:+.0f} " if abs(value) > 10 else f"({value:+.0f})") in text
    apart = np.abs(shown.comparison.difference) > 0.1
    up = int((apart & (shown.comparison.difference > 0)).sum())
    assert f"{apart.sum()} of 5 heads differ" in text
    assert f"{up} higher in MLP probe, {apart.sum() - up} in linear probe" in " ".join(text.split())
    assert "by chance about 0.25 would" in " ".join(text.split())
    assert "Rank correlation 0.50 [0.20, 0.70]" in text and "about 0.80" in " ".join(text.split())


@pytest.mark.parametrize("heads", [12, 32, 64, 200])
def test_signs_survive_where_numbers_do_not_fit(heads: int) -> None:
    shown = difference({"decoder": heads_of(3, heads)})
    text = printed(shown)
    assert max(map(len, text.splitlines())) <= 80
    if heads > 15:
        grid = [line[4:] for line in text.splitlines() if line[:4] in ("  0 ", "  1 ", "  2 ")]
        assert any(digit in line for line in grid for digit in "34")
        assert any("█" in line for line in grid) and "digits: below" in text
        coloured = printed(shown, force_terminal=True, color_system="truecolor")
        assert "digits: below" not in coloured


def test_a_block_of_several_heads_shows_the_largest_difference() -> None:
    shown = difference({"decoder": heads_of(1, 200)})
    value = np.full(200, 0.02)
    value[7], value[190] = -0.3, 0.3
    interval = Interval(value - 0.001, value + 0.001)
    text = printed(
        replace(shown, comparison=replace(shown.comparison, difference=value, interval=interval))
    )
    assert "a block: the largest of 3 heads" in text
    row = next(line[4:] for line in text.splitlines() if line.startswith("  0 "))
    assert row[2] == "4" and row[63] == "█" and row[0] == row[30] == "░"


def test_terminals_that_are_not_utf_8() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii", errors="strict"), width=80)
    print_difference(difference({"decoder": heads_of(2, 40)}), console)
    console.file.flush()
    assert b"MLP probe - linear probe" in raw.getvalue()


def test_models_of_different_shape_have_profiles_only() -> None:
    shown = difference({"decoder": heads_of(40, 2)}, same_shape=False)
    text = printed(shown)
    assert "differ" not in text and "Rank" not in text and "By relative depth" in text
    depths = [line.split()[0] for line in text.splitlines() if line[:6].startswith("  ")]
    assert depths[0] == "depth" and depths[1] == "0.00" and depths[-1] == "1.00"
    assert len(depths) == 1 + 13
    assert (
        len(difference_json(shown)["profiles"]["decoder"]) == 40
        and difference_json(shown)["units"] == []
    )


def test_profiles_are_drawn_as_they_are() -> None:
    profile = difference_map(difference({"decoder": [2, 2, 2]})).panels[0].profile
    profile.columns = ["difference", "difference_low", "difference_high"]
    profile = profile.assign(first=[0.1, 0.2, 0.4], second=[0.3, 0.1, 0.2])
    left, right = draw_depths({"decoder": profile}, title="t", subtitle="s").axes
    drawn = {line.get_label(): np.asarray(line.get_xdata()) for line in (*left.lines, *right.lines)}
    for name in ("first", "second", "difference"):
        np.testing.assert_allclose(drawn[name], profile[name])
    assert left.get_ylim()[0] < left.get_ylim()[1]  # the first layer is at the bottom


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (side("a"), side("b"), ("a", "b")),
        (side("a"), side("b", probe="mlp"), ("linear probe", "MLP probe")),
        (side("a"), side("a", probe="random_init"), ("linear probe", "random model")),
        (side("a", model="x/gpt2"), side("b", model="y/opt"), ("gpt2", "opt")),
        (side("a", model="x/gpt2"), side("b", model="y/gpt2"), ("x/gpt2", "y/gpt2")),
        (side("a", model="gpt2"), side("b", model="opt", probe="mlp"),
         ("gpt2, linear probe", "opt, MLP probe")),
    ],
)  # fmt: skip
def test_the_two_are_called_by_what_tells_them_apart(
    first: ComparedRun, second: ComparedRun, names: tuple[str, str]
) -> None:
    shown = replace(difference({"decoder": [2]}), first=first, second=second)
    assert shown.names == names


def test_what_is_undefined_is_null_and_said() -> None:
    nan = float("nan")
    noisy = difference({"decoder": [2, 2]}, rank=RankCorrelation(0.1, -0.9, 0.9, nan))
    alike = difference({"decoder": [2, 2]}, rank=RankCorrelation(nan, nan, nan, nan))
    few = difference({"decoder": [2]}, rank=None)
    for shown, says in ((noisy, "noise hides"), (alike, "all alike"), (few, "Fewer than three")):
        assert says in " ".join(printed(shown).split())
        json.dumps(difference_json(shown), allow_nan=False)
    assert difference_json(noisy)["rank_correlation"] == {
        "value": 0.1, "low": -0.9, "high": 0.9, "ceiling": None, "corrected": None,
    }  # fmt: skip
    assert difference_json(few)["rank_correlation"] is None
