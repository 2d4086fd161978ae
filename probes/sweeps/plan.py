"""What a sweep will do: its jobs, which of them are done, and who shares activations with whom.

Nothing here needs torch, so a sweep of which nothing is missing ends in seconds.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, open_dict

from probes.config import ComposedConfig, RunConfig
from probes.config.checks import check
from probes.core.claims import in_use
from probes.core.errors import ERROR_FILE, UserError
from probes.core.version import __version__
from probes.corpora.corpus import Corpus
from probes.pipeline.identity import gives_the_results_of, job_identity
from probes.pipeline.prepare import PreparedRun, prepare
from probes.results.record import IDENTITY_FILE, RECORD, RunRecord, intact, is_finished, read_record

log = logging.getLogger(__name__)

State = Literal["finished", "missing", "failed", "refused", "in use", "twin"]
"""finished before; not begun; begun and to be run again; wrong settings, which the job will say;
another process is at work on it; or the same as an earlier job of this sweep."""


@dataclass(frozen=True)
class CorpusSize:
    """How much a job reads."""

    name: str
    texts: int
    units: int
    characters: int
    text_fingerprint: str
    """Of what a model reads: texts and units."""
    replies: tuple[int, ...] = field(repr=False)
    """Where in each text the reply begins, which a chat template needs."""

    @classmethod
    def of(cls, corpus: Corpus) -> CorpusSize:
        """Of a corpus that was read."""
        characters = sum(map(len, corpus.texts))
        units = len(corpus.units)
        texts = len(corpus.texts)
        return cls(corpus.name, texts, units, characters, corpus.text_fingerprint, corpus.replies)


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep, before it is run."""

    number: int
    """From 0, in the order of the command."""
    overrides: tuple[str, ...]
    """As Hydra's sweeper gives them."""
    state: State
    directory: Path
    config: RunConfig | None = None
    """None for an atlas, and where the settings are wrong."""
    corpus: CorpusSize | None = None
    identity: str = ""
    reason: str = ""
    """Of a job that is refused or failed before."""
    record: RunRecord | None = None
    """Of a job that is finished."""
    title: str = ""
    """The overrides that tell it from the others."""

    @property
    def to_run(self) -> bool:
        """Whether it is not done."""
        return self.state in ("missing", "failed", "refused")


@dataclass(frozen=True)
class _Composed:
    """A job whose settings are known and right; its corpus was not read yet."""

    number: int
    overrides: tuple[str, ...]
    subdir: str
    config: RunConfig | None
    """None for an atlas."""


