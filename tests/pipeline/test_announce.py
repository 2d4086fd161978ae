"""What a run says that it will do is what it then does."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

import probes.pipeline.run
from probes.config import BaselineConfig, EvaluationConfig, SignificanceConfig, SplitConfig
from probes.core.errors import UserError
from probes.pipeline.fits import Fits
from tests.pipeline.deep_runs import LAYERS, deep_run, write_deep_model


class KeptFits(Fits):
    """Keeps the last of its kind, to be asked what was fitted."""

    last: Fits

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        KeptFits.last = self


def announced(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What runs said about their plans."""
    messages = [record.getMessage() for record in caplog.records]
    return [message for message in messages if message.startswith("this run:")]


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"split": SplitConfig(folds=3), "significance": SignificanceConfig(permutations=19)},
        {"baseline": BaselineConfig(random_init=True, residual="none"),
         "evaluation": EvaluationConfig(bootstrap=0, erase="upos")},
    ],
    ids=["default", "folds and permutations", "random and erased"],
)  # fmt: skip
def test_sizes_and_probes_are_those_of_the_run(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
) -> None:
    monkeypatch.setattr(probes.pipeline.run, "Fits", KeptFits)
    write_deep_model(tmp_path)
    baseline = settings.pop("baseline", BaselineConfig())
    with caplog.at_level(logging.INFO, logger="probes"):
        run = deep_run(tmp_path, "first", baseline, features=["number"], **settings)
    (first,) = announced(caplog)
    pattern = (
        r"reading (\S+) texts of (\S+) tokens: (\S+) rows, (\S+) kB of cache \(layers of heads: "
        r"(\d+).*\); about .* at \S+ tokens/s\n  fitting (\S+) probes \((.*)\); about \d+"
    )
    found = re.search(pattern, first)
    assert found, first
    texts, tokens, rows, kilobytes, layers, probes_, sites = found.groups()
    manifest = run.cache("heads").manifest
    assert (number(texts), number(tokens)) == (manifest["sequences"], manifest["tokens"])
    assert number(rows) == run.record.rows
    assert int(layers) == LAYERS
    assert number(probes_) == KeptFits.last.summary.probes
    assert sum(number(part.split()[0]) for part in sites.split(", ")) == number(probes_)
    stored = list((tmp_path / "cache").rglob("layer_*.safetensors"))
    assert float(kilobytes) == pytest.approx(sum(p.stat().st_size for p in stored) / 1e3, abs=0.1)


def test_stored_activations_are_not_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_deep_model(tmp_path)
    with caplog.at_level(logging.INFO, logger="probes"):
        for name in ("first", "again"):
            deep_run(tmp_path, name, BaselineConfig(), features=["number"], layers="1-2")
    first, again = announced(caplog)
    assert "reading" in first
    assert "reading" not in again
    assert again.partition("fitting")[2].partition(";")[0] in first


def test_labels_that_cannot_be_judged_end_the_run_after_the_first_batch(tmp_path: Path) -> None:
    write_deep_model(tmp_path)
    with pytest.raises(UserError, match=r"split.folds=400"):
        deep_run(tmp_path, "run", BaselineConfig(), split=SplitConfig(folds=400))
    assert not list((tmp_path / "cache").rglob("layer_*.safetensors"))
