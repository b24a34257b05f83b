"""Near-duplicates in meaning: rows whose vectors point the same way (paper section 3.4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree.errors import ConfigError, EncoderError, SeedfreeError
from seedfree.filters.encoders import BGEM3Encoder
from seedfree.filters.index import check_index, check_threshold, greedy_select
from seedfree.languages import Language
from seedfree.protocols import Encoder, Session
from seedfree.records import Instruction, Selection, seeded

__all__ = ["SemanticDiversityFilter"]

_FIELDS = ("instruction", "input", "output", "evidence", "topic")
_UNKNOWN = 0.05
_SAMPLE = 200  # Texts and pairs that an encoder is judged by.
_PAIRS = 20  # Fewer pairs are no evidence.
_ABOVE = 0.2  # Share of unrelated pairs above the threshold at which an encoder is of no use.
_WORDING = 0.3  # Share of character trigrams in common from which two texts count as related.
_ALTERNATIVES = {
    "BGEM3Encoder": "sf.BGEM3Encoder() for over 100 languages",
    "SentenceTransformerEncoder": "sf.SentenceTransformerEncoder('sentence-transformers/LaBSE') for 109 languages",
    "USEEncoder": "sf.USEEncoder() for Thai, Turkish and 14 others, without a download",
}


@dataclass
class SemanticDiversityFilter:
    """Drops a row whose cosine with an earlier kept row is above the threshold.

    An encoder that does not know the language puts all its texts in one place, and the filter would drop nearly
    everything. So an encoder is refused where more than 5 % of its tokens are unknown, or where more than a fifth of
    at least 20 pairs of unrelated rows are above the threshold. Two rows are unrelated if they differ in topic and
    page (where these are known) and share less than 0.3 of their character trigrams, so that neither copies nor
    edits of a text count. `bind` tries the encoder on the language's own phrases, before anything is paid for.

    Attributes:
        threshold: Cosine, 0 to 1. What it means depends on the encoder.
        encoder: `BGEM3Encoder()` by default. Each text is encoded once in the filter's life.
        fields: Texts of a row that count, joined by line breaks; or `"paper"` for the paper's
            `Instruction: … Context: … Output: …`, under which different questions on one page are near-duplicates.
        index: See `greedy_select`.
    """

    threshold: float = 0.95
    encoder: Encoder | None = None
    fields: str | tuple[str, ...] = ("instruction", "output")
    index: str = "auto"

    _vectors: dict[bytes, NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.threshold = check_threshold(self.threshold)
        if self.encoder is None:
            self.encoder = BGEM3Encoder()
        elif isinstance(self.encoder, str | type) or not callable(getattr(self.encoder, "encode", None)):
            raise ConfigError(
                f"encoder is {self.encoder!r}, not an object with a method encode(texts)",
                hint=f"Use {', or '.join(_ALTERNATIVES.values())}.",
            )
        if self.fields != "paper":
            self.fields = (self.fields,) if isinstance(self.fields, str) else tuple(self.fields)
            if not self.fields or not set(self.fields) <= set(_FIELDS):
                raise ConfigError(
                    f"fields is {self.fields!r}", hint=f"Use 'paper', or one or more of {', '.join(_FIELDS)}."
                )
        check_index(self.index)

    def ready(self) -> None:
        """Raises `ConfigError` where a package is missing; loads nothing."""
        check_index(self.index)
        ready = getattr(self.encoder, "ready", None)
        if ready is not None:
            ready()

    def bind(self, session: Session) -> None:
        """Loads the encoder and tries it on the run's language; see `probe`."""
        self.ready()
        # Vectors depend in their last bits on what they were encoded with: every run starts from none.
        self._vectors.clear()
        self.probe(session.language)

    def probe(self, language: Language) -> None:
        """Tries the encoder on phrases of the language.

        Raises:
            EncoderError: It does not know the language, or returns something else than unit vectors.
            ConfigError: It can't be loaded.
        """
        texts = _phrases(language)
        of = f" of {language.name}"
        self._judge_tokens(texts, of)
        self._judge_vectors(texts, self._embed(texts), [("", "")] * len(texts), of)

    def select(self, items: Sequence[Instruction]) -> Selection:
        """Decides over all rows, in order.

        Raises:
            EncoderError: The encoder does not know the rows' language, or returns something else than unit vectors.
            ConfigError: The encoder can't be loaded.
        """
        texts = [self._text(item) for item in items]
        if not texts:
            return greedy_select([], self.threshold, self.index)
        self._judge_tokens(texts)
        vectors = self._embed(texts)
        self._judge_vectors(texts, vectors, [(item.topic, _page(item)) for item in items])
        return greedy_select(vectors, self.threshold, self.index)

    def _text(self, item: Instruction) -> str:
        if self.fields == "paper":
            context = (item.context.text if item.context else "") or item.input
            return f"Instruction: {item.instruction} Context: {context} Output: {item.output}"
        return "\n".join(getattr(item, name) for name in self.fields)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of the texts, shape [n, d]; only those not seen before are encoded."""
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        if new:
            self._vectors.update(zip(new, self._encode(list(new.values())), strict=True))
        return np.stack([self._vectors[key] for key in keys])

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        assert self.encoder is not None
        try:
            vectors = np.asarray(self.encoder.encode(texts))
        except SeedfreeError:
            raise
        except Exception as error:
            raise self._unusable(f"failed: {type(error).__name__}: {str(error)[:200]}") from error
        d = len(next(iter(self._vectors.values()))) if self._vectors else vectors.shape[-1] if vectors.ndim else 0
        if vectors.shape != (len(texts), d) or not d:
            raise self._unusable(
                f"returned shape {list(vectors.shape)} for {len(texts)} texts, not [{len(texts)}, {d or 'd'}]"
            )
        if vectors.dtype.kind != "f":
            raise self._unusable(f"returned {vectors.dtype} numbers, not float32")
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
                raise self._unusable(f"returned {what} for {int(wrong.sum())} of {len(texts)} texts")
        return vectors.astype(np.float32, copy=False)

    def _judge_tokens(self, texts: Sequence[str], of: str = "") -> None:
        share_of = getattr(self.encoder, "unknown_share", None)
        share = share_of([texts[i] for i in _sample(len(texts))]) if share_of is not None else 0.0
        if share > _UNKNOWN:
            raise self._unusable(f"does not know {share:.0%} of the tokens{of} (at most {_UNKNOWN:.0%} is of use)")

    def _judge_vectors(
        self, texts: Sequence[str], vectors: NDArray[np.float32], origins: Sequence[tuple[str, str]], of: str = ""
    ) -> None:
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
        above = float((cosines > self.threshold).mean())
        if above > _ABOVE:
            raise self._unusable(
                f"puts {above:.0%} of {len(pairs)} pairs of unrelated texts{of} above the threshold {self.threshold:g} "
                f"(their median is {np.median(cosines):.3f})",
                "Raise the threshold, or use",
            )

    def _unusable(self, what: str, advice: str = "Use") -> EncoderError:
        name = type(self.encoder).__name__
        others = [text for other, text in _ALTERNATIVES.items() if other != name]
        return EncoderError(f"The encoder {name} {what}", hint=f"{advice} {', or '.join(others)}.")


def _sample(n: int) -> list[int]:
    return seeded("encoder", n).sample(range(n), min(n, _SAMPLE))


def _page(item: Instruction) -> str:
    return item.source.url or item.source.title or (item.context.text if item.context else "")


def _overlap(a: str, b: str) -> float:
    """Jaccard similarity of the texts' character trigrams, 0 to 1."""
    left, right = ({text[i : i + 3] for i in range(min(len(text), 2000) - 2)} or {text} for text in (a, b))
    return len(left & right) / len(left | right)


def _phrases(language: Language) -> list[str]:
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
    return list(dict.fromkeys(text for text in plain if text))[:120] or [language.native or language.name]