@dataclass
class Planner:
    """Plans the jobs of one sweep, in one call or several (a search asks for a few at a time)."""

    directory: Path
    """Of the sweep."""
    named: bool
    """Whether jobs are named by their identity, and not by their number."""
    compose: Callable[[Sequence[str], int], DictConfig]
    """The configuration of a job from its overrides and its number, with its ``hydra`` node."""
    parse: Callable[[DictConfig], ComposedConfig]
    """Plain dataclasses of it."""
    fixed: Container[str] = ()
    """Keys that the command sets to one value for all jobs."""
    _begun: dict[str, Path] | None = None
    _records: dict[Path, RunRecord] = field(default_factory=dict)
    _taken: dict[str, PlannedJob] = field(default_factory=dict)

    def plan(self, overrides: Sequence[Sequence[str]], first: int = 0) -> list[PlannedJob]:
        """The jobs in their order, each with its directory and state.

        first: the number of the first of them.
        """
        if self._begun is None:
            self._begun = dict(self._identities())
        jobs: dict[int, PlannedJob] = {}
        by_corpus: dict[str, list[_Composed]] = {}
        for number, of_job in enumerate(overrides, start=first):
            try:
                composed = self._composed(number, tuple(of_job))
            except UserError as error:
                jobs[number] = self._refused(number, of_job, error)
                continue
            if composed.config is None:
                directory = self.directory / composed.subdir
                jobs[number] = PlannedJob(number, tuple(of_job), "missing", directory)
            else:
                key = repr((composed.config.corpus, composed.config.split))
                by_corpus.setdefault(key, []).append(composed)
        for members in by_corpus.values():  # each corpus is read once, and one at a time is kept
            corpus: Corpus | None = None
            for composed in members:
                assert composed.config is not None
                try:
                    prepared = prepare(composed.config, corpus=corpus, tell=False)
                    corpus = prepared.corpus
                    job = self._job(composed, prepared)
                except UserError as error:
                    job = self._refused(composed.number, composed.overrides, error)
                jobs[composed.number] = job
        return [self._titled(jobs[number]) for number in sorted(jobs)]

    def _titled(self, job: PlannedJob) -> PlannedJob:
        own = [given for given in job.overrides if key_of(given) not in self.fixed]
        return replace(job, title=" ".join(own) or "no overrides")

    def _refused(self, number: int, overrides: Sequence[str], error: UserError) -> PlannedJob:
        return PlannedJob(
            number, tuple(overrides), "refused", self.directory / str(number), reason=str(error)
        )

    def _composed(self, number: int, overrides: tuple[str, ...]) -> _Composed:
        config = self.compose(overrides, number)
        subdir = str(config.hydra.sweep.subdir)
        with open_dict(config):
            del config["hydra"]
        composed = self.parse(config)
        if composed.atlas is not None:
            return _Composed(number, overrides, subdir, None)
        base = composed.run_config()
        check(base)
        return _Composed(number, overrides, subdir, base)

    def _job(self, composed: _Composed, prepared: PreparedRun) -> PlannedJob:
        identity = job_identity(prepared.config, prepared.corpus)
        job = PlannedJob(
            composed.number,
            composed.overrides,
            "missing",
            self.directory / composed.subdir,
            config=prepared.config,
            corpus=CorpusSize.of(prepared.corpus),
            identity=identity,
        )
        if identity in self._taken:
            return replace(job, state="twin", directory=self._taken[identity].directory)
        is_number = composed.subdir == str(composed.number)
        self._taken[identity] = job = self._placed(job, prepared, is_number=is_number)
        return job

    def _placed(self, job: PlannedJob, prepared: PreparedRun, *, is_number: bool) -> PlannedJob:
        """The job with its directory: where it was begun before, else one of its own."""
        assert self._begun is not None
        directory = self._begun.get(job.identity) or self._of_earlier_version(prepared)
        if directory is None and is_number:
            # A number says nothing of a job: it may be that of another, of an earlier command.
            by_identity = self.named or job.directory in self._begun.values()
            directory = self.directory / job.identity if by_identity else None
        job = replace(job, directory=directory or job.directory)
        busy = in_use(job.directory)  # before the record, which may be written meanwhile
        record = self._record(job.directory)
        if record is not None:
            return replace(job, state="finished", record=record)
        if busy:
            return replace(job, state="in use")
        error = job.directory / ERROR_FILE
        if error.is_file() or (job.directory / ".hydra").is_dir():
            return replace(job, state="failed", reason="failed" if error.is_file() else "stopped")
        return job

    def _identities(self) -> Iterable[tuple[str, Path]]:
        """Of the jobs that were begun in this sweep."""
        for path in sorted(self.directory.glob(f"*/.hydra/{IDENTITY_FILE}")):
            # Another process with the same sweep removes the directories of its extractions.
            with contextlib.suppress(FileNotFoundError):
                yield path.read_text(encoding="utf-8", errors="replace").strip(), path.parent.parent

    def _record(self, directory: Path) -> RunRecord | None:
        """Of a finished job whose files are as they were written; None for any other."""
        if directory in self._records:
            return self._records[directory]
        if not is_finished(directory):
            return None
        try:
            record = read_record(directory / RECORD)
            intact(directory, record)
        except UserError as error:
            log.warning("%s", error.wrong)
            return None
        self._records[directory] = record
        return record

    def _of_earlier_version(self, prepared: PreparedRun) -> Path | None:
        """The directory of a finished job that was recorded before jobs had an identity."""
        for path in sorted(self.directory.glob(f"*/{RECORD}")):
            record = self._record(path.parent)
            if record is None or record.identity or record.version == __version__:
                continue
            same_texts = record.corpus.fingerprint == prepared.corpus.fingerprint
            if same_texts and gives_the_results_of(record, prepared.config):
                return path.parent
        return None


def swept_values(jobs: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """The values of each key that differs between the overrides of jobs.

    >>> swept_values([("seed=1", "min_count=2"), ("seed=2", "min_count=2")])
    {'seed': ['1', '2']}
    """
    values: dict[str, dict[str, None]] = {}
    for overrides in jobs:
        for given in overrides:
            values.setdefault(key_of(given), {})[given.partition("=")[2]] = None
    return {key: list(of_key) for key, of_key in values.items() if len(of_key) > 1}


def key_of(given: str) -> str:
    """The key of an override.

    >>> key_of("+model.name=gpt2")
    'model.name'
    """
    return given.partition("=")[0].lstrip("+~")
