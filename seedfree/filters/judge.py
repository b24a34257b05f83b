"""An LLM that marks an answer from 1 to 10, with its reasons first.

Here are the optional filter, the prompt and the verdict that it shares with `seedfree.evaluation`,
and the warning of a judge that marks its own kind: which models are of one family.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from seedfree.engine.places import published
from seedfree.engine.providers import named_generator
from seedfree.engine.schema import parse
from seedfree.engine.session import identity
from seedfree.errors import ConfigError, InvalidReplyError, check_types
from seedfree.filters.rubric import Reading, faults, marks, read_row
from seedfree.languages import Criterion, Language
from seedfree.protocols import Generator, Session
from seedfree.records import Context, Instruction, Prompt, schema_of
from seedfree.text import shown

__all__ = [
    "JudgeFilter",
    "Rationale",
    "Verdict",
    "families",
    "judge_prompt",
    "model_name",
    "related",
    "texts_to_judge",
    "warn_of_kin",
]

_LOG = logging.getLogger("seedfree")


@dataclass
class JudgeFilter:
    """Asks an LLM for a mark and drops rows below `minimum`. One more request for every row.

    With a rubric it asks yes-or-no questions instead, each to be answered with a quotation, and
    code makes the marks good, poor and bad of the answers: one for the user's request and one for
    the assistant's answer. A row is as good as the worse of them.

    A judge of the family that wrote a row favours it. A run warns of that once.

    Attributes:
        minimum: Lowest mark that is kept, 1 to 10.
        generator: The judge, also by a word (`"ollama/qwen3:8b"`), or `None` for the run's own LLM.
        rubric: `None`; `"default"` for the eight questions of the language's file; or your own.
        keep: With a rubric, the worst mark that is kept.
    """

    minimum: int = 7
    generator: str | Generator | None = None
    rubric: Literal["default"] | Sequence[Criterion] | None = None
    keep: Literal["good", "poor"] = "good"
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)
    _warned: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        self.generator = named_generator(self.generator)
        if not 1 <= self.minimum <= 10:
            raise ConfigError(
                f"JudgeFilter(minimum={self.minimum!r}) is no mark", hint="Use 1 to 10."
            )
        if self.rubric is not None and not self.rubric:
            raise ConfigError("JudgeFilter(rubric=[]) asks nothing", hint='Use "default" or None.')

    @property
    def _judge(self) -> Generator | None:
        return named_generator(self.generator)

    def ready(self) -> None:
        """Checks the judge's own LLM."""
        self._pass_on("ready")

    def bind(self, session: Session) -> Any:
        """Returns what the judge's own LLM returns, to be awaited if it is awaitable."""
        self._session, self._warned = session, False
        return self._pass_on("bind", session)

    def close(self) -> Any:
        """Closes the judge's own LLM; awaited as `bind`."""
        return self._pass_on("close")

    def _pass_on(self, method: str, *args: object) -> Any:
        # A run knows its components, not what is inside them. All three methods are optional.
        call = getattr(self.generator, method, None)
        return call and call(*args)

    async def check(self, item: Instruction) -> str | None:
        """Returns the reason to drop a row.

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
        if self.rubric is not None:
            return await self._reading(item, session)
        prompt = judge_prompt(
            "judge",
            Verdict,
            texts_to_judge(item),
            language=session.language,
            prompts=session.language,
            seed=session.seed,
        )
        reply = await session.generate(
            prompt, check=lambda text: parse(text, Verdict), generator=self._judge
        )
        if reply.error is not None:
            return f"judge: no verdict ({reply.error})"
        score = parse(reply.text, Verdict).score
        return None if score >= self.minimum else f"judge: low mark ({score} of 10)"

    async def _reading(self, item: Instruction, session: Session) -> str | None:
        """Has a row read with the rubric; returns the reason to drop it."""
        rubric = self.rubric or ()
        if isinstance(rubric, str):
            rubric = session.language.rubric_known
        prompt = read_row(item, texts_to_judge(item), rubric, session.language, session.seed)

        def check(text: str) -> list[Criterion]:
            try:
                return faults(parse(text, Reading), rubric)
            except ValueError as error:
                raise InvalidReplyError(str(error)) from error

        reply = await session.generate(prompt, check=check, generator=self._judge)
        if reply.error is not None:
            return f"judge: no verdict ({reply.error})"
        for side, mark in marks(reply.value).items():
            if mark == "bad" or (mark == "poor" and self.keep == "good"):
                names = ", ".join(each.name for each in reply.value if each.of == side)
                return f"judge: {mark} {side} ({names})"
        return None


Rationale = Annotated[str, Field(max_length=2000)]


# A docstring would go into the schema that the judge is sent, and with it into the ledger's keys.
class Verdict(BaseModel):  # noqa: D101
    model_config = ConfigDict(title="Verdict")

    rationale: Rationale
    score: Annotated[int, Field(ge=1, le=10)]


def texts_to_judge(item: Instruction) -> dict[str, str]:
    """Returns what a judge sees of a row: its instruction, its input and its answer.

    The answer of a conversation is all turns after the first.
    """
    answer = item.output
    if len(item.messages) > 2:
        answer = "\n\n".join(message.content for message in item.messages[1:])
    return {"instruction": item.instruction, "input": item.input or "-", "output": answer}


def judge_prompt(
    name: str,
    verdict: type[BaseModel],
    texts: Mapping[str, str],
    *,
    language: Language,
    prompts: Language,
    reference: str | None = None,
    seed: int = 0,
) -> Prompt:
    """Makes a request to a judge, which never learns what wrote the answers.

    Args:
        name: The template: `"judge"` or `"judge_pair"`.
        verdict: What the judge must answer.
        texts: The template's placeholders. Each text stands in a block that it cannot close: what
            it says is data.
        language: Of the answers.
        prompts: The language that the judge is asked in.
        reference: A good answer to compare with.
        seed: Names the blocks.
    """
    blocks = {}
    for key, text in texts.items():
        # Most rows have no input. The judge is told so instead of shown nothing.
        shown_text = "-" if key == "input" and not text else text
        blocks[key] = Context(text=shown_text, seed=seed).block()
    user = prompts.text(name, **blocks)
    if reference is not None:
        block = Context(text=reference, seed=seed).block()
        user = f"{prompts.text('judge_reference', reference=block)}\n\n{user}"
    persona = language.persona
    if prompts.code != language.code:
        persona = prompts.text("judge_persona", language=f"{language.name} ({language.native})")
    return Prompt(user=user, system=persona, schema=schema_of(verdict), max_tokens=800)


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
# The embedded model goes by the hash of its file.
_HASHED = {"a5fd3b62230aa5ec": "Gemini and Gemma"}
# The name of a server says nothing of the model that it serves.
_URL = re.compile(r"\w+://\S+")


def warn_of_kin(judge: object, writers: Iterable[object]) -> bool:
    """Logs one warning that names the writers akin to the judge. Returns whether there are any.

    Args:
        judge: A generator, or its identity.
        writers: Generators, trained models or identities. Empty texts are passed over.
    """
    named = [model_name(writer) for writer in writers if writer != "" and related(judge, writer)]
    kin = ", ".join(dict.fromkeys(named))
    if kin:
        _LOG.warning(
            "The judge (%s) and what it judges (%s) are of one family; models favour what their "
            "own kind wrote (arXiv 2404.13076). Take a judge of another family, or check its marks "
            "against people's.",
            model_name(judge),
            kin,
        )
    return bool(kin)


def related(judge: object, writer: object) -> bool:
    """Tells whether both are one model, or their names share a family."""
    if _identity(judge) == _identity(writer):
        return True
    return bool(families(model_name(judge)) & families(model_name(writer)))


def families(name: str) -> frozenset[str]:
    """Returns the families that a model's name tells of: none, one or several.

    Names and not weights: a fine-tuned model that does not name its base (a bare "typhoon") is kin
    to its own line alone.
    """
    text = name.casefold().replace("_", "-")
    by_word = {family for family, pattern in _PATTERNS.items() if pattern.search(text)}
    return frozenset(by_word | {family for part, family in _HASHED.items() if part in text})


def model_name(model: object) -> str:
    """Returns what a model says of its own name, without addresses, fit for a line of the log.

    This is its `identity`, then its `model` and the name of a trained model's base where they say
    more.
    """
    own = _identity(model)
    # Neither attribute is promised: the model may be a generator, a trained model or a text.
    others = (getattr(model, "model", None), getattr(getattr(model, "base", None), "name", None))
    further = [PurePath(str(name)).name for name in others if name]
    words = " ".join([own, *(name for name in further if name not in own)])
    # A name may come from a file of rows, and must not fill or forge the log.
    return shown(" ".join(_URL.sub(" ", words).split()))[:200] or "a model without a name"


def _identity(model: Any) -> str:
    # As rows have it: a judge is compared with what wrote them.
    return published(model if isinstance(model, str) else identity(model))
