"""JSON schemas as providers take them, and replies as they come back.

The first half closes a schema for structured output. Every object is closed and all its keys are
required, references are resolved, and constraints that a provider rejects move into the
description, where the model still reads them.
Anthropic: platform.claude.com/docs/en/build-with-claude/structured-outputs
OpenAI: platform.openai.com/docs/guides/structured-outputs

The second half finds the JSON object in a reply and reads it as a model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from seedfree.errors import ConfigError, InvalidReplyError
from seedfree.text import clean, shown, without_thought

__all__ = ["CONSTRAINTS", "check_of", "closed_schema", "find_json", "parse"]

# ---- schemas ----

CONSTRAINTS = frozenset(
    "minLength maxLength pattern format minimum maximum exclusiveMinimum exclusiveMaximum "
    "multipleOf minItems maxItems uniqueItems minProperties maxProperties".split()
)
_KEPT = ("type", "enum", "const", "description")
_REFUSED = frozenset(
    "not if then else prefixItems patternProperties propertyNames contains unevaluatedProperties "
    "unevaluatedItems dependentRequired dependentSchemas dependencies additionalItems".split()
)
_HINT = "Use plain fields, lists and nested models in the task's Fields."


def closed_schema(schema: Mapping[str, Any], *, keep: Collection[str] = ()) -> dict[str, Any]:
    """Returns the schema with closed objects, without references, titles and defaults.

    Args:
        schema: An object schema, such as pydantic makes. It is not changed.
        keep: Those of `CONSTRAINTS` that the provider accepts.

    Raises:
        ConfigError: The schema refers to itself, leaves an object's keys open, or uses keywords
            that no provider takes.
    """
    closed = _Closer(schema, frozenset(keep)).close(schema, "reply", frozenset())
    if closed.get("type") != "object":
        raise ConfigError(
            "The schema of a reply is not an object", hint="Put the value into a field of a model."
        )
    return closed


class _Closer:
    """Closes one schema, node by node.

    Args:
        root: The whole schema, in which references are looked up.
        keep: Constraints that stay keywords.
    """

    def __init__(self, root: Mapping[str, Any], keep: frozenset[str]) -> None:
        self._root, self._keep = root, keep

    def close(self, node: object, where: str, seen: frozenset[str]) -> dict[str, Any]:
        """Returns a node in the narrow form.

        Args:
            where: The field that the node is the schema of, for messages.
            seen: References that were followed on the way to the node.
        """
        if not isinstance(node, Mapping):
            raise ConfigError(f"The schema of {where} is not an object", hint=_HINT)
        while "$ref" in node:
            ref = node["$ref"]
            if ref in seen:
                raise ConfigError(
                    f"The schema of {where} refers to itself", hint="Nest models to a fixed depth."
                )
            seen |= {ref}
            # What stands beside a reference wins: a field's own description over its model's.
            node = {**self._target(ref, where), **_without(node, "$ref")}
        # An `allOf` of one part says no more than the part. Older versions of pydantic wrap a
        # reference like this where the field has a description.
        single = node.get("allOf")
        if isinstance(single, list) and len(single) == 1 and isinstance(single[0], Mapping):
            return self.close({**single[0], **_without(node, "allOf")}, where, seen)
        # A list of types becomes a choice of nodes, each of which is closed as its own type asks.
        if isinstance(kinds := node.get("type"), list):
            rest = _without(node, "type", "description")
            options = [{**rest, "type": kind} for kind in kinds]
            node = {**_only(node, "description"), "anyOf": options}
        refused = sorted(_REFUSED.intersection(node))
        if "allOf" in node:
            refused.append("allOf")
        if refused:
            raise ConfigError(f"The schema of {where} uses {', '.join(refused)}", hint=_HINT)
        return self._closed(node, where, seen)

    def _closed(self, node: Mapping[str, Any], where: str, seen: frozenset[str]) -> dict[str, Any]:
        """Closes a node of one type, or a choice, and everything inside it."""
        result = _only(node, *_KEPT)
        options = node.get("anyOf", node.get("oneOf"))
        if options is not None:
            result["anyOf"] = [self.close(option, where, seen) for option in options]
        if node.get("type") == "object":
            fields = node.get("properties", {})
            if not fields or isinstance(node.get("additionalProperties"), Mapping):
                raise ConfigError(f"The schema of {where} leaves its keys open", hint=_HINT)
            result["properties"] = {
                key: self.close(value, key, seen) for key, value in fields.items()
            }
            result |= {"required": list(fields), "additionalProperties": False}
        if node.get("type") == "array":
            if "items" not in node:
                message = f"The schema of {where} does not say what the list holds"
                raise ConfigError(message, hint=_HINT)
            result["items"] = self.close(node["items"], where, seen)
        if not result.keys() & {"type", "anyOf", "enum", "const"}:
            raise ConfigError(f"The schema of {where} accepts anything", hint=_HINT)
        self._constrain(result, node)
        return result

    def _constrain(self, result: dict[str, Any], node: Mapping[str, Any]) -> None:
        """Keeps the constraints that the provider takes, and describes the others in words."""
        described = []
        for name in sorted(CONSTRAINTS.intersection(node)):
            if name in self._keep:
                result[name] = node[name]
            else:
                described.append(f"{name} {node[name]}")
        if described:
            description = f"{result.get('description', '')} ({', '.join(described)})"
            result["description"] = description.lstrip()

    def _target(self, ref: object, where: str) -> Mapping[str, Any]:
        """Returns the part of the whole schema that a JSON pointer names (RFC 6901)."""
        target: Any = self._root
        try:
            first, *parts = str(ref).split("/")
            if first != "#":
                raise KeyError(first)
            for part in parts:
                # In this order, or "~01", which stands for "~1", would become "/".
                target = target[part.replace("~1", "/").replace("~0", "~")]
            return dict(target)
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f"The schema of {where} refers to {str(ref)[:80]!r}, which it does not hold"
            ) from None


def _only(node: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: node[name] for name in names if name in node}


def _without(node: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name not in names}


# ---- replies ----

_MAX_CHARS = 1_000_000
# Every try that fails walks over the text before it once more, because the decoder's error counts
# lines. A reply of braces alone must not take quadratic time.
_MAX_STARTS = 64
# A JSON escape that may be half of a surrogate pair.
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_Model = TypeVar("_Model", bound=BaseModel)
_Value = TypeVar("_Value")

# Models write formulas with one backslash, which JSON reads as a line break, a tab or another
# control character. Names that are also the end of a line and a word ("\\nu") count in `$…$` alone.
_COMMANDS = (
    "backslash|bar|because|begin|beta|big[a-z]*|binom|bmod|boldsymbol|bot|boxed|bullet|"
    "flat|forall|[ft]?frac|nabla|nearrow|neq|nexists|ngeq|nleq|notin|nsubseteq|"
    "rangle|rbrace|rceil|rfloor|rho|right|rightarrow|"
    "tau|text[a-z]{2}|text|therefore|theta|tilde|times|triangle"
)
_ODD_BACKSLASH = r"(?<!\\)((?:\\\\)*)\\"
_LATEX = re.compile(rf"{_ODD_BACKSLASH}(?=(?:{_COMMANDS})(?![A-Za-z]))")
_LATEX_IN_MATH = re.compile(
    rf"{_ODD_BACKSLASH}(?=(?:{_COMMANDS}|ne|neg|ni|not|nu|rm|tan|tanh|to|top)(?![A-Za-z]))"
)
_MATH = re.compile(r"\$[^$\"]{1,400}\$")
# What small models write in the place of JSON. A string that does not end reaches to the end of the
# text, so that no text is walked over twice.
_LONE_BACKSLASH = re.compile(_ODD_BACKSLASH + r"(?![\"\\/bfnrt]|u[0-9a-fA-F]{4})")
_SPARE_COMMA = re.compile(r'("(?:[^"\\]|\\.)*(?:"|\Z))|,(?=\s*[}\]])', re.DOTALL)
_CURLY_BEGIN = re.compile(r"\{\s*[“”„]")
_CURLY = re.compile(r"(?<=[{,:\[])(\s*)[“”„]|[“”](?=\s*[:,}\]])")


def check_of(schema: Mapping[str, Any] | None) -> Callable[[str], object]:
    """Returns the check of a reply to a prompt that brings none: by its schema, or for any text."""
    if schema is None:
        return _check_text

    def check(text: str) -> object:
        return find_json(text, fits)

    def fits(value: dict[str, Any]) -> object:
        import jsonschema

        try:
            jsonschema.validate(value, dict(schema))
        except jsonschema.ValidationError as error:
            where = ".".join(map(str, error.path)) or "reply"
            raise InvalidReplyError(f"{where}: {error.validator} fails") from None
        except RecursionError:
            raise InvalidReplyError("reply: nested too deeply") from None
        return value

    return check


def _check_text(text: str) -> None:
    if not text.strip():
        raise InvalidReplyError("The reply is empty")


def parse(text: str, model: type[_Model]) -> _Model:
    """Reads a reply's JSON object as an instance of `model`.

    Raises:
        InvalidReplyError: No JSON object, or none that `model` accepts.
    """

    def read(value: dict[str, Any]) -> _Model:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "reply"
            reason = f"{shown(where[:80])}: {shown(first['msg'][:200])}"
            raise InvalidReplyError(reason) from None
        except RecursionError:
            raise InvalidReplyError("The reply is nested too deeply") from None
        except Exception as error:
            # A validator of the user's may raise anything. It is one bad reply all the same.
            message = shown(clean(str(error))[:200])
            raise InvalidReplyError(f"{type(error).__name__}: {message}") from None

    return find_json(text, read)


def find_json(text: str, read: Callable[[dict[str, Any]], _Value]) -> _Value:
    """Reads the last JSON object in a reply that fits, whatever prose or fence is around it.

    A model may write an example first, or its draft. Slips that leave no doubt are mended: line
    breaks in strings, a comma before a closing bracket, curly quotes as JSON's own, a backslash
    that escapes nothing. What is cut off is not.

    Args:
        text: At most a million characters; longer replies are invalid. 64 braces at most are tried
            as a beginning.
        read: Makes a value of an object, without lone surrogates; raises `InvalidReplyError` where
            the object does not fit.

    Raises:
        InvalidReplyError: No object fits, or it is cut off, or it holds NaN, infinity, a number too
            long to read, or hundreds of levels.
    """
    refusal: InvalidReplyError | None = None
    for value in reversed(_objects(text)):
        try:
            return read(value)
        except InvalidReplyError as error:
            refusal = refusal or error
    assert refusal is not None  # there is at least one object
    raise refusal


def _objects(text: str) -> list[dict[str, Any]]:
    """Returns the objects that stand in a reply, without those inside others.

    Where reading fails, the search goes on behind that place: what a broken or cut object holds is
    no reply, and no text is read twice.
    """
    if len(text) > _MAX_CHARS:
        raise InvalidReplyError(f"The reply has {len(text):,} characters")
    text = _with_latex(without_thought(text))
    objects: list[dict[str, Any]] = []
    mended = False
    start, reason = text.find("{"), "The reply holds no JSON object"
    for _ in range(_MAX_STARTS):
        if start < 0:
            break
        try:
            value, end = _DECODER.raw_decode(text, start)
            objects.append(_without_surrogates(value, text))
            start = text.find("{", end)
        except json.JSONDecodeError as error:
            reason = f"The reply is not JSON: {error.msg}"
            if not mended:  # once, and from here on: what was read before is as it was
                text, start, mended = _mended(text[start:]), 0, True
                continue
            # The string has taken everything to the end of the reply.
            if error.msg.startswith("Unterminated string"):
                break
            start = text.find("{", max(error.pos, start + 1))
        except (ValueError, RecursionError) as error:
            raise InvalidReplyError(f"The reply is not JSON: {type(error).__name__}") from None
    if not objects:
        raise InvalidReplyError(reason)
    return objects


def _with_latex(text: str) -> str:
    """Doubles the single backslashes of LaTeX commands that JSON would read as escapes."""
    if "\\" not in text:
        return text
    if "$" in text:
        text = _MATH.sub(lambda math: _LATEX_IN_MATH.sub(r"\1\\\\", math[0]), text)
    return _LATEX.sub(r"\1\\\\", text)


def _mended(text: str) -> str:
    """Mends the slips in a text that begins with a brace."""
    if _CURLY_BEGIN.match(text):
        text = _CURLY.sub(lambda quote: f'{quote[1] or ""}"', text)
    text = _LONE_BACKSLASH.sub(r"\1\\\\", text)
    return _SPARE_COMMA.sub(lambda token: token[1] or "", text)


def _without_surrogates(value: dict[str, Any], text: str) -> dict[str, Any]:
    # Looking for one in the text first is cheaper than writing out the value, and hardly any reply
    # has one.
    if clean(text) is text and not _SURROGATE_ESCAPE.search(text):
        return value
    cleaned: dict[str, Any] = json.loads(clean(json.dumps(value, ensure_ascii=False)))
    return cleaned


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    """Reads a number, but not one beyond the range of floats, which Python reads as infinity."""
    number = float(digits)
    if not math.isfinite(number):
        _refuse(digits[:20])
    return number


# Python's decoder takes NaN and Infinity, which no file of JSON may hold. Line breaks may stand in
# strings, because small models seldom escape all of them.
_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse, parse_float=_finite)
