"""The tables that say which sites, methods, comparators and quantities there are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from probes.config.group_checks import SITE_KINDS
from probes.results.vocabulary import COMPARATORS, METHODS, QUANTITIES, SITES, quantity_kind
from probes.results.vocabulary.comparators import Compared, comparators, is_comparator
from probes.statistics.metrics import METRICS


def test_names_are_keys() -> None:
    for table in (SITES, METHODS, COMPARATORS, QUANTITIES):
        assert [row.name for row in table.values()] == list(table)


def test_sites_of_the_configuration_have_rows() -> None:
    assert set(SITE_KINDS) <= set(SITES)


def test_a_comparator_of_the_same_layer_is_a_whole_layer_site() -> None:
    whole = {site.name for site in SITES.values() if site.whole_layer}
    assert {row.name for row in comparators(Compared.SAME_LAYER)} == whole
    assert not any(is_comparator(site) for site in whole)


def test_lines_of_profiles_have_a_colour_and_a_place_of_their_own() -> None:
    lines = comparators(Compared.SAME_LAYER, Compared.SAME_UNIT)
    for values in ([row.colour for row in lines], [row.drawn for row in lines],
                   [row.abbreviation for row in lines]):  # fmt: skip
        assert all(values) and len(set(values)) == len(values)


def test_gains_follow_from_comparators() -> None:
    for row in COMPARATORS.values():
        kind = quantity_kind(row.gain)
        assert (kind.anchor, kind.label, kind.better) == (0.0, row.gain_label, "higher")


def test_which_values_are_good() -> None:
    lower = {name for name in QUANTITIES if quantity_kind(name).lower_is_better}
    assert lower == {"codelength_bits", "q_value", "p_value", "p_familywise", "q_control",
                     "p_control", "p_control_familywise"}  # fmt: skip


def test_a_metric_is_a_quantity(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = replace(METRICS["accuracy"], name="hits", label="hits", better="lower", anchor=0.25)
    monkeypatch.setitem(METRICS, "hits", metric)
    kind = quantity_kind("hits")
    assert (kind.label, kind.anchor, kind.lower_is_better) == ("hits", 0.25, True)
    assert quantity_kind("accuracy").place < quantity_kind("selectivity").place < kind.place
