"""The loop with visitors that store nothing: counting, editing, halving, resuming."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.models.forward import forward
from probes.models.handle import Handle
from probes.models.language_model import body_of
from probes.models.loading import open_model
from probes.models.sites import Site, find_sites
from probes.passes.alignment import align
from probes.passes.batches import Batch, BatchPlan
from probes.passes.loop import is_out_of_memory, row_ends, run_batches, run_passes
from probes.passes.progress import Progress
from probes.passes.shards import Shard
from probes.passes.visitor import Keeper, Output
from tests import tiny_checkpoints, tiny_models
from tests.passes.visitors import BUDGET, Counting, batches


class TestReading:
    def test_every_site_of_every_batch_once_and_no_output(
        self, llama: Handle, plan: BatchPlan
    ) -> None:
        body = llama.load()
        visitor = Counting(find_sites(body) + find_sites(body, "residual"))
        done = run_passes(llama, body, plan, visitor)
        assert visitor.sequences == [batch.count for batch in batches(plan)]
        assert len(visitor.visits) == len(visitor.sequences) * len(visitor.sites)
        assert done == Progress(len(plan), len(plan.alignment), ((0, BUDGET),))
        assert visitor.outputs == [Output()] * len(visitor.sequences)
        assert visitor.drained == 1
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in body.modules())

    def test_the_pass_stops_after_the_last_site(self, llama: Handle, plan: BatchPlan) -> None:
        body = llama.load()
        ran: list[str] = []
        for name, part in body.named_modules():
            part.register_forward_hook(lambda m, a, o, name=name: ran.append(name))
        run_passes(llama, body, plan, Counting(find_sites(body, layers=[0])))
        assert "layers.0.self_attn.v_proj" in ran
        assert not any(name.startswith("layers.1") for name in ran)

    def test_hidden_states_are_those_of_a_plain_pass(self, llama: Handle, plan: BatchPlan) -> None:
        body = llama.load()
        visitor = Counting(find_sites(body))
        run_passes(llama, body, plan, visitor, need="body")
        for batch, output in zip(batches(plan), visitor.outputs, strict=True):
            plain = forward(body, "decoder", batch.input_ids, batch.attention_mask)
            assert output.hidden is not None and output.logits is None
            assert torch.equal(output.hidden, plain.last_hidden_state)


class TestEditing:
    def test_a_zeroed_head_equals_a_hook_by_hand(self, llama: Handle, plan: BatchPlan) -> None:
        body = llama.load()
        site, head = find_sites(body, layers=[0])[0], 2

        class Zeroing(Counting):
            def visit(self, site: Site, z: Tensor) -> Tensor:
                edited = z.clone()
                edited[:, :, head] = 0
                return edited

        visitor = Zeroing([site])
        run_passes(llama, body, plan, visitor, need="body")

        def zero(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            z = args[0].clone()  # (B, T, H * D)
            z[..., head * site.width : (head + 1) * site.width] = 0
            return (z,)

        handle = body.get_submodule(site.module).register_forward_pre_hook(zero)
        for batch, output in zip(batches(plan), visitor.outputs, strict=True):
            expected = forward(body, "decoder", batch.input_ids, batch.attention_mask)
            assert output.hidden is not None
            assert torch.equal(output.hidden, expected.last_hidden_state)
        handle.remove()

    def test_variants_of_a_batch_side_by_side(self, llama: Handle, plan: BatchPlan) -> None:
        """The first is left as it is, in the others one head each is zeroed."""
        body = llama.load()
        site = find_sites(body, layers=[0])[0]

        class EachHead(Counting):
            def visit(self, site: Site, z: Tensor) -> Tensor:
                edited = z.clone()
                of_variant = edited.unflatten(0, (1 + site.units, -1))  # (V, B, T, H, D)
                for head in range(site.units):
                    of_variant[1 + head, :, :, head] = 0
                return edited

        class One(Counting):
            head = 0

            def visit(self, site: Site, z: Tensor) -> Tensor:
                edited = z.clone()
                edited[:, :, self.head] = 0
                return edited

        together, plain = EachHead([site]), Counting([site])
        run_passes(llama, body, plan, together, need="body", variants=1 + site.units)
        run_passes(llama, body, plan, plain, need="body")
        for variant in range(1 + site.units):
            alone = plain
            if variant:
                alone = One([site])
                alone.head = variant - 1
                run_passes(llama, body, plan, alone, need="body")
            for output, expected in zip(together.outputs, alone.outputs, strict=True):
                assert output.hidden is not None and expected.hidden is not None
                part = output.hidden.unflatten(0, (1 + site.units, -1))[variant]
                torch.testing.assert_close(part, expected.hidden)


class TestLogits:
    def test_at_the_ends_of_rows_they_are_the_model_s_own(
        self, with_head: Handle, corpus: Corpus
    ) -> None:
        plan = BatchPlan(align(corpus, with_head), BUDGET)
        model = with_head.load(head=True)
        everywhere, at_rows, twice = (Counting(find_sites(body_of(model))) for _ in range(3))
        run_passes(with_head, model, plan, everywhere, need="logits")
        run_passes(with_head, model, plan, at_rows, need="logits", logits_at=row_ends)
        run_passes(with_head, model, plan, twice, need="logits", logits_at=row_ends, variants=2)
        assert everywhere.total == at_rows.total
        for number, batch in enumerate(batches(plan)):
            expected = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            whole, some = everywhere.outputs[number].logits, at_rows.outputs[number].logits
            assert whole is not None and some is not None
            torch.testing.assert_close(whole, expected, rtol=0, atol=1e-10)
            picked = expected[batch.sequence, batch.last]  # (n, V)
            torch.testing.assert_close(some, picked, rtol=0, atol=1e-10)
            doubled = twice.outputs[number].logits
            torch.testing.assert_close(doubled, picked.repeat(2, 1), rtol=0, atol=1e-10)

    def test_a_body_gives_none(self, llama: Handle, plan: BatchPlan) -> None:
        body = llama.load()
        with pytest.raises(UserError, match="LlamaModel has no language-model head"):
            run_passes(llama, body, plan, Counting([]), need="logits")

    def test_a_model_that_is_no_body_gives_no_hidden_state(self, tmp_path: Path) -> None:
        model = tiny_models.build_with_head("t5")
        handle = open_model(
            ModelConfig(name=str(tiny_checkpoints.write_checkpoint(tmp_path, "t5")))
        )
        with pytest.raises(ValueError, match="without the head"):
            run_passes(handle, model, BatchPlan.__new__(BatchPlan), Counting([]), need="body")


def limit_tokens(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """A machine that runs out of memory above ``limit`` padded tokens, at the end of a pass."""
    real = forward

    def limited(body: Any, kind: Any, ids: Tensor, mask: Tensor, **options: Any) -> Any:
        result = real(body, kind, ids, mask, **options)
        if ids.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return result

    monkeypatch.setattr("probes.passes.loop.forward", limited)


class TestOutOfMemory:
    def test_the_batch_is_halved_and_counted_once(
        self, llama: Handle, plan: BatchPlan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = llama.load()
        tokens = Counting([])
        with monkeypatch.context() as patch:
            limit_tokens(patch, 60)
            done = run_passes(llama, body, plan, tokens, need="body")
        assert sum(tokens.sequences) == len(plan)
        assert done.sequences == len(plan) and done.rows == len(plan.alignment)
        assert done.batching[0] == (0, BUDGET)
        assert all(budget <= 60 for _, budget in done.batching[1:])
        assert [p.batching for p in tokens.settled] == [
            done.batching[: 2 + n] for n in range(len(done.batching) - 1)
        ]

    def test_memory_may_run_out_in_what_a_visitor_does_at_the_end(
        self, llama: Handle, plan: BatchPlan
    ) -> None:
        class Greedy(Counting):
            def end(self, batch: Batch, output: Output) -> None:
                if batch.input_ids.numel() > 60:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                super().end(batch, output)

        body = llama.load()
        visitor = Greedy(find_sites(body))
        run_passes(llama, body, plan, visitor)
        assert sum(visitor.sequences) == len(plan)

    def test_a_single_sequence_too_long_is_an_error(
        self, llama: Handle, plan: BatchPlan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit_tokens(monkeypatch, 5)
        with pytest.raises(UserError, match="memory runs out on a single sequence"):
            run_passes(llama, llama.load(), plan, Counting([]))

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (torch.OutOfMemoryError("x"), True),
            (MemoryError(), True),
            (RuntimeError("[enforce fail] CPUAllocator: can't allocate memory: 8 bytes"), True),
            (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
            (RuntimeError("MPS backend out of memory"), True),
            (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
            (ValueError("out of memory"), False),
        ],
    )
    def test_which_errors_mean_memory(self, error: Exception, expected: bool) -> None:
        assert is_out_of_memory(error) is expected


class TestResuming:
    def test_what_is_done_is_not_repeated(self, llama: Handle, plan: BatchPlan) -> None:
        """From each checkpoint of a run: what was seen before it and after make up the whole."""
        body = llama.load()
        sites = find_sites(body)
        whole = Counting(sites)
        run_passes(llama, body, plan, whole, checkpoint_seconds=0.0)
        marks = whole.marks
        assert [mark.sequences for mark in marks] == np.cumsum(whole.sequences).tolist()
        for mark in marks[:: len(marks) // 3]:
            rest = Counting(sites)
            done = run_passes(llama, body, plan, rest, progress=mark)
            assert done.sequences == len(plan) and done.rows == len(plan.alignment)
            # The batches are those of the undisturbed run.
            assert rest.sequences == whole.sequences[len(whole.sequences) - len(rest.sequences) :]
            assert mark.sequences + sum(rest.sequences) == len(plan)

    def test_shards_make_up_the_whole(self, llama: Handle, plan: BatchPlan) -> None:
        body = llama.load()
        sites = find_sites(body)
        whole = Counting(sites)
        run_passes(llama, body, plan, whole)
        parts = [Counting(sites) for _ in range(3)]
        rows = 0
        for index, part in enumerate(parts):
            shard = Shard(index, 3)
            done = run_passes(llama, body, plan, part, shard=shard)
            assert done.sequences == plan.range_of(shard)[1]
            rows += done.rows
        assert rows == len(plan.alignment)
        assert [n for part in parts for n in part.sequences] == whole.sequences
        for site in sites:
            total = sum(part.total[site] for part in parts)
            assert total == pytest.approx(whole.total[site], rel=1e-12)

    def test_several_passes_a_batch(self, llama: Handle, plan: BatchPlan) -> None:
        """The loop below: any work on a batch is halved, resumed and counted as passes are."""
        seen: list[tuple[int, int]] = []

        def work(batch: Batch) -> None:
            for number in range(2):
                if batch.count > 3:
                    raise MemoryError
                seen.append((batch.position, number))

        done = run_batches(plan, work, Keeper())
        assert done.sequences == len(plan)
        assert len(set(seen)) == len(seen) >= 2 * len(plan) / 3
        assert dataclasses.replace(done, batching=()) == Progress(len(plan), len(plan.alignment))
