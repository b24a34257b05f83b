"""The token that ends an answer: whether the base model ever learnt it, and what to take instead.

A chat template may end answers with a token that stands in the vocabulary of a base model but was
in none of its texts. An adapter leaves the output layer as it is, so such a token can hardly be
learnt, and the model's answers never end.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError

__all__ = ["StopToken", "choose_stop", "replace_stop"]

_LOG = logging.getLogger("seedfree")
# Names that makers of tokenizers give to places in the vocabulary that they keep for later.
_UNUSED = re.compile(
    r"(?i)\W*(?:unused|reserved|reserved_special_token|extra(?:_id)?|special|placeholder|dummy"
    r"|control)_?\d+\W*"
)
# Fewer say too little about what an unused row looks like; more only take time.
_FEWEST, _MOST = 8, 256
# Above this cosine to the mean of the unused rows, a row was moved by nothing else than they were.
# Gemma 3 270M: <end_of_turn> 0.99, <start_of_turn> 0.95, 95 % of all other tokens below 0.52.
_UNTRAINED = 0.9
_OUTPUT = ("lm_head.weight", "embed_out.weight", "output.weight")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")


@dataclass(frozen=True)
class StopToken:
    """How answers end in a training.

    Attributes:
        text: The token.
        replaced: The chat template's own, where `text` has taken its place; else `""`.
        likeness: Cosine (-1 to 1) of the token's row in the output layer to the mean row of tokens
            that were never used, as in "Fishing for Magikarp" (arXiv 2405.05417). `None` where the
            vocabulary tells of no such tokens, or the token is new and trained in full.
    """

    text: str
    replaced: str = ""
    likeness: float | None = None

    @property
    def trained(self) -> bool:
        """Tells whether the base model knows the token, as far as its weights show."""
        return self.likeness is None or self.likeness < _UNTRAINED

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        likeness = None if self.likeness is None else round(self.likeness, 3)
        return {"token": self.text, "replaced": self.replaced, "likeness": likeness}


def choose_stop(wanted: str, written: str, tokenizer: Any, folder: Path | None) -> StopToken:
    """Chooses the token that answers are to end with.

    Args:
        wanted: `QLoRAConfig.stop`.
        written: What the chat template ends them with.
        folder: Of the base model. Some rows of its output layer are read. `None` where that layer
            is trained in full, so that any token can be learnt.

    Raises:
        ConfigError: `wanted` is no token of the vocabulary.
    """
    text = written if wanted == "auto" else wanted
    known = tokenizer.get_vocab()
    if text not in known:
        hint = f'Write it as the tokenizer does, or give stop="auto" (it would be {written}).'
        raise ConfigError(f"stop={wanted!r} is no token of the vocabulary", hint=hint)
    replaced = written if text != written else ""
    if folder is None:
        return StopToken(text, replaced)
    end = tokenizer.eos_token
    rows = [text, end] if end in known else [text]
    likeness = _likeness([known[token] for token in rows], known, folder)
    if likeness is None:
        return StopToken(text, replaced)
    stop = StopToken(text, replaced, likeness[0])
    if stop.trained:
        return stop
    other = StopToken(end, written, likeness[-1]) if end in known and end != text else None
    if other is not None and other.trained and wanted == "auto":
        _LOG.warning(
            "Answers end with %s: the base model never learnt %s, with which its chat template "
            "ends them.",
            end,
            text,
        )
        return other
    way_out = (
        'Give stop="auto"'
        if other is not None and other.trained
        else 'Give modules_to_save=("embed_tokens", "lm_head"), which trains it'
    )
    _LOG.warning(
        "The base model never learnt %s, with which answers end, so that they may never end. %s.",
        text,
        way_out,
    )
    return stop


def replace_stop(template: str, old: str, new: str) -> str:
    """Puts one end token in place of another wherever a chat template writes it.

    Raises:
        ConfigError: The template does not hold the old one as it is.
    """
    if old not in template:
        hint = "Give QLoRAConfig(chat_template=...), a template's text that ends with it."
        raise ConfigError(
            f"The chat template puts {old} together, so {new} cannot stand", hint=hint
        )
    return template.replace(old, new)


def _likeness(tokens: Sequence[int], known: dict[str, int], folder: Path) -> list[float] | None:
    """Compares rows of the output layer with rows of tokens that were never used."""
    from torch.nn.functional import cosine_similarity

    unused = sorted(number for name, number in known.items() if _UNUSED.fullmatch(name))
    found = _open(folder)
    if found is None:
        return None
    rows = found[0]
    if len(unused) < _FEWEST:
        # Vocabularies are filled up to a round number: no text has these.
        unused = list(range(max(known.values()) + 1, rows.get_shape()[0]))
    unused = [number for number in unused if number not in tokens]
    if len(unused) < _FEWEST or max(tokens) >= rows.get_shape()[0]:
        return None
    step = max(1, len(unused) // _MOST)
    mean = sum(rows[number].float() for number in unused[::step]) / len(unused[::step])
    return [float(cosine_similarity(rows[number].float(), mean, dim=0)) for number in tokens]


def _open(folder: Path) -> tuple[Any, Any] | None:
    """Opens the output layer: rows of it can be read one by one.

    A model whose embeddings are its output layer has no other.

    Returns:
        The rows, and the open file that they belong to.
    """
    from safetensors import safe_open

    for names in (_OUTPUT, _EMBEDDINGS):
        for path in sorted(folder.glob("*.safetensors")):
            file: Any = safe_open(path, "pt")
            name = next((name for name in file.keys() if name.endswith(names)), None)
            if name is not None:
                return file.get_slice(name), file
    return None
