"""Closeness of meaning: embedding similarity and BERTScore, each under its own name.

The column "BERTScore" of the paper is embedding similarity with BGE-M3: one vector a text.
BERTScore proper (Zhang et al. 2020, arXiv 1904.09675) matches token by token. Both rise with the
length and the topic of an answer and say little about whether it is right: read them beside answer
accuracy and output length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedfree.engine.places import published
from seedfree.errors import ConfigError, missing_extra
from seedfree.evaluation.statistics import Interval, mean_interval
from seedfree.evaluation.words import paired_texts
from seedfree.protocols import Encoder

__all__ = ["BertScore", "Similarity", "bert_score", "embedding_similarity"]

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """Mean cosine of prediction and reference, -1 to 1.

    Attributes:
        values: Shape [n]; 0 where the prediction or the reference is empty.
        interval: Of the mean, at 95 %.
        encoder: What made the vectors. Similarities of two encoders cannot be compared.
    """

    mean: float
    interval: Interval
    values: Values
    n: int
    encoder: str


@dataclass(frozen=True)
class BertScore:
    """BERTScore, not rescaled: means of precision, recall and their F1.

    Attributes:
        values: Shape [n]; F1 of each row, 0 where the prediction or the reference is empty.
        interval: Of the mean F1, at 95 %.
        signature: Model, layer and package: scores with different ones cannot be compared.
    """

    precision: float
    recall: float
    f1: float
    interval: Interval
    values: Values
    n: int
    signature: str


def embedding_similarity(
    predictions: Sequence[str | None],
    references: Sequence[str | None],
    encoder: Encoder,
    *,
    sources: Sequence[str] | None = None,
    seed: int = 0,
) -> Similarity:
    """Measures what the paper calls "BERTScore", with `BGEM3Encoder()`.

    Another encoder gives other numbers. Rows with an empty side count as 0, as in the paper's
    scorer.

    Args:
        sources: What each question was made from. The interval then resamples sources, not rows.

    Raises:
        ConfigError: Unequal lengths, no rows, something else than text or an encoder, or the
            encoder's package is missing.
    """
    answers, wanted = paired_texts(predictions, references)
    # A text has a method `encode` too, so the protocol's check alone lets a model's name through.
    if isinstance(encoder, str) or not isinstance(encoder, Encoder):
        raise ConfigError(
            f"encoder is {type(encoder).__name__}", hint="Give an encoder, such as BGEM3Encoder()."
        )
    values = np.zeros(len(answers))
    rows = _complete(answers, wanted)
    if rows:
        first = np.asarray(encoder.encode([answers[i] for i in rows]), dtype=np.float64)
        second = np.asarray(encoder.encode([wanted[i] for i in rows]), dtype=np.float64)
        # An encoder of the user's own may give vectors of any length, zero too.
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        values[rows] = np.einsum("ij,ij->i", first, second) / np.where(lengths > 0, lengths, 1)
    interval = mean_interval(values, clusters=sources, seed=seed)
    name = published(str(getattr(encoder, "identity", type(encoder).__name__)))
    return Similarity(float(values.mean()), interval, values, len(values), name)


def bert_score(
    predictions: Sequence[str | None],
    references: Sequence[str | None],
    model: str | Path,
    *,
    layers: int | None = None,
    batch_size: int = 32,
    device: str | None = None,
    sources: Sequence[str] | None = None,
    seed: int = 0,
) -> BertScore:
    """Measures BERTScore proper with the package bert-score and the model's own tokenizer.

    No word segmenter is needed.

    Args:
        model: An encoder on the model hub (`"xlm-roberta-large"`) or a folder. It must know the
            language.
        layers: Which layer's vectors to compare, counted from 1. By default the one that
            bert-score's authors chose for the model. For a model that they did not measure it is
            two thirds of the way up, as most of theirs are.
        device: `"cuda:0"`, `"cpu"`. By default a GPU if there is one.
        sources: What each question was made from. The interval then resamples sources, not rows.

    Raises:
        ConfigError: Unequal lengths, no rows, something else than text, the package is missing, or
            the model can't be loaded.
    """
    answers, wanted = paired_texts(predictions, references)
    scorer = _scorer(str(model), layers, batch_size, device)
    # One line each for precision, recall and F1.
    table = np.zeros((3, len(answers)))
    rows = _complete(answers, wanted)
    if rows:
        tensors = scorer.score([answers[i] for i in rows], [wanted[i] for i in rows])
        table[:, rows] = np.stack([tensor.numpy() for tensor in tensors])
    precision, recall, f1 = map(float, table.mean(axis=1))
    interval = mean_interval(table[2], clusters=sources, seed=seed)
    return BertScore(precision, recall, f1, interval, table[2], len(answers), scorer.hash)


def _complete(answers: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Returns the numbers of the rows with text on both sides."""
    pairs = enumerate(zip(answers, wanted, strict=True))
    return [i for i, (answer, reference) in pairs if answer.strip() and reference.strip()]


def _scorer(model: str, layers: int | None, batch_size: int, device: str | None) -> Any:
    try:
        from bert_score import BERTScorer
        from bert_score.utils import model2layers
        from transformers import MODEL_MAPPING, AutoConfig, AutoTokenizer
    except ImportError as error:
        raise missing_extra("bert-score", "eval") from error
    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        # bert-score would let transformers ask whether to run a model's own code.
        AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        if type(config) not in MODEL_MAPPING:
            raise ValueError(f"transformers has no code for {config.model_type}")
        two_thirds = max(1, round(config.num_hidden_layers * 2 / 3))
        layers = layers or model2layers.get(model) or two_thirds
        if not 0 < layers <= config.num_hidden_layers:
            raise ConfigError(f"{model} has {config.num_hidden_layers} layers, not {layers}")
        scorer = BERTScorer(
            model_type=model, num_layers=layers, batch_size=batch_size, device=device
        )
    except ConfigError:
        raise
    # What transformers and bert-score raise for a folder or a model that is not what they expect.
    except (OSError, ValueError, KeyError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"bert-score cannot load {model}: {type(error).__name__}: {reason}",
            hint="Give a BERT-like encoder on the model hub, or the folder that holds one.",
        ) from error
    # A tokenizer saved without its limit reads any length, and the model then fails on a long text.
    # RoBERTa counts positions from two, so two less than the model has are for tokens.
    tokenizer = scorer._tokenizer
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings - 2)
    return scorer
