"""Digests of corpora, to be compared with those in ``fingerprints.json``.

    python -m tests.corpora.fingerprints > tests/corpora/fingerprints.json

The same seed gives the same texts, labels, order and targets in every version: activation caches
and published results depend on it. Record anew only where a corpus is changed on purpose.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from probes.config import (
    CorpusConfig,
    FunctionVectorsConfig,
    GeneratedConfig,
    GrammarConfig,
    IOIConfig,
    MultipleChoiceConfig,
    RelationsConfig,
    TableConfig,
    TruthfulQAConfig,
)
from probes.corpora import load_corpus
from probes.corpora.corpus import Corpus
from probes.corpora.generated import generate, load
from probes.corpora.generated.kit.prompt import Prompt

OPTIONS: Mapping[str, list[dict[str, Any]]] = {
    "induction": [
        {},
        {"vocabulary": "invented"},
        {"symbols": 64, "cycle": 24, "length": 96, "vocabulary": "invented"},
        {"cycle": 2, "length": 8, "vocabulary": "invented"},
    ],
    "markov": [
        {},
        {"states": 4, "branching": 1, "successors": 2, "length": 12},
        {"vocabulary": "common"},
    ],
    "key_value": [{}, {"pairs": 2, "questions": 1}, {"spare": 3}, {"vocabulary": "common"}],
    "structure": [{}, {"length": 20, "marked": 4}],
    "subwords": [{}, {"words": 3}],
    "succession": [{}, {"shots": 0}, {"letters": 5, "numbers": 30}],
    "iteration": [{}, {"automaton": "permutation", "length": 6}, {"automaton": "modulo_3"}],
    "needle": [{}, {"questions": 3, "others": 4}, {"lengths": [40], "depths": [0, 100]}],
    "acronyms": [{}, {"words": 5}],
    "facts": [{}, {"hold_out": "template"}],
    "choices": [{}],
    "binary": [{}],
    "reviews": [{}],
    "moods": [{}, {"opposed": False}, {"people": 4, "scenes": 3}],
    "functions": [{}, {"demonstrations": 1}],
    "few_shot": [{}, {"shared": 1, "queries": 1}, {"labels": 10, "queries": 8}],
    "ioi": [{}, {"names": 2}, {"names": 6}],
    "coloured_objects": [{}, {"objects": 2}, {"questions": 5}],
    "word_relations": [{}],
    "consistency": [{}, {"wordings": 2}, {"wordings": 10}],
    "insertion": [{}],
    "faithfulness": [{}],
    "languages": [{}, {"people": 2}, {"fewest": 2, "replies": 3}],
}
"""Generated corpus -> options to try."""
SEEDS = (0, 3, 11)


def digest_of(*values: object) -> str:
    """Sixteen hex digits of some values."""
    return hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def prompt_digest(prompts: list[Prompt]) -> str:
    """Everything of prompts that a corpus or a simplified model is made of."""
    return digest_of(
        [
            (
                prompt.text,
                prompt.group,
                [(m.start, m.end, sorted(m.values.items()), m.level) for m in prompt.marks],
                sorted(prompt.values.items()),
                [(offset, word) for offset, word in prompt.targets],
                prompt.block,
            )
            for prompt in prompts
        ]
    )


def corpus_digest(corpus: Corpus) -> str:
    """Texts, labels, groups, splits, and what the user sees of the corpus."""
    described = [(name, feature.description) for name, feature in corpus.features.items()]
    return digest_of(
        corpus.fingerprint,
        corpus.text_fingerprint,
        corpus.default_features,
        described,
        corpus.notes,
        corpus.group_name,
    )


def generated_digests(name: str) -> dict[str, str]:
    """Case -> digest of one generated corpus."""
    digests = {}
    for options in OPTIONS[name]:
        for seed in SEEDS:
            config = GeneratedConfig(name=name, examples=40, seed=seed, options=options)
            if options.get("cycle") == 2:
                config.examples = 10
            case = " ".join([name, f"seed={seed}", *(f"{k}={v}" for k, v in options.items())])
            digests[f"{case} prompts"] = prompt_digest(list(islice(generate(config).prompts, 120)))
            digests[f"{case} corpus"] = corpus_digest(load(config))
    return digests


WORDS = [f"{a}{b}{c}" for a in "bdfgkl" for b in "aeiou" for c in "mnrst"]


def write_files(folder: Path) -> dict[str, CorpusConfig]:
    """Small files of the readers that have answers, and a config for each case."""

    def written(name: str, content: object) -> str:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    ioi = written(
        "ioi.json",
        [
            {"prompt": f"After {a} and {b} went to the {place}, {b} gave a fig to", "answer": a}
            for a, b in (("Ann", "Bo"), ("Cy", "Di"), ("Ed", "Flo"), ("Bo", "Cy"))
            for place in ("zoo", "bar")
        ]
        + [{"prompt": "The park Cy and Di went to had a pear. Di gave it to", "answer": "Cy"}],
    )
    sports = [("Ann", "golf"), ("Bo", "golf"), ("Cy", "polo"), ("Di", "polo"), ("Ed Fox", "chess")]
    mothers = [("Ann", "Zoe"), ("Flo", "Yva"), ("Flo", "Yva")]
    for name, templates, pairs in (
        ("sport", ["{} plays", "The sport of {} is"], sports),
        ("mother", ["{}'s mother is"], mothers),
    ):
        samples = [{"subject": subject, "object": answer} for subject, answer in pairs]
        written(f"lre/{name}.json", {"prompt_templates": templates, "samples": samples})
    functions: dict[str, Callable[[str], str]] = {
        "upper": str.upper,
        "first": lambda word: word[0],
        "twice": lambda word: f"{word} {word}",
    }
    for name, function in functions.items():
        pairs_of = [{"input": word, "output": function(word)} for word in WORDS]
        written(f"functions/{name}.json", pairs_of)
    questions = "question,choice0,choice1,choice2,answer\nTwo?,one,two,three or so,1\n"
    questions += '"Red, or?",red,"a, b",c,0\nWhere?,here,there,over there,C\n'
    truths = (
        "Question,Correct Answers,Incorrect Answers\n"
        '"Who, then?",Nobody; Not me ;Nobody,Everyone;All of us\nWhy?,Because,\nWhen?,,Never'
    )
    known = [
        {"prompt": f"{s} plays", "subject": s, "attribute": a, "relation_id": "P641"}
        for s, a in sports
    ] + [
        {"prompt": f"The mother of {s} is", "subject": s, "attribute": a, "relation_id": "P25"}
        for s, a in mothers
    ]
    pairs_file = written(
        "pairs.jsonl",
        "\n".join(
            json.dumps({"sentence_good": good, "sentence_bad": bad})
            for good, bad in (
                ("She sees herself.", "She sees himself."),
                ("They sleep.", "They does sleep."),
                ("Cats run.", "Cats runs."),
            )
        ),
    )
    return {
        "ioi_841": IOIConfig(path=ioi),
        "ioi_841 by names": IOIConfig(path=ioi, group="names"),
        "relations_lre": RelationsConfig(path=str(folder / "lre"), min_shared=2),
        "relations_lre at the subject": RelationsConfig(path=str(folder / "lre"), read="subject"),
        "function_vectors": FunctionVectorsConfig(
            path=str(folder / "functions"), outputs=["first"], output_examples=60
        ),
        "function_vectors other seed": FunctionVectorsConfig(
            path=str(folder / "functions"), seed=5, shots=0, examples=9
        ),
        "multiple_choice": MultipleChoiceConfig(path=written("sums.csv", questions)),
        "truthfulqa": TruthfulQAConfig(path=written("TruthfulQA.csv", truths)),
        "known": TableConfig(
            path=written("known.json", known),
            text="prompt",
            labels={"relation": "relation_id", "attribute": "attribute"},
            group="subject",
            level="answer",
        ),
        "pairs": TableConfig(
            path=pairs_file, pairs={"good": "sentence_good", "bad": "sentence_bad"}
        ),
        "grammar": GrammarConfig(sentences=200),
        "grammar other seed": GrammarConfig(sentences=100, seed=4),
    }


def reader_digests(folder: Path) -> dict[str, str]:
    """Case -> digest of one reader on small files. Groups may name the path of a file: write to the
    working directory."""
    return {
        case: corpus_digest(load_corpus(config)) for case, config in write_files(folder).items()
    }


if __name__ == "__main__":
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        digests = reader_digests(Path())
    for name in OPTIONS:
        digests |= generated_digests(name)
    print(json.dumps(digests, indent=0))
