"""Direct logit attribution and direct effects, against passes in which nothing else may react."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probes.core.errors import UserError
from probes.interventions.direct_effect import direct_effect, direct_ends, joint_direct_end
from probes.interventions.direct_logit import direct_logit_parts
from probes.models.forward import forward, token_offset
from probes.models.hf_config import model_kind
from probes.models.hooks import hooked
from probes.models.language_model import body_of, logits
from probes.models.residual import ResidualStream
from probes.models.residual_reading import StreamStates, read_stream
from probes.models.residual_search import find_residual_stream
from probes.models.sites import Site, find_sites
from tests import tiny_models
from tests.residual_models import (
    ADDITIVE,
    ENCODER_POST_NORM,
    EXTRA,
    POST_NORM,
    TO_LOGITS,
    with_head,
)

AT = (np.array([0, 0, 1, 1, 2]), np.array([2, 6, 0, 8, 3]))
ANSWERS = torch.tensor([5, 90, 41, 7, 33])
ALTERNATIVES = torch.tensor([[6, 7, 8], [4, -1, -1], [3, 50, -1], [60, 61, 62], [-1, -1, -1]])


def batch() -> tuple[Tensor, Tensor]:
    return tiny_models.pad(tiny_models.sequences((9, 9, 9)))


def opened(model: Any) -> tuple[ResidualStream, StreamStates]:
    stream = find_residual_stream(model)
    return stream, read_stream(stream, model, model_kind(model.config), *batch(), AT)


def heads_of(stream: ResidualStream) -> list[Site]:
    return [b.heads for layer in stream.layers for b in layer.branches if b.heads is not None]


# --- parts of a logit difference ------------------------------------------------------------------


def difference(values: Tensor, alternatives: Tensor = ALTERNATIVES) -> Tensor:
    """logit(answer) - mean logit(alternatives) of (n, V), row by row."""
    rows = []
    for row, answer, others in zip(values, ANSWERS, alternatives, strict=True):
        others = others[others >= 0]
        rows.append(row[answer] - (row[others].mean() if len(others) else 0.0))
    return torch.stack(rows)


def before_cap(values: Tensor, cap: float | None) -> Tensor:
    return values if cap is None else cap * torch.atanh(values / cap)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ADDITIVE)
def test_parts_sum_to_the_logit_difference(name: str, dtype: torch.dtype) -> None:
    model = with_head(name, dtype)
    kind = model_kind(model.config)
    stream, states = opened(model)
    parts = direct_logit_parts(stream, states, ANSWERS, ALTERNATIVES)
    values = logits(model, kind, *batch(), at=AT).double()
    expected = difference(before_cap(values, stream.cap))
    size = torch.stack([values.abs().amax(dim=1), expected.abs()]).amax()
    assert float((parts.total() - expected).abs().max()) < 1e-5 * float(size)
    assert list(parts.heads) == heads_of(stream)
    assert all(part.shape == (5, site.units) for site, part in parts.heads.items())
    whole = {layer.index for layer in stream.layers if not layer.branches}
    assert set(parts.whole) == whole and len(parts.mlps) == len(stream.layers) - len(whole)


@pytest.mark.parametrize("name", ADDITIVE)
def test_part_of_a_head_is_what_is_lost_without_it_at_the_same_scales(name: str) -> None:
    """By brute force: the head's output is taken out, norms are replaced by their own affine map.

    Norms are frozen at the clean pass by dividing by what they divided by there, from outside.
    """
    model = with_head(name)
    stream, states = opened(model)
    parts = direct_logit_parts(stream, states, ANSWERS, ALTERNATIVES)
    for site in heads_of(stream):
        branch = stream.branch_of(site)
        assert branch.weight is not None
        for head in range(site.units):
            added = states.z[site][:, head] @ branch.weight[head]  # (n, M)
            if branch.norm is not None:
                added = frozen(branch.norm.module, states.outputs[branch.output], added)
            added = branch.factor * added
            assert stream.final is not None
            read = frozen(stream.final.module, states.end, added) @ stream.unembedding()[0].T
            read = read * stream.head_factors[0] * stream.head_factors[1]
            torch.testing.assert_close(
                parts.heads[site][:, head], difference(read), rtol=1e-5, atol=1e-5
            )


def frozen(norm: nn.Module, x: Tensor, part: Tensor) -> Tensor:
    """What is left of a part of ``x`` after a norm that divides by the size of ``x``."""
    y, zero = norm(x), norm(torch.zeros_like(x))
    if torch.allclose(norm(x + 1.0), y, atol=1e-6):  # it centres
        x, part = x - x.mean(-1, keepdim=True), part - part.mean(-1, keepdim=True)
    gain: Tensor = (y - zero) / x  # (n, M)
    return part * gain


def test_row_without_alternatives_is_about_the_answer_alone() -> None:
    stream, states = opened(with_head("phi"))  # a head with a bias
    none = torch.full((5, 0), -1)
    total = direct_logit_parts(stream, states, ANSWERS, none).total()
    expected = stream.logits(states.end, tokens=ANSWERS[:, None])[:, 0]
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*POST_NORM, "bart"])
def test_post_norm_models_have_no_parts(name: str) -> None:
    stream, states = opened(with_head(name))
    with pytest.raises(UserError, match=r"post-norm.*Try methods=\[ablation\]"):
        direct_logit_parts(stream, states, ANSWERS, ALTERNATIVES)


# --- direct effects -------------------------------------------------------------------------------


def nothing_reacts(model: Any, stream: ResidualStream, edits: dict[Site, Tensor], kind: Any) -> Any:
    """A whole pass with edited ``z`` in which everything else puts out what it does in a clean one.

    edits: (n, H, D) at the read positions by site. Returns the end of the stream (n, M).
    """
    body = body_of(model)
    outputs = [b.output for layer in stream.layers for b in layer.branches]
    clean: dict[Site, Tensor] = {}
    with hooked(body, outputs, lambda site, x: clean.__setitem__(site, x.clone())):
        forward(body, kind, *batch())
    offset = token_offset(kind, stream.stream)
    where = torch.from_numpy(AT[0]), torch.from_numpy(AT[1]) + offset
    edited = {stream.branch_of(site).output: site for site in edits}
    end: list[Tensor] = []

    def visit(site: Site, x: Tensor) -> Tensor | None:
        if site == stream.end:
            end.append(x[where].squeeze(1))
        if site in edits:
            x = x.clone()
            x[where] = edits[site]
            return x
        return clean[site] if site in clean and site not in edited else None

    with hooked(body, [*edits, *outputs, stream.end], visit):
        forward(body, kind, *batch())
    return end[0]


ANY = [*TO_LOGITS, *EXTRA, *POST_NORM, *ENCODER_POST_NORM, "modernbert"]


@pytest.mark.parametrize("name", ANY)
def test_direct_effect_of_each_head_alone(name: str) -> None:
    encoder = name in (*ENCODER_POST_NORM, "modernbert")
    model = tiny_models.build(name) if encoder else with_head(name)
    kind = model_kind(model.config)
    stream, states = opened(model)
    generator = torch.Generator().manual_seed(3)
    for site in heads_of(stream):
        z = states.z[site]
        edited = z + torch.randn(z.shape, generator=generator, dtype=z.dtype)
        ends = direct_ends(stream, states, site, edited)
        assert ends.shape == (site.units, 5, 32)
        for head in range(site.units):
            alone = z.clone()
            alone[:, head] = edited[:, head]
            expected = nothing_reacts(model, stream, {site: alone}, kind)
            torch.testing.assert_close(ends[head], expected, rtol=1e-5, atol=1e-5)
        if stream.head is not None:
            values = direct_effect(stream, states, site, edited)
            torch.testing.assert_close(values, stream.logits(ends))
            few = torch.tensor([[1, 5]]).expand(5, -1)
            chosen = direct_effect(stream, states, site, edited, tokens=few)
            torch.testing.assert_close(chosen, values[..., [1, 5]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["llama_gqa", "gemma3", "falcon", "openai_gpt", "t5", "granite"])
def test_heads_of_several_layers_together(name: str) -> None:
    model = with_head(name)
    stream, states = opened(model)
    edits = {site: torch.zeros_like(states.z[site]) for site in heads_of(stream)}
    end = joint_direct_end(stream, states, edits)
    expected = nothing_reacts(model, stream, edits, model_kind(model.config))
    torch.testing.assert_close(end, expected, rtol=1e-5, atol=1e-5)
    clean = states.end
    assert not torch.allclose(end, clean, atol=1e-2)
    assert torch.equal(joint_direct_end(stream, states, {}), clean)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama_gqa", "gemma2", "gpt2", "opt_post_norm", "granite", "t5"])
def test_head_that_is_not_changed_changes_no_bit(name: str, dtype: torch.dtype) -> None:
    stream, states = opened(with_head(name, dtype))
    clean = stream.logits(states.end)
    few = ANSWERS[:, None]
    for site in heads_of(stream):
        edited = states.z[site].clone()
        edited[:, 1] += 1.0
        values = direct_effect(stream, states, site, edited)
        chosen = direct_effect(stream, states, site, edited, tokens=few)
        for head in range(site.units):
            same = torch.equal(values[head], clean)
            assert same == (head != 1)
            assert torch.equal(chosen[head], stream.logits(states.end, tokens=few)) == same


def test_direct_effect_on_logits_is_the_part_where_the_norms_scale_does_not_move() -> None:
    """Taking a head out changes the direct logit by its part, but for the change of scale."""
    model = with_head("gpt2")
    stream, states = opened(model)
    parts = direct_logit_parts(stream, states, ANSWERS, ALTERNATIVES)
    clean = difference(stream.logits(states.end))
    for site in heads_of(stream):
        small = states.z[site] * (1 - 1e-6)
        values = direct_effect(stream, states, site, small)
        slopes = torch.stack([clean - difference(of_head) for of_head in values], dim=1) * 1e6
        scale_moves = scale_term(stream, states, site, clean)
        torch.testing.assert_close(slopes, parts.heads[site] + scale_moves, rtol=1e-3, atol=1e-3)


def scale_term(stream: ResidualStream, states: StreamStates, site: Site, clean: Tensor) -> Tensor:
    """(n, H) what the final norm's scale does to the rest, in first order."""
    weight = stream.branch_of(site).weight
    assert weight is not None and stream.final is not None
    added = torch.einsum("nhd,hdm->nhm", states.z[site], weight)
    x = states.end - states.end.mean(-1, keepdim=True)
    share = (added * x[:, None]).sum(-1) / x.square().sum(-1, keepdim=True)  # (n, H)
    constant = difference((stream.final.bias @ stream.unembedding()[0].T).expand(5, -1))
    return -(clean - constant)[:, None] * share


def test_seen_by_hand() -> None:
    """One head of a two-layer Llama, with nothing but its weights."""
    model = with_head("llama_gqa")
    stream, states = opened(model)
    site = heads_of(stream)[0]
    ends = direct_ends(stream, states, site, torch.zeros_like(states.z[site]))
    o_proj = model.model.layers[0].self_attn.o_proj.weight  # (M, H * D)
    z = captured(model, [site])[site][AT[0], AT[1]]  # (n, H, D)
    for head in range(4):
        columns = o_proj[:, 8 * head : 8 * head + 8]
        expected = states.end - z[:, head] @ columns.T
        torch.testing.assert_close(ends[head], expected, rtol=0, atol=1e-12)


def captured(model: Any, sites: Sequence[Site]) -> dict[Site, Tensor]:
    kept: dict[Site, Tensor] = {}
    body = body_of(model)
    with hooked(body, sites, lambda site, x: kept.__setitem__(site, x.clone())):
        forward(body, model_kind(model.config), *batch())
    return kept


def test_sites_are_those_of_the_whole_project() -> None:
    stream, _ = opened(with_head("llama_gqa"))
    assert heads_of(stream) == find_sites(body_of(with_head("llama_gqa")))
