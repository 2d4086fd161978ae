"""What one shard does of a run after its extraction, and what it leaves."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from probes.core.files import sync_tree
from probes.evaluation.evaluate import Evaluator
from probes.pipeline.effect_share import EffectShare
from probes.pipeline.effect_store import effect_file, effect_store
from probes.pipeline.methods import MethodsOfRun
from probes.pipeline.part_store import PartStore
from probes.pipeline.shard_fits import fit_shard
from probes.pipeline.sharded_fits import ShardRecord, write_shard_record
from probes.pipeline.work import Work
from probes.training.problems import ActivationSource

log = logging.getLogger(__name__)


def do_shard(
    work: Work,
    sources: Sequence[ActivationSource],
    evaluator: Evaluator,
    store: PartStore,
    methods: MethodsOfRun,
) -> None:
    """Fit and edit the parts of this process, and say in ``shard.json`` that they are done.

    Raises:
        UserError: whatever cannot be fitted or edited.
    """
    prepared, shard = work.prepared, work.prepared.shard
    own, plan = fit_shard(prepared, sources, evaluator, store)
    share = EffectShare(shard)
    methods.parts = effect_store(prepared, work.handle, store.run_dir, store.identity, share=share)
    methods.edit()
    own += [effect_file(part) for part in share.own]
    plan += [effect_file(part) for part in share.plan]
    sync_tree(store.run_dir)
    record = ShardRecord(shard.index, shard.count, dict(store.identity), own, plan)
    write_shard_record(record, store.run_dir)
    log.info(
        "shard %d of %d is done, %d of %d parts; when all are: headprobes merge %s",
        shard.index, shard.count, len(own), len(plan), store.run_dir.parent,
    )  # fmt: skip
