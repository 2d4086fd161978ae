"""Exact mean ablation of every head, in plain passes of the same batches.

    python -m benchmarks.effects [--quick] [--model smollm2] [--prompts 100] [--step 5]
        [--cache DIR] [--no-peers | --peers-one-head]

A *plain pass* runs the same padded batches through body and head, with logits at the last token
only and no hooks. Passes of heads side by side, and plain ones, are measured in turns, layer after
layer, so that a busy machine slows both. ``hook_loop`` is how it is done without restarting: a
whole pass a head, with one hook.

nnsight and TransformerLens (``effects_peers``) run in the same turns, where they are installed:
several heads side by side in each of their passes, too, or with --peers-one-head one head in each,
as their tutorials do it.

JSON lines: "layer", "heads", "plain_passes_a_head", "hook_loop" (the same for one head); the last
line of a contestant has the mean over layers: of all heads of the model where all layers are
measured. Of a peer also "gap", the largest difference of a score from ours relative to the largest
score, and in the last line "ours_to_it", our time over its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks import effects_peers
from benchmarks.extract_peers import missing
from benchmarks.lines import report
from probes.config import GeneratedConfig, ModelConfig, SplitConfig
from probes.corpora import load_corpus
from probes.corpora.splits import assign_splits
from probes.interventions.ablation import training_means
from probes.interventions.behaviour import answering
from probes.interventions.editor import Editor
from probes.interventions.measures import MEASURES
from probes.interventions.replacements import Places
from probes.models.hooks import hooked
from probes.models.loading import open_model
from probes.models.sites import Site
from probes.passes.batches import BatchPlan
from probes.passes.loop import run_batches
from probes.passes.visitor import Keeper


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few prompts of a toy model")
    parser.add_argument("--model", default="smollm2", help="name, directory or GGUF file")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--step", type=int, default=1, help="every how many layers are measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true", help="without other libraries")
    parser.add_argument("--peers-one-head", action="store_true", help="in each of their passes")
    parser.add_argument("--cache", type=Path, help="where a GGUF file is unpacked")
    given = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        measure(given, given.cache or Path(folder))


def measure(given: argparse.Namespace, cache: Path) -> None:
    """Report each layer, then all of them."""
    count = 12 if given.quick else given.prompts
    config = GeneratedConfig(name="ioi", examples=4 * count)
    corpus = assign_splits(load_corpus(config), SplitConfig())
    handle = open_model(ModelConfig(name=given.model), cache_dir=cache)
    editor = Editor.open(
        handle, head=True, layers=None, whole_layers=False, tokens_per_batch=4096,
        memory_budget=1 << 30, progress=False,
    )  # fmt: skip
    behaviour = answering(
        corpus, handle, MEASURES["logit_difference"], None, SplitConfig(), name="answer"
    )
    texts = behaviour.texts.take(behaviour.parts[0].scored)
    edit = training_means(editor, behaviour.texts.take(behaviour.parts[0].train), Places())
    readout, plan = editor.readout(texts, behaviour.measure), editor.plan(texts)

    def plain() -> None:
        run_batches(plan, readout_of(readout), Keeper())

    def loop(site: Site, head: int) -> None:
        def put(_: Site, z: Tensor) -> Tensor:
            z = z.clone()
            z[:, 1:, head] = edit.of_site[site][head]
            return z

        with hooked(editor.body, [site], put):
            plain()

    plain()
    peers: dict[str, effects_peers.Logits] = {}
    at_once = 1 if given.peers_one_head else editor.tokens_per_batch
    job = effects_peers.Job(editor, readout, edit.of_site, at_once)
    for name, prepare in ({} if given.no_peers else effects_peers.LIBRARIES).items():
        if reason := missing(name):
            report("effects", "ioi", name, missing=reason)
            continue
        try:
            peers[name] = prepare(job)
            job.run(plan, editor.sites[0], peers[name])  # warm, and found to run
        except Exception as error:
            report("effects", "ioi", name, failed=f"{type(error).__name__}: {error}")
            peers.pop(name, None)
    of_peers: dict[str, list[float]] = {name: [] for name in peers}
    shares, loops = [], []
    for site in editor.sites[:: given.step]:
        heads = [(site, head) for head in range(site.units)]
        exact = editor.exact(readout, heads)
        exact.direct = None
        run = _once(exact.run, plan, {"mean": edit})
        expected = exact.run(plan, {"mean": edit})["mean"].edited
        size = float(expected.abs().max())
        gaps = {
            name: float((job.run(plan, site, peer) - expected).abs().max()) / size
            for name, peer in peers.items()
        }
        others = [_peer(job, plan, site, peer) for peer in peers.values()]
        timed = [
            [_seconds(one) for one in (plain, run, lambda s=site: loop(s, 0), *others, plain)]
            for _ in range(1 if given.quick else given.repeats)
        ]
        # The clean run that is kept is shared by all layers of a run: one plain pass less here.
        bare = median((turn[0] + turn[-1]) / 2 for turn in timed)
        shares.append((median(t[1] for t in timed) - bare) / bare / len(heads))
        loops.append(median(t[2] for t in timed) / bare)
        report(
            "effects", "ioi", "headprobes", layer=site.layer, heads=len(heads),
            plain_passes_a_head=round(shares[-1], 4), hook_loop=round(loops[-1], 4),
        )  # fmt: skip
        for place, name in enumerate(peers, start=3):
            of_peers[name].append(median(t[place] for t in timed) / bare / len(heads))
            report(
                "effects", "ioi", name, layer=site.layer, heads=len(heads),
                plain_passes_a_head=round(of_peers[name][-1], 4), gap=float(f"{gaps[name]:.2g}"),
            )  # fmt: skip
    for name, own in of_peers.items():
        report(
            "effects", "ioi", name, layers=len(own), plain_passes_a_head=round(mean(own), 4),
            ours_to_it=round(mean(shares) / mean(own), 4),
        )  # fmt: skip
    report(
        "effects", "ioi", "headprobes", layers=len(shares), prompts=len(texts),
        threads=torch.get_num_threads(), plain_passes_a_head=round(sum(shares) / len(shares), 4),
        hook_loop=round(sum(loops) / len(loops), 4), restarted=editor.restart.possible,
    )  # fmt: skip


def readout_of(readout: Callable[..., Tensor]) -> Callable[..., None]:
    def run(batch: object) -> None:
        readout(batch)

    return run


def _once(run: Callable[..., object], plan: BatchPlan, edits: object) -> Callable[[], None]:
    def go() -> None:
        run(plan, edits)

    return go


def _peer(
    job: effects_peers.Job, plan: BatchPlan, site: Site, peer: effects_peers.Logits
) -> Callable[[], None]:
    def go() -> None:
        job.run(plan, site, peer)

    return go


def _seconds(run: Callable[[], None]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
