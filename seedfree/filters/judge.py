"""An LLM that marks an answer (1 to 10, rationale first): the verdict, its prompt, and the optional filter."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field

from seedfree.engine.schema import parse
from seedfree.engine.session import identity
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.protocols import Generator, Session
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.text import shown

__all__ = [
    "JudgeFilter",
    "Rationale",
    "Verdict",
    "families",
    "judge_prompt",
    "named",
    "parts",
    "related",
    "warn_of_kin",
]

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


Rationale = Annotated[str, Field(max_length=2000)]


# A docstring would go into the schema that the judge is sent, and with it into the ledger's keys.
class Verdict(BaseModel):  # noqa: D101
    model_config = ConfigDict(title="Verdict")

    rationale: Rationale
    score: Annotated[int, Field(ge=1, le=10)]


def parts(item: Instruction) -> dict[str, str]:
    """What a judge sees of a row: instruction, input, and the answer, which is all turns after the first."""
    said = (
        "\n\n".join(m.content for m in item.messages[1:]) if len(item.messages) > 2 else item.output
    )
    return {"instruction": item.instruction, "input": item.input or "-", "output": said}


def judge_prompt(
    name: str,
    verdict: type[BaseModel],
    shown: Mapping[str, str],
    *,
    language: Language,
    prompts: Language,
    reference: str | None = None,
    seed: int = 0,
) -> Prompt:
    """A request to a judge, which never learns what wrote the answers.

    Args:
        name: The template: `"judge"` or `"judge_pair"`.
        shown: Its placeholders. Each text stands in a block that it cannot close: what it says is
            data.
        language: Of the answers.
        prompts: The language that the judge is asked in.
        reference: A good answer to compare with.
        seed: Names the blocks.
    """
    blocks = {
        key: Context(text=text or ("-" if key == "input" else ""), seed=seed).block()
        for key, text in shown.items()
    }
    user = prompts.text(name, **blocks)
    if reference is not None:
        block = Context(text=reference, seed=seed).block()
        user = f"{prompts.text('judge_reference', reference=block)}\n\n{user}"
    persona = language.persona
    if prompts.code != language.code:
        persona = prompts.text("judge_persona", language=f"{language.name} ({language.native})")
    return Prompt(user=user, system=persona, schema=schema_of(verdict), max_tokens=800)


@dataclass
class JudgeFilter:
    """Asks an LLM for a mark and drops rows below `minimum`. One more request for every row.

    A judge of the family that wrote a row favours it: a run says so once.

    Attributes:
        minimum: Lowest mark that is kept, 1 to 10.
        generator: The judge; `None` for the run's own LLM.
    """

    minimum: int = 7
    generator: Generator | None = None
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)
    _warned: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= 10:
            raise ConfigError(
                f"JudgeFilter(minimum={self.minimum!r}) is no mark", hint="Use 1 to 10."
            )

    def ready(self) -> None:
        """Checks the judge's own LLM."""
        if (fn := getattr(self.generator, "ready", None)) is not None:
            fn()

    def bind(self, session: Session) -> None:
        self._session, self._warned = session, False
        if (fn := getattr(self.generator, "bind", None)) is not None:
            fn(session)

    def close(self) -> None:
        """Closes the judge's own LLM."""
        if (fn := getattr(self.generator, "close", None)) is not None:
            fn()

    async def check(self, item: Instruction) -> str | None:
        """The reason to drop a row.

        Raises:
            ConfigError: The filter is not part of a run.
            StopRunError, RequestError: From the LLM.
        """
        session = self._session
        if session is None:
            raise ConfigError(
                "JudgeFilter has no LLM outside a run", hint="Pass it to Pipeline(filters=[...])."
            )
        if not self._warned and item.generator:
            self._warned = warn_of_kin(self.generator or item.generator, [item.generator])
        language = session.language
        prompt = judge_prompt(
            "judge", Verdict, parts(item), language=language, prompts=language, seed=session.seed
        )
        reply = await session.generate(
            prompt, check=lambda text: parse(text, Verdict), generator=self.generator
        )
        if reply.error is not None:
            return f"judge: no verdict ({reply.error})"
        score = parse(reply.text, Verdict).score
        return None if score >= self.minimum else f"judge: low mark ({score} of 10)"
