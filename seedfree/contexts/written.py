"""Contexts that the run's own LLM writes, in the language's styles (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Annotated

from pydantic import BaseModel, Field

from seedfree._seeds import balanced, seeded
from seedfree.engine.http import check_positive
from seedfree.engine.schema import parse
from seedfree.errors import ConfigError, InvalidReplyError, check_types
from seedfree.languages import Language, Style
from seedfree.protocols import Session
from seedfree.records import Context, Prompt, Source, Topic, schema_of

__all__ = ["WrittenContexts"]

# Kinds of text of which the model takes the one that fits the topic. A medical report suits few.
_OFFERED = 3


# A docstring would go into the schema that the model is sent.
class Written(BaseModel):  # noqa: D101
    kind: Annotated[int, Field(ge=1, le=_OFFERED)] = 1
    text: str = Field(max_length=6000)


@dataclass
class WrittenContexts:
    """Has a text written about each topic.

    Three styles (a news article, a poem, an e-mail ...) are offered for each topic, each equally
    often, and the model takes the one that fits. The text of a style that is fiction says so in
    `source.fictional`.

    Attributes:
        styles: Names of the language's styles to use. `None` for all.
        fictional: Whether styles that are fiction are among them.
        share: Weight among the run's sources, above 0.
        min_chars: A shorter text is asked for again. In code points.
        temperature: Sent if the model takes one.
        max_tokens: Of a reply.
    """

    styles: Sequence[str] | None = None
    fictional: bool = True
    share: float = 1.0
    min_chars: int = 120
    temperature: float | None = 0.8
    max_tokens: int = 2048
    _session: Session | None = field(default=None, init=False, repr=False, compare=False)
    _chosen: tuple[Style, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_types(self)
        # A string is a sequence, too: of its letters.
        if isinstance(self.styles, str) or (self.styles is not None and not self.styles):
            raise ConfigError(
                f"styles is {self.styles!r}", hint="Give a list of names, or None for all."
            )
        check_positive(share=self.share)
        if self.min_chars < 1 or self.max_tokens < 1:
            raise ConfigError(
                f"min_chars={self.min_chars}, max_tokens={self.max_tokens}",
                hint="Both are at least 1.",
            )

    def bind(self, session: Session) -> None:
        """Takes language, seed and LLM from a run."""
        # A language without styles borrows the English ones. Its prompt asks for its own language.
        styles = session.language.styles or Language.load("en").styles
        known = {style.name: style for style in styles}
        unknown = [name for name in self.styles or () if name not in known]
        if unknown:
            raise ConfigError(
                f"{session.language.name} has no style {unknown[0]!r}",
                hint=f"Known: {', '.join(known)}.",
            )
        self._session = session
        chosen = [known[name] for name in self.styles or known]
        self._chosen = tuple(each for each in chosen if self.fictional or not each.fiction)
        if not self._chosen:
            raise ConfigError(
                "WrittenContexts(fictional=False) has no styles left", hint="Name one that is not."
            )

    async def contexts(self, topic: Topic) -> list[Context]:
        session = self._session
        if session is None:
            raise ConfigError(
                "WrittenContexts has no LLM outside a run",
                hint="Pass it to Pipeline(contexts=[...]).",
            )
        offered = self._offered(topic, session)
        reply = await session.generate(self._prompt(offered, topic, session), check=self._read)
        if reply.error is not None:
            return []
        written = self._read(reply.text)
        # A model may name a kind that was not offered; then the first was meant for it.
        style = offered[written.kind - 1] if written.kind <= len(offered) else offered[0]
        source = Source("written", title=style.name, fictional=style.fiction)
        return [Context(text=written.text.strip(), source=source)]

    def _offered(self, topic: Topic, session: Session) -> list[Style]:
        draws = [
            balanced(self._chosen, topic.position, session.seed, "style", i)
            for i in range(_OFFERED)
        ]
        return list({style.name: style for style in draws}.values())

    def _prompt(self, offered: Sequence[Style], topic: Topic, session: Session) -> Prompt:
        language = session.language
        rng = seeded(session.seed, topic.position, "written")
        subject = Context(topic=topic).subject()
        length = rng.choice(language.facet("text_lengths"))
        schema = schema_of(Written)
        schema["properties"]["kind"]["maximum"] = len(offered)
        schema["properties"]["text"]["minLength"] = self.min_chars
        return Prompt(
            language.text("written", kinds=_kinds(offered, subject, language), length=length),
            system=language.persona,
            schema=schema,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            # Drawn after the length: in another order both would differ.
            examples=language.draw_examples("written", rng),
            cue=topic.text,
        )

    def _read(self, text: str) -> Written:
        written = parse(text, Written)
        if len(written.text.strip()) < self.min_chars:
            raise InvalidReplyError(f"The text has {len(written.text.strip())} characters")
        return written


def _kinds(offered: Sequence[Style], subject: str, language: Language) -> str:
    made_up = language.text("made_up")
    lines = []
    for number, style in enumerate(offered, 1):
        mark = f" {made_up}" if style.fiction else ""
        # "safe" because a style may speak of dollars. What the topic holds is not expanded again.
        order = Template(style.prompt).safe_substitute(topic=subject)
        lines.append(f"{number}. {order}{mark}")
    return "\n".join(lines)
