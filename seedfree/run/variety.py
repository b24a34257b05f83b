"""How varied the rows of a run are, beside what the language's file wants."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from seedfree._seeds import seeded
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.outcome import Variety
from seedfree.records import Instruction
from seedfree.text import squeeze

__all__ = ["variety"]

# Characters of an opening, white space aside: two or three words.
_OPENING = 12
# Upper ends of the bands of answer lengths, in characters. The language's file says their shares.
_BANDS = (200, 700, 1500)
_BAND_NAMES = ("to 200", "to 700", "to 1,500", "over")
_QUESTION_MARKS = "?？؟;፧"
# Rows whose words are counted. More change a share of repeated words little, and cost time.
_WORDS_OF = 200
# Fewer rows, of a run or of a task, say too little.
_ENOUGH = 20
_MOST_OPENING, _MOST_INTRODUCED, _MOST_BAND, _LEAST_QUESTIONS = 0.1, 0.1, 0.6, 0.2
# No cell of the facets should hold more than this share of a large run.
_MOST_CELL, _LARGE = 0.03, 1000


def variety(
    rows: Sequence[Instruction],
    language: Language,
    drops: Mapping[str, int] | None = None,
    *,
    words: bool = True,
) -> Variety:
    """Measures how varied rows are.

    Args:
        drops: Dropped rows of the run by reason.
        words: Whether texts are cut into words to count the repeated ones, which takes longest.
    """
    n = len(rows) or 1
    openings = Counter(squeeze(row.instruction)[:_OPENING] for row in rows)
    opening, times = openings.most_common(1)[0] if openings else ("", 0)
    asked = sum(any(mark in row.instruction for mark in _QUESTION_MARKS) for row in rows)
    introduced = sum(_introduces(row.instruction, language) for row in rows)
    facets: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for name, value in row.facets.items():
            facets[name][value] += 1
    cells = facets.pop("cell", Counter())
    shares = [each.share / 100 for each in language.shares("answer_lengths")]
    duplicates = sum(times for why, times in (drops or {}).items() if why.startswith("diversity: "))
    lengths = {task: _bands(answers) for task, answers in _answers(rows).items()}
    figures = Variety(
        rows=len(rows),
        openings=len(openings) / n,
        commonest_opening=(opening, times / n),
        question_marks=asked / n,
        introductions=introduced / n,
        lengths=lengths,
        length_targets=dict(zip(_BAND_NAMES, shares, strict=False)),
        facets={name: dict(counts.most_common()) for name, counts in sorted(facets.items())},
        cells=len(cells),
        largest_cell=max(cells.values(), default=0) / n,
        duplicates=duplicates / n,
        repeated=_repeated(rows, language) if words else {},
        monotonous=[],
    )
    object.__setattr__(figures, "monotonous", list(_monotonous(figures, rows)))
    return figures


def _introduces(text: str, language: Language) -> bool:
    return squeeze(text).startswith(tuple(map(squeeze, language.introductions)) or ("\0",))


def _answers(rows: Iterable[Instruction]) -> dict[str, list[str]]:
    answers: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        answers[row.task] += row.answers
    return dict(sorted(answers.items()))


def _bands(answers: Sequence[str]) -> dict[str, float]:
    counts = Counter(sum(len(answer) > end for end in _BANDS) for answer in answers)
    return {name: counts[i] / len(answers) for i, name in enumerate(_BAND_NAMES)}


def _repeated(rows: Sequence[Instruction], language: Language) -> dict[int, float]:
    drawn = seeded("variety").sample(range(len(rows)), min(len(rows), _WORDS_OF))
    try:
        texts = [language.segment(rows[i].output) for i in sorted(drawn)]
    except ConfigError:
        return {}
    return {n: _share_repeated(texts, n) for n in (2, 3)}


def _share_repeated(texts: Iterable[Sequence[str]], n: int) -> float:
    grams = Counter(gram for words in texts for gram in _grams(words, n))
    return 1 - len(grams) / grams.total() if grams else 0.0


def _grams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(islice(words, start, None) for start in range(n)), strict=False)


def _monotonous(figures: Variety, rows: Sequence[Instruction]) -> Iterator[str]:
    if figures.rows < _ENOUGH:
        return
    opening, share = figures.commonest_opening
    if share > _MOST_OPENING:
        yield f'{share:.0%} of the instructions begin with "{opening}"'
    if figures.question_marks < _LEAST_QUESTIONS:
        yield f"{figures.question_marks:.0%} of the instructions have a question mark"
    if figures.introductions > _MOST_INTRODUCED:
        yield f"in {figures.introductions:.0%} of the instructions users introduce themselves"
    answers = Counter(row.task for row in rows)
    for task, bands in figures.lengths.items():
        name = max(bands, key=lambda band: bands[band])
        if answers[task] >= _ENOUGH and bands[name] > _MOST_BAND:
            yield f"{bands[name]:.0%} of the answers of {task} have one length ({name} characters)"
    if figures.rows >= _LARGE and figures.largest_cell > _MOST_CELL:
        yield f"{figures.largest_cell:.0%} of the rows are about one cell of the facets"
