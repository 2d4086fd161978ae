"""What rounding to the stored dtype takes from the activations, measured before they are stored.

float16 keeps 11 bits of a number: where a head varies little around a large mean (a constant
offset, a massive activation) or is tiny as a whole (below 6e-5 it has fewer bits), its variation is
rounded away, and a probe reads noise. The share lost is measured for each feature, var(rounding
error) / var(z), and averaged over the features of a unit.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from probes.activations.cache import Cache
from probes.activations.dtypes import AUTO, DTYPES
from probes.models.forward import forward, token_offset
from probes.models.hf_config import Kind
from probes.models.hooks import hooked
from probes.models.sites import Site
from probes.passes.batches import BatchPlan, Gather

log = logging.getLogger(__name__)

TOLERATED = 1e-3
"""Share of a unit's variance that may be lost without a word: the numbers as stored correlate with
those computed by .9995. Usual models lose 1e-7 in float16, and a head whose features vary by a
hundredth of their mean loses 4e-4."""
NEGLIGIBLE = 1e-3
"""Features that vary by less than this share of the median feature of their unit carry nothing: the
residual streams of usual models have some that are constant up to the model's own rounding."""
CONSTANT = 2.0**-21
"""So does a feature that varies by less than this share of its mean: float32 computes no better."""
SAMPLE_TOKENS, SAMPLE_ROWS = 128, 64
"""Tokens of a sampled batch, and rows after which no more than four batches are sampled."""
NAMED = 8
"""Units that are stored by name, those that lose most first."""


@dataclass(frozen=True)
class Rounding:
    """What storage in a dtype loses of a site."""

    asked: str
    """``extraction.dtype``."""
    dtype: str
    """That was measured."""
    overflow: bool
    """Whether numbers end beyond the dtype's range."""
    worst: float
    """Largest share of a unit's variance that is lost."""
    above: int
    """Units that lose more than ``TOLERATED``."""
    units: tuple[tuple[str, int, int, float], ...]
    """(stream, layer, unit, share lost) of some of these, the worst first."""

    @property
    def tolerable(self) -> bool:
        """Whether the dtype holds the site."""
        return not self.overflow and self.worst <= TOLERATED

    def sentence(self, site: str) -> str:
        """What is lost, in words; site: its kind."""
        if self.overflow:
            return f"some values are beyond the range of {self.dtype}"
        named = ", ".join(
            f"{stream} layer {layer}{f' head {unit}' if site == 'heads' else ''} ({share:.1%})"
            for stream, layer, unit, share in self.units
        )
        more = f" and {self.above - len(self.units)} more" if self.above > len(self.units) else ""
        return f"rounding to {self.dtype} takes variance from {named}{more}"

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {
            "asked": self.asked,
            "measured": self.dtype,
            "overflow": self.overflow,
            "worst": self.worst,
            "above": self.above,
            "units": [list(unit) for unit in self.units],
        }

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Rounding | None:
        """What a manifest tells; None for caches made before it was measured, or in float32."""
        try:
            stored = manifest["rounding"]
            units = tuple((str(s), int(n), int(u), float(x)) for s, n, u, x in stored["units"])
            return cls(
                str(stored["asked"]),
                str(stored["measured"]),
                bool(stored["overflow"]),
                float(stored["worst"]),
                int(stored["above"]),
                units,
            )
        except (KeyError, TypeError, ValueError):
            return None


