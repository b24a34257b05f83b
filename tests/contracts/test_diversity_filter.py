"""What every diversity filter promises the pipeline; one of them is a user's own."""

from dataclasses import dataclass

import numpy as np
import pytest

from seedfree.diversity.lexical import (
    CapDiversityFilter,
    ExactDiversityFilter,
    LexicalDiversityFilter,
)
from seedfree.diversity.semantic import SemanticDiversityFilter
from seedfree.protocols import DiversityFilter
from seedfree.records import Instruction, Selection, Source


@dataclass
class Letters:
    """An encoder that counts letters."""

    def encode(self, texts):
        counts = np.array(
            [[1e-3 + text.count(chr(code)) for code in range(97, 123)] for text in texts],
            np.float32,
        )
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@dataclass
class ExactDuplicates:
    """A user's own filter: the same answer again."""

    def select(self, items):
        first, duplicate_of = {}, []
        for number, item in enumerate(items):
            earlier = first.setdefault(item.output, number)
            duplicate_of.append(earlier if earlier < number else -1)
        duplicate_of = np.array(duplicate_of, np.int64)
        kept = np.flatnonzero(duplicate_of < 0)
        return Selection(kept, duplicate_of, np.where(duplicate_of < 0, np.nan, 1.0))


@pytest.fixture(
    params=[
        lambda: SemanticDiversityFilter(0.99, Letters()),
        lambda: SemanticDiversityFilter(0.99, Letters(), fields="paper", index="hnsw"),
        ExactDiversityFilter,
        LexicalDiversityFilter,
        lambda: LexicalDiversityFilter(0.5, "output", size=3),
        lambda: CapDiversityFilter(per_page=1),
        lambda: CapDiversityFilter(per_topic=1),
        ExactDuplicates,
    ],
    ids=[
        "semantic",
        "semantic hnsw",
        "exact",
        "lexical",
        "lexical output",
        "per page",
        "per topic",
        "a user's",
    ],
)
def make(request):
    return request.param


def rows(outputs):
    """A page and a topic for each output, so that a cap has the same to drop as the others."""
    return [
        Instruction(
            task="t",
            instruction="i",
            output=output,
            topic=output,
            source=Source("document", title=output),
        )
        for output in outputs
    ]


ROWS = rows(["zebra", "monsoon", "zebra", "lantern", "orchid", "monsoon", "zebra", "quick fox"])


def test_it_fills_the_contract(make):
    assert isinstance(make(), DiversityFilter)


def test_kept_and_dropped_make_up_all_rows(make):
    selection = make().select(ROWS)
    assert np.asarray(selection.kept).tolist() == [0, 1, 3, 4, 7]
    assert np.asarray(selection.duplicate_of).tolist() == [-1, -1, 0, -1, -1, 1, 0, -1]
    assert np.isnan(selection.similarity[selection.kept]).all()
    dropped = np.delete(selection.similarity, selection.kept)
    assert np.isnan(dropped).all() if selection.reasons else np.isfinite(dropped).all()
    assert selection.ratio == 5 / 8


def test_a_row_is_a_duplicate_of_an_earlier_kept_row(make):
    selection = make().select(ROWS)
    for number, kept in enumerate(selection.duplicate_of):
        assert kept < number
        assert kept == -1 or kept in selection.kept


def test_later_rows_do_not_change_the_fate_of_earlier_ones(make):
    whole, growing = make().select(ROWS), make()
    for n in range(len(ROWS) + 1):
        for part in (make().select(ROWS[:n]), growing.select(ROWS[:n])):
            np.testing.assert_array_equal(part.duplicate_of, whole.duplicate_of[:n])


def test_no_rows(make):
    selection = make().select([])
    assert len(selection.kept) == len(selection.duplicate_of) == len(selection.similarity) == 0
