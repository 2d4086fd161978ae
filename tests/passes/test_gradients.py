"""Gradients at the sites of a pass, against autograd on a plain one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probes.config import ModelConfig
from probes.corpora.corpus import Corpus
from probes.models.forward import forward, token_offset
from probes.models.handle import Handle
from probes.models.language_model import body_of, logits
from probes.models.loading import open_model
from probes.models.sites import Site, find_sites
from probes.passes.alignment import align
from probes.passes.batches import Batch, BatchPlan
from probes.passes.loop import row_ends, run_passes
from probes.passes.visitor import Output, Visitor
from tests import tiny_checkpoints
from tests.passes.visitors import BUDGET, Counting, batches


class Gradients(Visitor):
    """Differentiates, for each batch, a function of the output with respect to each site."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        self.z: dict[Site, Tensor] = {}
        self.found: list[dict[Site, Tensor]] = []

    def begin(self, batch: Batch) -> None:
        self.z = {}

    def visit(self, site: Site, z: Tensor) -> Tensor | None:
        assert z.requires_grad
        self.z[site] = z
        return None

    def end(self, batch: Batch, output: Output) -> None:
        value = score(output.logits if output.hidden is None else output.hidden)
        gradients = torch.autograd.grad(value, list(self.z.values()))
        self.found.append(dict(zip(self.z, gradients, strict=True)))


def score(output: Tensor | None) -> Tensor:
    assert output is not None
    return (output[:2].softmax(dim=-1)[..., 0] * 1.5).sum()


def by_hand(body: Any, kind: Any, site: Site, batch: Batch, run: Any) -> Tensor:
    """The gradient at one site, as autograd gives it on a plain pass: a leaf at that site only."""
    leaves: list[Tensor] = []

    def cut(x: Tensor) -> Tensor:
        leaves.append(x.detach().requires_grad_())
        return leaves[0] * 1

    def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return (cut(args[0]), *args[1:]), kwargs

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        return cut(output) if isinstance(output, Tensor) else (cut(output[0]), *output[1:])

    target = body.get_submodule(site.module)
    if site.side == "input":
        handle = target.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = target.register_forward_hook(after)
    with torch.enable_grad():
        score(run(batch)).backward()
    handle.remove()
    assert leaves[0].grad is not None
    return leaves[0].grad


class TestGradients:
    @pytest.mark.parametrize("family", ["llama_gqa", "gpt2", "t5", "qwen3_next", "bert", "opt"])
    def test_they_equal_autograd_on_a_plain_pass(
        self, family: str, tmp_path: Path, corpus: Corpus
    ) -> None:
        directory = tiny_checkpoints.write_checkpoint(tmp_path, family, dtype=torch.float64)
        handle = open_model(ModelConfig(name=str(directory), device="cpu"))
        plan = BatchPlan(align(corpus, handle), BUDGET)
        body = handle.load()
        sites = find_sites(body) + find_sites(body, "residual")
        last = find_sites(body, "residual")[-1]
        visitor = Gradients([site for site in sites if site != last])
        run_passes(handle, body, plan, visitor, need="body", gradients=True)
        assert not any(parameter.requires_grad for parameter in body.parameters())

        def hidden(batch: Batch) -> Tensor:
            ids, mask = batch.input_ids, batch.attention_mask
            output = forward(body, handle.kind, ids, mask, gradients=True)
            state: Tensor = output.last_hidden_state
            return state

        first, found = next(batches(plan)), visitor.found[0]
        for site in visitor.sites:
            expected = by_hand(body, handle.kind, site, first, hidden)
            tokens = first.input_ids.shape[1] + token_offset(handle.kind, site.stream)
            assert found[site].shape == (first.count, tokens, site.units, site.width)
            torch.testing.assert_close(found[site].reshape(expected.shape), expected)
            assert expected.abs().max() > 0

    def test_through_the_language_model_head(self, with_head: Handle, corpus: Corpus) -> None:
        plan = BatchPlan(align(corpus, with_head), BUDGET)
        model = with_head.load(head=True)
        body = body_of(model)
        visitor = Gradients(find_sites(body))
        run_passes(
            with_head, model, plan, visitor, need="logits", logits_at=row_ends, gradients=True
        )
        first = next(batches(plan))

        def at_rows(batch: Batch) -> Tensor:
            ids, mask = batch.input_ids, batch.attention_mask
            return logits(model, "decoder", ids, mask, gradients=True)[batch.sequence, batch.last]

        for site in visitor.sites:
            expected = by_hand(body, "decoder", site, first, at_rows)
            torch.testing.assert_close(
                visitor.found[0][site].reshape(expected.shape), expected, rtol=1e-9, atol=1e-12
            )

    def test_the_numbers_stay_those_of_a_plain_pass(self, llama: Handle, plan: BatchPlan) -> None:
        body = llama.load()
        plain, differentiated = Counting(find_sites(body)), Counting(find_sites(body))
        run_passes(llama, body, plan, plain, need="body")
        run_passes(llama, body, plan, differentiated, need="body", gradients=True)
        assert plain.total == differentiated.total

    def test_what_is_edited_is_differentiated_too(self, llama: Handle, plan: BatchPlan) -> None:
        body = llama.load()

        class Halving(Gradients):
            def visit(self, site: Site, z: Tensor) -> Tensor:
                super().visit(site, z)
                return z * 0.5

        site = find_sites(body, layers=[1])[0]
        visitor = Halving([site])
        run_passes(llama, body, plan, visitor, need="body", gradients=True)
        assert visitor.found[0][site].abs().max() > 0
