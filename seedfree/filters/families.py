"""Which models are akin: a judge prefers what its own kind wrote.

A model knows its own answers again and marks them up (Panickssery et al. 2024, "LLM Evaluators
Recognize and Favor Their Own Generations", arXiv 2404.13076).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import cast

from seedfree.engine.runner import identity
from seedfree.protocols import Generator
from seedfree.text import shown

__all__ = ["families", "named", "related", "warn_of_kin"]

_LOG = logging.getLogger("seedfree")
# A name may hold several: llama-3-typhoon is kin to both. No letter may stand before or behind, so
# that "llamacpp", "ollama" and "openai-compatible" are no names of models.
_FAMILIES = {
    "Claude": r"claude",
    "GPT": r"(?:chat)?gpt(?!-?(?:j|neo))|o[1345](?=-(?:mini|pro|preview)|\s|$)",
    "Gemini and Gemma": r"gemini|(?:code|data|med|t5|translate|shield)?gemma",
    "Llama": r"(?:code|tiny)?llama|vicuna|alpaca",
    "Qwen": r"qwen|qwq",
    "Mistral": r"(?:open-)?mistral|mixtral|ministral|codestral|magistral|devstral|zephyr",
    "DeepSeek": r"deepseek",
    "Command and Aya": r"command-?[ar]|c4ai|aya",
    "Phi": r"phi",
    "GLM": r"(?:chat)?glm",
    "Kimi": r"kimi",
    "Grok": r"grok",
    "SmolLM": r"smollm",
    "Nova": r"nova-(?:micro|lite|pro|premier)",
    "SEA-LION": r"sea-?lion",
    "SeaLLM": r"sea-?llms?",
    "Sailor": r"sailor",
    "Typhoon": r"typhoon",
    "OpenThaiGPT": r"openthaigpt",
    "WangchanX": r"wangchanx?|wangchanlion",
    "PhoGPT": r"phogpt",
}
_PATTERNS = {
    name: re.compile(rf"(?<![a-z])(?:{text})(?![a-z])") for name, text in _FAMILIES.items()
}
_URL = re.compile(r"\w+://\S+")
# The embedded model goes by the hash of its file.
_HASHED = {"a5fd3b62230aa5ec": "Gemini and Gemma"}


def families(name: str) -> frozenset[str]:
    """The families that a model's name tells of; none where it tells of none.

    Names, not weights: a fine-tuned model that does not name its base (a bare "typhoon") is kin to
        its own line alone.
    """
    text = name.casefold().replace("_", "-")
    found = {family for family, pattern in _PATTERNS.items() if pattern.search(text)}
    return frozenset(found | {family for part, family in _HASHED.items() if part in text})


def named(model: object) -> str:
    """What a model says of its own name, without addresses: `identity`, `model`, the base of a trained one."""
    own = _identity(model)
    others = (getattr(model, "model", None), getattr(getattr(model, "base", None), "name", None))
    words = [own, *(PurePath(str(word)).name for word in others if word)]
    unique = [word for i, word in enumerate(words) if i == 0 or word not in own]
    return (
        shown(" ".join(_URL.sub(" ", " ".join(unique)).split()))[:200] or "a model without a name"
    )


def related(judge: object, writer: object) -> bool:
    """Whether both are one model, or their names share a family."""
    return _identity(judge) == _identity(writer) or bool(
        families(named(judge)) & families(named(writer))
    )


def _identity(model: object) -> str:
    return model if isinstance(model, str) else identity(cast("Generator", model))


def warn_of_kin(judge: object, writers: Iterable[object]) -> bool:
    """Logs one warning that names the writers akin to the judge; whether there are any.

    Args:
        judge: A generator, or its identity.
        writers: Generators, trained models or identities; empty texts are passed over.
    """
    kin = list(
        dict.fromkeys(
            named(writer) for writer in writers if writer != "" and related(judge, writer)
        )
    )
    if kin:
        _LOG.warning(
            "The judge (%s) and what it judges (%s) are of one family; models favour what their own kind wrote "
            "(arXiv 2404.13076). Take a judge of another family, or check its marks against people's.",
            named(judge),
            ", ".join(kin),
        )
    return bool(kin)
