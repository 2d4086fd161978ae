"""A visitor of your own: how long are the output vectors of every head, on average?

    python examples/head_norms.py sshleifer/tiny-gpt2

The loop over the corpus (batches, memory, progress) is the one that extraction uses; the visitor
says what is done at the sites. Nothing is stored.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from probes.config import GrammarConfig, ModelConfig, PositionConfig
from probes.corpora import load_corpus
from probes.models.loading import open_model
from probes.models.sites import Site, find_sites
from probes.models.verification import verify_sites
from probes.passes.alignment import align
from probes.passes.batches import Batch, BatchPlan
from probes.passes.loop import run_passes
from probes.passes.visitor import Output, Visitor


class NormVisitor(Visitor):
    """Sums of the norms of each head's output; edits nothing."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        self.totals = {site: torch.zeros(site.units) for site in sites}
        self.tokens = 0

    def begin(self, batch: Batch) -> None:
        """Keep which tokens are real; drop what a failed attempt at this batch left."""
        self.real = torch.as_tensor(batch.attention_mask).bool()  # (B, T)
        self.norms: dict[Site, Tensor] = {}

    def visit(self, site: Site, z: Tensor) -> None:
        """Norms of ``z`` (B, T, H, D) over the real tokens."""
        norms = z.float().norm(dim=-1)  # (B, T, H)
        self.norms[site] = norms[self.real.to(z.device)].sum(dim=0).cpu()  # (H,)

    def end(self, batch: Batch, output: Output) -> None:
        """Add up here: no batch reaches this twice."""
        for site, norms in self.norms.items():
            self.totals[site] += norms
        self.tokens += int(self.real.sum())


def main(name: str) -> dict[int, Tensor]:
    """Mean norms of the heads of each layer, over the tokens of 50 sentences."""
    handle = open_model(ModelConfig(name=name))
    body = handle.load()
    sites = find_sites(body)
    verify_sites(body, sites)  # proves on a tiny pass that these are the heads
    alignment = align(load_corpus(GrammarConfig(sentences=50)), handle, PositionConfig())
    visitor = NormVisitor(sites)
    run_passes(handle, body, BatchPlan(alignment, tokens_per_batch=2048), visitor)
    return {site.layer: total / visitor.tokens for site, total in visitor.totals.items()}


if __name__ == "__main__":
    for layer, norms in main(sys.argv[1]).items():
        print(f"layer {layer}:", " ".join(f"{norm:.2f}" for norm in norms))
