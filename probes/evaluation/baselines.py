"""Baselines that use no language model: majority, word type, bag of words.

A head that is not better than these is no evidence about the language model. Each function returns
a predicted class for every row of the task (n,), learned from the training rows of a problem alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from probes.corpora.tasks import Task
from probes.training.problems import Problem

Predictions = npt.NDArray[np.int64]
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""``C`` of the bag-of-words model, chosen on the rows that choose."""


def majority(task: Task, problem: Problem) -> Predictions:
    """The most frequent class of the training rows (ties: the first), for every row."""
    return np.full(len(problem.labels), np.argmax(_counts(task, problem)), dtype=np.int64)


def lexical(task: Task, problem: Problem) -> Predictions:
    """The most frequent training class of each word type; the majority class for new types.

    It measures what the word tells without its context. Ties go to the more frequent class.
    """
    classes, counts = len(task.classes), _counts(task, problem)
    train = problem.train
    cells = task.types[train].astype(np.int64) * classes + problem.labels[train]
    seen, rows = np.unique(cells, return_counts=True)
    # Sorted by type, then rows, then overall frequency: each type's last entry is its class.
    order = np.lexsort((counts[seen % classes], rows, seen // classes))
    table = np.full(int(task.types.max()) + 1, np.argmax(counts), dtype=np.int64)
    table[seen[order] // classes] = seen[order] % classes
    return table[task.types]


def bag_of_words(task: Task, problem: Problem, texts: Sequence[str]) -> Predictions:
    """Logistic regression on the words of a text and its length.

    Words are case-folded and counted once; length enters as the logarithms of the numbers of words
    and of characters, standardised on training rows. The strength of the regularisation is chosen
    on the problem's ``select`` rows.

    texts: (n,) the text of each row.
    """
    # Imported where texts are probed only: scikit-learn takes a second.
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train, select = problem.train, problem.select
    # One-character words and punctuation count too: "?" marks a question.
    vectorizer = CountVectorizer(binary=True, token_pattern=r"\w+|[^\w\s]")
    vectorizer.fit([text for text, kept in zip(texts, train, strict=True) if kept])
    lengths = np.log1p([[len(text.split()), len(text)] for text in texts])  # (n, 2)
    scale = lengths[train].std(axis=0)
    lengths = (lengths - lengths[train].mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    features = hstack([vectorizer.transform(texts), csr_matrix(lengths)], format="csr")
    best, chosen = -1.0, majority(task, problem)
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(features[train], problem.labels[train])
        predicted = model.predict(features).astype(np.int64)
        right = (predicted == problem.labels)[select]
        score = float(right.mean()) if len(right) else 0.0
        if score > best:
            best, chosen = score, predicted
    return chosen


def _counts(task: Task, problem: Problem) -> npt.NDArray[np.int64]:
    """(C,) training rows of each class."""
    return np.bincount(problem.labels[problem.train], minlength=len(task.classes))
