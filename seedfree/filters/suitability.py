"""Whether an encoder is of use: it knows the language, tells texts apart, and gives unit vectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree.errors import EncoderError, SeedfreeError
from seedfree.filters.vectors import Floats, Ints, Singles
from seedfree.languages import Language
from seedfree.records import seeded

__all__ = ["ALTERNATIVES", "judge_tokens", "judge_vectors", "phrases", "unit_rows"]

_UNKNOWN = 0.05
_SAMPLE = 200  # Texts and pairs that an encoder is judged by.
_PAIRS = 20  # Fewer pairs are no evidence.
_ABOVE = 0.2  # Share of unrelated pairs above the threshold at which an encoder is of no use.
_WORDING = 0.3  # Share of character trigrams in common from which two texts count as related.

ALTERNATIVES = {
    "BGEM3Encoder": "sf.BGEM3Encoder() for over 100 languages",
    "SentenceTransformerEncoder": "sf.SentenceTransformerEncoder('sentence-transformers/LaBSE') for 109 languages",
    "USEEncoder": "sf.USEEncoder() for Thai, Turkish and 14 others, without a download",
}


def unit_rows(encoder: Any, texts: list[str], dimensions: int = 0) -> Singles:
    """What the encoder makes of texts, shape [n, d].

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
        wanted = f"[{len(texts)}, {d or 'd'}]"
        raise _unusable(
            encoder, f"returned shape {list(vectors.shape)} for {len(texts)} texts, not {wanted}"
        )
    if vectors.dtype.kind != "f":
        raise _unusable(encoder, f"returned {vectors.dtype} numbers, not float32")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    for wrong, what in (
        (~np.isfinite(lengths), "NaN or infinity"),
        (lengths == 0, "zeros alone"),
        (
            np.abs(lengths - 1) > 0.01,
            f"vectors that do not have length 1 ({lengths.min():.3g} to {lengths.max():.3g})",
        ),
    ):
        if wrong.any():
            raise _unusable(
                encoder, f"returned {what} for {int(wrong.sum())} of {len(texts)} texts"
            )
    return vectors.astype(np.float32, copy=False)


def judge_tokens(encoder: object, texts: Sequence[str], of: str = "") -> None:
    """Raises `EncoderError` where more than 5 % of the tokens in a sample of the texts are unknown to the encoder.

    Args:
        of: Ends the message's sentence: whose texts these are.
    """
    share_of = getattr(encoder, "unknown_share", None)
    share = share_of([texts[i] for i in _sample(len(texts))]) if share_of is not None else 0.0
    if share > _UNKNOWN:
        raise _unusable(
            encoder,
            f"does not know {share:.0%} of the tokens{of} (at most {_UNKNOWN:.0%} is of use)",
        )


def judge_vectors(
    encoder: object,
    texts: Sequence[str],
    vectors: Callable[[Ints], Singles],
    limits: Floats,
    origins: Sequence[tuple[str, str]],
    of: str = "",
) -> None:
    """Raises `EncoderError` where more than a fifth of at least 20 pairs of unrelated texts are above the threshold.

    Args:
        vectors: Gives the unit rows of some of the texts.
        limits: Each text's threshold; of a pair that of the later text counts.
        origins: Topic and page of each text, empty where they are not known.
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
    cosines = np.einsum("ij,ij->i", vectors(left), vectors(right))
    limit = limits[np.maximum(left, right)]
    above = float((cosines > limit).mean())
    if above > _ABOVE:
        threshold = " to ".join(
            f"{each:g}" for each in sorted({float(limit.min()), float(limit.max())})
        )
        raise _unusable(
            encoder,
            f"puts {above:.0%} of {len(pairs)} pairs of unrelated texts{of} above the threshold {threshold} "
            f"(their median is {np.median(cosines):.3f})",
            "Raise the threshold, or use",
        )


def phrases(language: Language) -> list[str]:
    """At most 120 different phrases that the language's file holds, without placeholders and JSON."""
    examples: Mapping[str, Any] = language.format_examples
    texts = [
        language.persona,
        *(example.given for task in examples.values() for example in task[:2]),
        *(style.prompt for style in language.styles),
        *language.prompts.values(),
        *language.refusals,
        *(word for words in language.facets.values() for word in words[:8]),
    ]
    plain = (" ".join(re.sub(r"\$\{?\w+\}?", " ", text).split())[:300] for text in texts)
    return list(dict.fromkeys(text for text in plain if text))[:120] or [
        language.native or language.name
    ]


def _unusable(encoder: object, what: str, advice: str = "Use") -> EncoderError:
    name = type(encoder).__name__
    others = [text for other, text in ALTERNATIVES.items() if other != name]
    return EncoderError(f"The encoder {name} {what}", hint=f"{advice} {', or '.join(others)}.")


def _sample(n: int) -> list[int]:
    return seeded("encoder", n).sample(range(n), min(n, _SAMPLE))


def _overlap(a: str, b: str) -> float:
    """Jaccard similarity of the texts' character trigrams, 0 to 1."""
    left, right = (
        {text[i : i + 3] for i in range(min(len(text), 2000) - 2)} or {text} for text in (a, b)
    )
    return len(left & right) / len(left | right)
