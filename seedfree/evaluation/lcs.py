"""ROUGE-L and ROUGE-Lsum of words already cut, as rouge_score counts them and some fifty times as fast.

rouge_score fills a table of one cell for each pair of words in plain Python, which for long answers takes nearly all
the time of a scoring. Here a row of the table is one integer with a bit for each word of the candidate, set where the
length of the longest common subsequence grows (Hyyrö 2004, "Bit-Parallel LCS-length Computation Revisited"). A test
holds both to equal results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["rouge_l", "rouge_lsum"]

Lines = Sequence[Sequence[str]]


def rouge_l(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """F-measure of the longest common subsequence, 0 to 1."""
    if not candidate or not reference:
        return 0.0
    return _f(
        _table(reference, _places(candidate), len(candidate))[-1].bit_count(), candidate, reference
    )


def rouge_lsum(candidate: Lines, reference: Lines) -> float:
    """F-measure of the words in the union of each reference line's subsequences with the candidate's lines, 0 to 1."""
    all_candidate, all_reference = (
        [word for line in lines for word in line] for lines in (candidate, reference)
    )
    left = Counter(all_candidate) & Counter(all_reference)
    places = [_places(line) for line in candidate]
    hits = 0
    for line in reference:
        for i in sorted(
            {
                i
                for other, at in zip(candidate, places, strict=True)
                for i in _common(line, other, at)
            }
        ):
            if left[line[i]] > 0:
                left[line[i]] -= 1
                hits += 1
    return _f(hits, all_candidate, all_reference)


def _f(hits: int, candidate: Sequence[str], reference: Sequence[str]) -> float:
    return 2 * hits / (len(candidate) + len(reference)) if hits else 0.0


def _places(words: Sequence[str]) -> dict[str, int]:
    """Each word's places, as bits."""
    places: dict[str, int] = {}
    for i, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << i
    return places


def _table(reference: Sequence[str], places: dict[str, int], width: int) -> list[int]:
    """For 0, 1 ... words of the reference, the bits at which the common length with the candidate grows."""
    full = (1 << width) - 1
    flat, rows = full, [0]
    for word in reference:
        if found := flat & places.get(word, 0):
            flat = ((flat + found) | (flat - found)) & full
        rows.append(full ^ flat)
    return rows


def _common(
    reference: Sequence[str], candidate: Sequence[str], places: dict[str, int]
) -> list[int]:
    """Numbers of the reference's words in one longest common subsequence: the one that rouge_score finds."""
    rows = _table(reference, places, len(candidate))
    found = []
    i, j = len(reference), len(candidate)
    while i and j:
        if reference[i - 1] == candidate[j - 1]:
            i, j = i - 1, j - 1
            found.append(i)
        elif ((rows[i] ^ rows[i - 1]) & ((1 << j) - 1)).bit_count() % 2:
            # The reference's last word adds to the length, which is 0 or 1: an odd number of bits
            # differ.
            j -= 1
        else:
            i -= 1
    return found
