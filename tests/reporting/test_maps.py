from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.image import imread

from probes.reporting.captions import map_subtitle
from probes.reporting.drawing.colours import BETTER, WORSE, Scale, number, scale_of
from probes.reporting.drawing.figures import STYLE, Heading
from probes.reporting.drawing.file_names import file_name
from probes.reporting.drawing.maps import draw_map, save_map
from probes.reporting.head_map import head_map
from probes.results.feature_table import FeatureTable
from tests.reporting.synthetic import MAJORITY, heads_of, make_feature, make_record, make_results

SHAPES = {
    "2x4": {"decoder": heads_of(2, 4)},
    "1x1": {"decoder": [1]},
    "6x12": {"encoder": heads_of(6, 12)},
    "32x32": {"decoder": heads_of(32, 32)},
    "80x64": {"decoder": heads_of(80, 64)},
    "ragged": {"decoder": [8, 8, 4, 8, 2, 8]},
    "three streams": {name: heads_of(6, 8) for name in ("encoder", "decoder", "cross")},
}


def cells(figure: Figure) -> list[np.ndarray]:
    """The corners of every drawn cell, by axes."""
    found = []
    for axes in figure.axes:
        for collection in axes.collections:
            if (
                isinstance(collection, PolyCollection)
                and len(collection.get_paths())
                and (axes.get_ylabel().startswith("layer"))
            ):
                found.append(np.array([np.asarray(p.vertices)[:4] for p in collection.get_paths()]))
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_drawn_with_its_heads_and_no_others(shape: str, tmp_path: Path) -> None:
    streams = SHAPES[shape]
    table = make_results(streams)
    png, svg = save_map(table, "upos", tmp_path, record=make_record(streams))
    assert (png.name, svg.name) == ("upos.png", "upos.svg")
    height, width, _ = imread(png).shape
    assert 400 < width < 3200 and 300 < height < 3200
    figure = draw_map(head_map(FeatureTable.of(table, "upos")))
    assert [len(drawn) for drawn in cells(figure)] == [
        sum(streams[s]) for s in sorted(streams, key=("encoder", "decoder", "cross").index)
    ]


def test_layer_0_is_at_the_bottom_and_said_so() -> None:
    table = make_results({"decoder": [1, 2, 3]})
    figure = draw_map(head_map(FeatureTable.of(table, "upos")))
    axes = figure.axes[0]
    assert axes.get_ylabel().replace("\n", " ") == "layer, 0 at bottom"
    assert axes.get_ylim()[0] < axes.get_ylim()[1]
    rows = cells(figure)[0][:, :, 1].mean(axis=1).round()
    assert [int((rows == layer).sum()) for layer in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("shape", ["6x12", "30x9", "18x4", "32x32", "80x64"])
def test_ranks_stand_inside_their_frames_or_not_at_all(shape: str) -> None:
    """Beside its frame a number is in the cell of another head, and names that one."""
    layers, heads = map(int, shape.split("x"))
    own = FeatureTable.of(make_results({"decoder": heads_of(layers, heads)}), "upos")
    drawn = head_map(own)
    figure = draw_map(drawn)
    axes = figure.axes[0]
    renderer: Any = figure.canvas
    ranked = {str(rank): (head, layer) for (_, layer, head), rank in drawn.ranks.items()}
    texts = [t for t in axes.texts if t.get_fontweight() == "bold"]
    assert {t.get_text() for t in texts} == (set() if shape == "80x64" else set(ranked))
    for text in texts:
        x, y = ranked[text.get_text()]
        box = text.get_window_extent(renderer.get_renderer())
        corners = axes.transData.inverted().transform([box.p0, box.p1])
        assert (abs(corners - (x, y)) < 0.6).all(), (text.get_text(), corners)


def test_no_line_of_a_heading_begins_with_the_dot_between_parts() -> None:
    parts = ["accuracy on test", "best on validation", "94 of 270 significant"]
    for width in np.arange(2.0, 9.0, 0.1):
        heading = Heading.wrapped("upos · model · corpus", " · ".join(parts * 3), float(width))
        assert all(not line.startswith("·") for line in heading.titles + heading.lines)
        assert " ".join(heading.lines).replace("\N{NO-BREAK SPACE}", " ") == " · ".join(parts * 3)


def test_heads_that_are_not_significant_are_smaller() -> None:
    drawn = head_map(make_feature({"decoder": heads_of(6, 8)}))
    sides = np.ptp(cells(draw_map(drawn))[0][:, :, 0], axis=1)
    assert (sides > 0.8).sum() == drawn.passed
    assert (sides < 0.7).sum() == drawn.tested - drawn.passed


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    table = make_results({"decoder": heads_of(3, 4)})
    first = [p.read_bytes() for p in save_map(table, "upos", tmp_path / "a")]
    assert first == [p.read_bytes() for p in save_map(table, "upos", tmp_path / "b")]


@pytest.mark.parametrize("name", ["$x^2", "../../etc/passwd", "名詞", "a" * 120, "Number[psor]"])
def test_strange_feature_names(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = save_map(make_results({"d": [2, 2]}, features=(name,)), name, tmp_path)
    assert all(path.parent == tmp_path and path.stat().st_size > 1000 for path in paths)


def test_file_names_stay_inside_the_directory() -> None:
    assert file_name("..") == "_" and file_name("a/b\\c") == "a_b_c" and file_name("") == "_"


@pytest.mark.parametrize("metric", ["q_value", "codelength_bits", "selectivity", "gain"])
def test_other_quantities(metric: str, tmp_path: Path) -> None:
    table = make_results({"decoder": heads_of(3, 4)})
    png, _ = save_map(table, "upos", tmp_path, metric=metric)
    assert png.name == f"upos.{metric}.png"


def test_with_nothing_but_accuracies(tmp_path: Path) -> None:
    bare = make_results({"d": heads_of(3, 4)}, control=False, significance=False,
                        codelength=False, baselines=False, intervals=False)  # fmt: skip
    save_map(bare[bare["split"] == "test"], "upos", tmp_path)


def test_style_leaves_matplotlib_alone(tmp_path: Path) -> None:
    before = matplotlib.rcParams["font.size"]
    save_map(make_results({"d": [2, 2]}), "upos", tmp_path)
    assert matplotlib.rcParams["font.size"] == before != STYLE["font.size"]


def test_subtitle_says_what_was_chosen_where() -> None:
    streams = {"encoder": heads_of(3, 4)}
    own, record = make_feature(streams), make_record(streams)
    text = map_subtitle(own, head_map(own), record)
    assert "majority (NOUN) 0.333" in text and "best on validation: layer" in text
    assert "of 12 significant at false discovery rate 0.05" in text


# --- colours ----------------------------------------------------------------------------------


def lightness(colours: np.ndarray) -> np.ndarray:
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def test_ramps_are_ordered_by_lightness_alone() -> None:
    for ramp in (BETTER, WORSE):
        assert (np.diff(lightness(ramp)) < 0).all()


@pytest.mark.parametrize(
    "blindness",
    [
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],  # deuteranopia
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],  # protanopia
    ],
)
def test_better_and_worse_stay_apart_for_the_colour_blind(blindness: list[list[float]]) -> None:
    seen = [np.clip(ramp @ np.array(blindness).T, 0, 1) for ramp in (BETTER, WORSE)]
    for worse in range(16, 65, 8):
        distances = np.linalg.norm(seen[0] - seen[1][worse], axis=1)
        assert distances.min() > 0.08