def measure(
    kind: Kind,
    body: nn.Module,
    plan: BatchPlan,
    sites: Mapping[str, Sequence[Site]],
    asked: Mapping[str, str],
) -> dict[str, Rounding]:
    """Run a sample of small batches, spread over the plan, and measure what storage loses.

    sites: of each kind of site. asked: ``extraction.dtype`` for each; for ``auto`` float16 is
    measured.
    """
    sums: dict[Site, _Sums] = {}
    for of_kind, name in asked.items():
        dtype = DTYPES["float16" if name == AUTO else name].dtype
        sums |= {site: _Sums(dtype) for site in sites[of_kind]}
    starts = np.unique(np.arange(16) * len(plan) // 16)
    starts = starts[np.argsort(np.arange(len(starts)) % 4, kind="stable")]  # a quarter apart
    n_rows = 0
    for done, start in enumerate(starts.tolist()):
        if done >= 4 and n_rows >= SAMPLE_ROWS:
            break
        batch = plan.batch(start, SAMPLE_TOKENS)
        if not len(batch.rows):
            continue

        def visit(site: Site, z: Tensor) -> None:
            offset = token_offset(kind, site.stream)
            sums[site].add(Gather(batch, offset=offset, device=z.device)(z))  # noqa: B023

        with hooked(body, list(sums), visit, stop_after_last=True):
            forward(body, kind, batch.input_ids, batch.attention_mask)
        n_rows += len(batch.rows)
    return {
        of_kind: _rounding(name, {(site.stream, site.layer): sums[site] for site in sites[of_kind]})
        for of_kind, name in asked.items()
    }


def estimate(cache: Cache, rows: int = 512) -> Rounding:
    """What a finished cache has lost, judged by the spacing of its numbers: for caches that were
    made before it was measured."""
    name = str(cache.manifest["dtype"])
    sums: dict[tuple[str, int], _Sums] = {}
    for info in cache.layers:
        with safe_open(cache.directory / info.file, framework="pt") as file:
            stored = file.get_slice("z")[:, :rows].transpose(0, 1)  # (n, H, D)
        of_layer = sums[info.stream, info.layer] = _Sums(DTYPES[name].dtype)
        of_layer.add(stored)
        # A model that computed in the same bits, or fewer, has lost nothing.
        if cache.manifest["fields"].get("model_dtype") not in (name, "bfloat16"):
            of_layer.spread_over_spacing(stored)
    return _rounding(name, sums)


def rounding_of(cache: Cache) -> Rounding | None:
    """What a cache has lost, from its manifest or estimated; None for float32, which loses less
    than a model's own arithmetic."""
    if cache.manifest["dtype"] == "float32":
        return None
    return Rounding.from_manifest(cache.manifest) or estimate(cache)


def serves_auto(cache: Cache) -> bool:
    """Whether ``extraction.dtype=auto`` would have stored this cache as it is."""
    if cache.manifest["dtype"] == "float32":
        recorded = Rounding.from_manifest(cache.manifest)
        return recorded is not None and recorded.asked == AUTO
    rounding = rounding_of(cache)
    return rounding is not None and rounding.tolerable


class _Sums:
    """Moments of the numbers of a site and of their rounding errors, in float64."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.n, self.overflow = dtype, 0, False
        self._shift: Tensor | None = None

    def add(self, picked: Tensor) -> None:
        """picked: (n, units, width) as the model computed them."""
        exact = picked.cpu().double()
        rounded = picked.to(self.dtype).cpu().double()
        self.overflow |= bool((rounded.isinf() & exact.isfinite()).any())
        if self._shift is None:  # a row of the data: no cancellation where the mean is large
            self._shift = exact[0]
            zeros = torch.zeros_like(exact[0])
            self._z, self._zz, self._e, self._ee = (zeros.clone() for _ in range(4))
        z, error = exact - self._shift, rounded - exact  # (n, U, D)
        self.n += len(exact)
        self._z += z.sum(0)
        self._zz += z.square().sum(0)
        self._e += error.sum(0)
        self._ee += error.square().sum(0)

    def spread_over_spacing(self, stored: Tensor) -> None:
        """Replace the errors by those expected of numbers that were rounded to ``stored``."""
        info = torch.finfo(self.dtype)
        smallest = info.smallest_normal
        _, exponent = stored.double().abs().clamp(min=smallest).frexp()
        spacing = torch.ldexp(torch.full_like(stored, info.eps / 2, dtype=torch.float64), exponent)
        self._e.zero_()
        self._ee = (spacing.square() / 12).sum(0)

    def lost(self) -> Tensor:
        """(units,) mean share of a feature's variance that is lost."""
        if self._shift is None or self.n < 2:
            return torch.zeros(1)
        variance = (self._zz - self._z.square() / self.n).clamp(min=0) / self.n  # (U, D)
        of_error = (self._ee - self._e.square() / self.n).clamp(min=0) / self.n
        scale, mean = variance.sqrt(), (self._shift + self._z / self.n).abs()
        varies = scale > NEGLIGIBLE * scale.median(dim=1, keepdim=True).values
        varies &= scale > CONSTANT * mean
        share = torch.where(varies, of_error / variance, 0.0).nan_to_num(0).clamp(max=1)
        return share.sum(1) / varies.sum(1).clamp(min=1)


def _rounding(asked: str, sums: Mapping[tuple[str, int], _Sums]) -> Rounding:
    units = [
        (stream, layer, unit, float(f"{share:.3g}"))
        for (stream, layer), of_layer in sums.items()
        for unit, share in enumerate(of_layer.lost().tolist())
    ]
    units.sort(key=lambda unit: -unit[3])
    above = [unit for unit in units if unit[3] > TOLERATED]
    dtype = next(iter(sums.values())).dtype
    return Rounding(
        asked=asked,
        dtype=str(dtype).removeprefix("torch."),
        overflow=any(of_layer.overflow for of_layer in sums.values()),
        worst=units[0][3],
        above=len(above),
        units=tuple(above[:NAMED]),
    )
