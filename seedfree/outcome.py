"""What became of a run: the rows that it dropped, what it took, how varied its rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedfree._views import Shown, Table, View
from seedfree.dataset import from_row, to_row
from seedfree.records import Instruction

__all__ = ["Dropped", "Stats", "Variety", "code", "dropped_row", "from_dropped_row"]

# What a dropped row has beside the keys of a kept one.
_WHY = ("reason", "duplicate_of", "similarity", "repaired_by")


@dataclass(frozen=True)
class Dropped(Instruction):
    """A row that was dropped, and why.

    Attributes:
        reason: The filter's word, a colon, what it found; details in brackets.
        duplicate_of: Id of the row that it resembles most, of those that this diversity filter
            kept.
        similarity: Of the two, in the diversity filter's measure (a cosine, -1 to 1, for the
            semantic one); `None` where it measures none.
        repaired_by: Id of the row that was asked for in its place and passed the filters.
    """

    reason: str = ""
    duplicate_of: str | None = None
    similarity: float | None = None
    repaired_by: str | None = None

    @classmethod
    def of(
        cls,
        item: Instruction,
        reason: str,
        duplicate_of: str | None = None,
        similarity: float | None = None,
        repaired_by: str | None = None,
    ) -> Dropped:
        """Makes a dropped row of a row that is known to be valid, without checking it again."""
        dropped = object.__new__(cls)
        why = dict(zip(_WHY, (reason, duplicate_of, similarity, repaired_by), strict=True))
        dropped.__dict__.update(vars(item), **why)
        return dropped


@dataclass(frozen=True)
class Stats:
    """What a run took.

    Requests, tokens and price count every reply that the ledger holds, whenever it was paid for,
    and failures that were billed.

    Attributes:
        rows: Published rows.
        requests_read: Those whose replies the last process read. The ledger may hold more, of a
            larger run in its folder.
        topics, topics_left: Topics that were used, and those that were made besides.
        jobs: Prompts of tasks that were answered.
        price_usd: `None` where the price of a model is not known.
        drops: Dropped rows by reason, without the details in brackets.
        checks: By rule, how often a row was doubted (`raised`), and how many of these doubts the
            LLM did not settle (`upheld`) and settled (`overturned`).
        stages: By stage, pieces of work `asked`, `got` and `lost` (by reason), and the requests,
            tokens and `usd` that the ledger holds of it. `reused`: those of other runs.
        models: By model, requests, tokens and `usd`.
        retries, seconds: Of the last process that worked on it.
    """

    rows: int = 0
    requests: int = 0
    requests_read: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    price_usd: float | None = None
    topics: int = 0
    topics_left: int = 0
    contexts: int = 0
    jobs: int = 0
    retries: int = 0
    seconds: float = 0.0
    drops: Mapping[str, int] = field(default_factory=dict)
    checks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def rows_per_second(self) -> float:
        """Returns the published rows over the seconds of the last process."""
        return self.rows / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, repr=False)
class Variety(Shown):
    """Shares lie between 0 and 1.

    Attributes:
        rows: Rows that it was measured on.
        openings: Different openings (the first 12 characters of an instruction) by rows.
        commonest_opening: The opening that most rows have, and their share.
        question_marks: Share of instructions with a question mark.
        introductions: Share of instructions in which users introduce themselves.
        lengths: By task, the share of answers in each band of characters.
        length_targets: The shares that the language's file wants.
        facets: By facet, how often each value was drawn: forms of requests, labels, kinds of work.
        cells: Different cells of the topics' facets.
        largest_cell: Share of the rows in the cell that has most.
        duplicates: Rows dropped as near-duplicates, by rows.
        repeated: By n (2 and 3), share of the n-grams of words in the outputs that occur before.
            Empty where the language's segmenter is not installed.
        monotonous: What lacks variety, a line each.
    """

    rows: int
    openings: float
    commonest_opening: tuple[str, float]
    question_marks: float
    introductions: float
    lengths: Mapping[str, Mapping[str, float]]
    length_targets: Mapping[str, float]
    facets: Mapping[str, Mapping[str, int]]
    cells: int
    largest_cell: float
    duplicates: float
    repeated: Mapping[int, float]
    monotonous: Sequence[str]

    def _view(self, full: bool) -> View:
        opening, share = self.commonest_opening
        repeated = ", ".join(f"{part:.0%} of {n} in a row" for n, part in self.repeated.items())
        facts = {
            "openings": f"{self.openings:.0%} are different; {share:.0%} begin {opening!r}",
            "questions": f"{self.question_marks:.0%} of the instructions have a question mark",
            "introductions": f"in {self.introductions:.0%} of them users introduce themselves",
            "topics": f"{self.cells:,} cells of the facets; {self.largest_cell:.0%} are of one",
            "near-duplicates": f"{self.duplicates:.0%} as many rows were dropped as were kept",
            "repeated words": repeated or "not counted",
        }
        notes = [f"monotonous: {line}" for line in self.monotonous]
        if not full:
            return View(f"Variety({self.rows:,} rows)", facts, notes=notes[:3])
        wanted = {"wanted": self.length_targets} if self.length_targets else {}
        names = list(next(iter([*self.lengths.values(), self.length_targets])))
        lines = [["length of the answers", *names]]
        for name, bands in {**self.lengths, **wanted}.items():
            lines.append([name, *(f"{bands.get(band, 0):.0%}" for band in names)])
        return View(f"Variety({self.rows:,} rows)", facts, [Table(lines)], notes)


def code(reason: str) -> str:
    """Returns the part of a reason by which drops are counted: without the details in brackets."""
    return reason.partition(" (")[0]


def dropped_row(dropped: Dropped) -> dict[str, Any]:
    """Returns the published form of a dropped row: that of a row, then why it was dropped."""
    why = {name: getattr(dropped, name) for name in _WHY}
    return {**to_row(dropped), **why}


def from_dropped_row(data: dict[str, Any]) -> Dropped:
    """Reads what `dropped_row` made. Raises what `from_row` raises."""
    extra = {name: data.pop(name, None) for name in _WHY}
    kept = from_row(data)
    return Dropped(
        **{name: getattr(kept, name) for name in Instruction.__dataclass_fields__}, **extra
    )
