"""Which features suit a model, and what is said of those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.atlas.plan import AtlasPlan, LeftOut, by_reason, make_plan
from probes.config import AtlasConfig, ModelConfig, RunConfig
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.models.loading import open_model
from tests.tiny_checkpoints import make_tokenizer, write_checkpoint

CONTEXT = 512
"""Tokens that the models read, unless a test says otherwise."""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Handle:
    directory = write_checkpoint(
        tmp_path_factory.mktemp("decoder"), "llama_gqa", max_position_embeddings=CONTEXT
    )
    return open_model(ModelConfig(name=str(directory)))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Handle:
    directory = write_checkpoint(
        tmp_path_factory.mktemp("encoder"), "bert", max_position_embeddings=CONTEXT
    )
    return open_model(ModelConfig(name=str(directory)))


def plan_of(handle: Handle, **changes: object) -> AtlasPlan:
    atlas = AtlasConfig(**changes)  # type: ignore[arg-type]
    return make_plan(atlas, RunConfig(), handle)


def reasons(plan: AtlasPlan) -> dict[tuple[str, str], str]:
    return {(out.corpus, name): out.reason for out in plan.left_out for name in out.features}


def test_a_corpus_is_one_job_with_all_its_features(decoder: Handle) -> None:
    plan = plan_of(decoder, corpora=["facts", "subwords"], examples=600)
    jobs = {job.name: job for job in plan.jobs}
    assert set(jobs) == {"facts", "facts-hold_out-template", "subwords"}
    assert {"attribute", "continent", "category", "relation"} >= set(jobs["facts"].features)
    assert jobs["subwords"].config.position.word == "every_subword"
    assert jobs["facts"].config.position.word == "last_subword"
    assert jobs["facts-hold_out-template"].config.corpus.options["hold_out"] == "template"
    assert [e.name for e in jobs["facts"].entries_of("relation")] == ["relation_head"]


def test_few_groups_are_cross_validated(decoder: Handle) -> None:
    def folds(**changes: int) -> int:
        plan = plan_of(decoder, corpora=["iteration"], examples=100, **changes)
        return plan.jobs[0].config.split.folds

    # 15 of the 100 texts are tested, each a group of its own.
    assert [folds(few_groups=15), folds(few_groups=16), folds(few_groups=99, folds=0)] == [0, 5, 0]


def test_an_encoder_is_not_asked_what_comes_next(encoder: Handle) -> None:
    plan = plan_of(encoder, corpora=["binary", "succession"], examples=300)
    assert [job.features for job in plan.jobs] == [["truth"]]
    left = reasons(plan)
    assert set(left) == {
        ("binary", "answer_word"), ("succession", "successor"), ("succession", "modulo_10"),
    }  # fmt: skip
    assert all("needs a decoder" in reason for reason in left.values())


def test_texts_beyond_the_context_are_left_out_with_both_lengths(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path, "llama_gqa", max_position_embeddings=128)
    handle = open_model(ModelConfig(name=str(directory)))
    plan = plan_of(handle, corpora=["needle", "iteration"], examples=60)
    assert [job.name for job in plan.jobs] == ["iteration"]
    reason = reasons(plan)["needle", "needle"]
    assert "end of a text of up to" in reason and reason.endswith("the model reads 128")


def test_texts_of_unknown_words_are_left_out(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(style="word")
    handle = open_model(
        ModelConfig(
            name=str(
                write_checkpoint(tmp_path, tokenizer=tokenizer, max_position_embeddings=CONTEXT)
            )
        )
    )
    plan = plan_of(handle, corpora=["acronyms"], examples=60)
    assert plan.jobs == []
    assert "does not know" in reasons(plan)["acronyms", "answer"]


def test_features_with_too_few_rows_leave_the_others(decoder: Handle) -> None:
    plan = plan_of(decoder, corpora=["facts"], examples=100)
    left = reasons(plan)
    assert "too few examples" in left["facts", "category"]
    assert plan.jobs and "relation" in plan.jobs[0].features


@pytest.mark.parametrize(
    ("atlas", "base", "message"),
    [
        (AtlasConfig(corpora=["fact"]), RunConfig(), r"atlas\.corpora=\[fact\].*=\[facts\]"),
        (AtlasConfig(stages=["XY"]), RunConfig(), "KR, ICI, LR, EP"),
        (AtlasConfig(examples=0), RunConfig(), "atlas.examples=0; allowed: 1"),
        (AtlasConfig(corpora=["facts"], stages=["LR"]), RunConfig(), "no entry .* has both"),
        (AtlasConfig(), RunConfig(features=["upos"]), r"features=\[upos\]: the atlas takes"),
        (AtlasConfig(), RunConfig(methods=["ablation"]), "an atlas is of probes"),
        (AtlasConfig(), RunConfig(site="residual"), "site=residual: an atlas is about heads"),
        (AtlasConfig(), RunConfig(layers=[0]), r"layers=\[0\]: an atlas compares depths"),
    ],
)
def test_what_an_atlas_cannot_have(
    decoder: Handle, atlas: AtlasConfig, base: RunConfig, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(atlas, base, decoder)


def test_a_reason_is_said_once_with_all_that_it_keeps_out() -> None:
    left_out = [
        LeftOut("facts", ("subject", "capital"), ("mover",), "an encoder"),
        LeftOut("needle", ("needle",), ("retrieval",), "too short"),
        LeftOut("facts", ("subject",), ("mixed",), "an encoder"),
    ]
    assert by_reason(left_out) == {
        "an encoder": ["subject · facts", "capital · facts"],
        "too short": ["needle · needle"],
    }