def test_colours_begin_at_the_majority() -> None:
    scale = Scale(anchor=0.3, best=0.7)
    np.testing.assert_allclose(scale.position([0.3, 0.7, 0.5, 0.1, 0.9]), [0, 1, 0.5, -0.5, 1])
    np.testing.assert_array_equal(scale.colours([0.3]), BETTER[:1])
    np.testing.assert_array_equal(scale.colours([0.1])[0], WORSE[32])
    assert scale_of(head_map(make_feature({"d": [4, 4]}))).anchor == MAJORITY


def test_noise_does_not_fill_the_scale() -> None:
    drawn = head_map(make_feature({"d": heads_of(6, 12)}, signal=0.0))
    assert scale_of(drawn).best >= MAJORITY + 0.05


def test_lower_is_better_turns_the_scale_round() -> None:
    scale = scale_of(head_map(make_feature({"d": heads_of(4, 4)}), "codelength_bits"))
    assert scale.best < scale.anchor
    assert scale.position([scale.best])[0] == 1


def test_p_values_are_logarithmic() -> None:
    scale = Scale(1.0, 0.0, logarithmic=True)
    np.testing.assert_allclose(scale.position([1, 0.1, 0.001, 0.0]), [0, 1 / 3, 1, 1])


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [(0.5, "", ".50"), (0.999, "", "1.0"), (-0.05, "", "-.05"), (-0.001, "", ".00"),
     (12.3, "", "12.3"), (4321.5, "", "4322"), (0.0004, "q_value", "<.001"),
     (0.0123, "q_value", ".012"), (float("nan"), "", "")],
)  # fmt: skip
def test_numbers_in_cells(value: float, name: str, text: str) -> None:
    assert number(value, name) == text


def test_features_whose_names_make_one_file_name_have_maps_of_their_own(tmp_path: Path) -> None:
    names = ("Number[psor]", "Number(psor)", "number_psor_", "upos", "x" * 400)
    table = make_results({"encoder": [2]}, features=names)
    files = [path for name in names for path in save_map(table, name, tmp_path)]
    assert len({str(path).lower() for path in files}) == 2 * len(names)
    assert all(path.is_file() and len(path.name) < 200 for path in files)
    assert (tmp_path / "upos.png").is_file()
