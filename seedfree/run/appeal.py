"""Rows that a filter doubts: an LLM is asked about them, and its answer is checked by code.

A doubt is overturned only where the model shows the words that settle it, and they stand where it
says. Whatever else it answers, the doubt is upheld.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from seedfree.engine.schema import parse
from seedfree.engine.session import RunSession
from seedfree.filters.judge import texts_to_judge
from seedfree.filters.numbers import unknown_numbers
from seedfree.languages import Language
from seedfree.protocols import Generator
from seedfree.records import Check, Context, Instruction, Prompt, Suspicion, altered, schema_of
from seedfree.text import fold, squeeze

__all__ = ["appeal", "doubts", "merged", "upheld"]

_NUMBERS = "grounding: number not in the context"
# Of a quotation, unless it is all that there is to quote: fewer characters stand in any text.
_SHORTEST = 4
# A broken row may be doubted in every word. Its prompt stays as short as that of any other.
_MOST, _LONGEST = 12, 200


# Docstrings would go into the schema that the model is sent, and with it into the ledger's keys.
class _Verdict(BaseModel):
    model_config = ConfigDict(title="Verdict")

    rule: Annotated[str, Field(max_length=200)]
    quotation: Annotated[str, Field(max_length=2000)]
    supported: bool


class Verdicts(BaseModel):  # noqa: D101
    verdicts: list[_Verdict]


def merged(suspicions: Sequence[Suspicion]) -> list[Suspicion]:
    """Returns one suspicion for each rule, in order, with the details and words of all."""
    by_rule: dict[str, list[Suspicion]] = {}
    for suspicion in suspicions:
        by_rule.setdefault(suspicion.rule, []).append(suspicion)
    return [_joined(same) for same in by_rule.values()]


def _joined(same: Sequence[Suspicion]) -> Suspicion:
    details = dict.fromkeys(each.detail[:_LONGEST] for each in same if each.detail)
    words = dict.fromkeys(word[:_LONGEST] for each in same for word in each.words)
    detail = ", ".join(list(details)[:_MOST])[:_LONGEST]
    return Suspicion(same[0].rule, detail, tuple(words)[:_MOST], same[0].settled_by)


def upheld(suspicions: Sequence[Suspicion]) -> tuple[Check, ...]:
    """Returns what becomes of suspicions that nobody answers."""
    return tuple(Check(each.rule, each.detail, "upheld") for each in suspicions)


async def appeal(
    item: Instruction,
    suspicions: Sequence[Suspicion],
    session: RunSession,
    generator: Generator | None = None,
) -> tuple[Check, ...]:
    """Asks an LLM about all that is doubted in a row, in one request.

    Args:
        suspicions: No two of one rule.
        generator: `None` for the run's own.

    Returns:
        One check for each suspicion, in order.

    Raises:
        StopRunError, RequestError: From the LLM.
    """
    prompt = _prompt(item, suspicions, session)
    reply = await session.generate(
        prompt, check=lambda text: parse(text, Verdicts), generator=generator
    )
    if reply.error is not None:
        return upheld(suspicions)
    verdicts = _by_rule(suspicions, reply.value.verdicts)
    checks = []
    for suspicion in suspicions:
        verdict = verdicts.get(suspicion.rule)
        check = Check(suspicion.rule, suspicion.detail, "upheld")
        if verdict is not None and _settles(verdict, suspicion, item, session.language):
            check = altered(check, verdict="overturned")
        checks.append(check)
    return tuple(checks)


def _prompt(item: Instruction, suspicions: Sequence[Suspicion], session: RunSession) -> Prompt:
    language, texts = session.language, texts_to_judge(item)
    source = item.context.text if item.context and item.context.text else item.input
    texts = {"text": source or "-", "instruction": item.instruction, "output": texts["output"]}
    blocks = {key: Context(text=text, seed=session.seed).block() for key, text in texts.items()}
    user = language.text("appeal", doubts=doubts(suspicions, language), **blocks)
    return Prompt(user, system=language.persona, schema=schema_of(Verdicts), max_tokens=1000)


def doubts(suspicions: Sequence[Suspicion], language: Language) -> str:
    """Names suspicions for the LLM, each on a line that begins with its rule."""
    lines = []
    for each in suspicions:
        words = ", ".join(f'"{word}"' for word in each.words) or each.detail
        lines.append(f"- {each.rule} — {language.doubt(each.rule, words)}")
    return "\n".join(lines)


def _by_rule(suspicions: Sequence[Suspicion], verdicts: Sequence[_Verdict]) -> dict[str, _Verdict]:
    rules = {squeeze(each.rule): each.rule for each in suspicions}
    named = {rules[squeeze(v.rule)]: v for v in verdicts if squeeze(v.rule) in rules}
    if not named and len(verdicts) == len(suspicions):
        # The rules stand in English in every prompt; a model may translate them.
        return {each.rule: v for each, v in zip(suspicions, verdicts, strict=True)}
    return named


def _settles(
    verdict: _Verdict, suspicion: Suspicion, item: Instruction, language: Language
) -> bool:
    """Checks that a verdict shows words that stand where they can settle the doubt."""
    if not verdict.supported:
        return False
    lines = [line for part in verdict.quotation.splitlines() for line in _steps(part)]
    operations = [line for line in lines if _OPERATION.fullmatch(line)]
    passages = [line for line in lines if line not in operations]
    sources = _sources(suspicion, item)
    if not passages or not all(_stands_in(passage, sources) for passage in passages):
        return False
    if suspicion.rule != _NUMBERS:
        return True
    return _give_numbers(suspicion.words, passages, operations, language)


def _steps(line: str) -> list[str]:
    """Returns the operations of a line that has several, or the line itself."""
    parts = re.split(r"[,;]\s+", line) if "=" in line else [line]
    return [part.strip() for part in parts if part.strip()]


def _sources(suspicion: Suspicion, item: Instruction) -> list[str]:
    if suspicion.settled_by == "row":
        texts = [*item.questions, *item.answers, item.input]
    elif item.context is None:
        texts = [item.input]
    else:
        texts = [item.context.title or "", item.context.text]
    return [squeeze(text) for text in texts]


# Signs that a model puts around a passage, and for what it leaves out at the ends of one.
_AROUND = "\"'.…-"


def _stands_in(passage: str, sources: Sequence[str]) -> bool:
    words = squeeze(passage)
    for quoted in (words, words.strip(_AROUND)):
        if quoted in sources:
            return True
        if len(quoted) >= _SHORTEST and any(quoted in source for source in sources):
            return True
    return False


def _give_numbers(
    words: Sequence[str], passages: Sequence[str], operations: Sequence[str], language: Language
) -> bool:
    """Checks that the passages hold each number, or hold those that it is reckoned from."""
    text = "\n".join(passages)
    for operation in operations:
        numbers, holds = _reckoned(operation)
        if not holds or _lacks(text, numbers, language):
            return False
        text += f"\n{operation}"
    # Only a reader knows what a passage without a digit counts.
    if not any(char.isdigit() for char in text):
        return True
    return not _lacks(text, words, language)


def _lacks(text: str, numbers: Sequence[str], language: Language) -> bool:
    # With a sign before it, a number does not count the lines of a list.
    return any(list(unknown_numbers(f"= {number} =", text, language)) for number in numbers)


_OPERATION = re.compile(r"[\d\s.,()+\-−–*x×·/÷%]+=\s*[\d.,]+%?")
# A comma between groups of three digits.
_GROUPING = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SIGNS = str.maketrans({"−": "-", "–": "-", "×": "*", "x": "*", "·": "*", "÷": "/"})
_BY_SIGN: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _reckoned(operation: str) -> tuple[list[str], bool]:
    """Returns the numbers of an operation such as `2500 - 2475 = 25`, and whether it is right."""
    folded = fold(operation).translate(_SIGNS).replace("%", "")
    left, _, result = _GROUPING.sub("", folded).partition("=")
    try:
        value = _value(ast.parse(left.strip(), mode="eval").body)
        return re.findall(r"\d+(?:\.\d+)?", left), value == Fraction(result.strip())
    except (SyntaxError, ValueError, LookupError, ArithmeticError, RecursionError, MemoryError):
        return [], False


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.BinOp):
        calculate = _BY_SIGN[type(node.op)]
        return calculate(_value(node.left), _value(node.right))
    if isinstance(node, ast.Constant):
        return Fraction(str(node.value))
    raise ValueError("not an operation")
