"""JSON schemas in the narrow form that providers accept for structured output.

Every object is closed and all its keys are required, references are resolved, and constraints that
a provider rejects move into the description, where the model still reads them. Anthropic:
platform.claude.com/docs/en/build-with-claude/structured-outputs; OpenAI:
platform.openai.com/docs/guides/structured-outputs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from seedfree.errors import ConfigError, InvalidReplyError
from seedfree.text import clean, shown

__all__ = ["CONSTRAINTS", "closed_schema", "find_json", "parse"]

_MAX_CHARS = 1_000_000
_STARTS = 64
# A thought that does not end leaves no answer.
_THOUGHT = re.compile(r"\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_LONE = re.compile(r"\\u[dD][89a-fA-F]")
_Model = TypeVar("_Model", bound=BaseModel)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits[:20])


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def find_json(text: str) -> dict[str, Any]:
    """The first JSON object in a reply, whatever prose, reasoning or code fence stands around it.

    Where reading fails, the search goes on behind that place: what a broken or cut object holds is
    no reply, and no text is read twice.

    Args:
        text: At most a million characters; longer replies are invalid. 64 braces at most are tried
            as a beginning.

    Returns:
        An object without lone surrogates.

    Raises:
        InvalidReplyError: There is none, it is cut off, or it holds NaN, infinity, a number too
            long to read, or hundreds of levels.
    """
    if len(text) > _MAX_CHARS:
        raise InvalidReplyError(f"The reply has {len(text):,} characters")
    thought = _THOUGHT.match(text)
    start, why = text.find("{", thought.end() if thought else 0), "The reply holds no JSON object"
    for _ in range(_STARTS):
        if start < 0:
            break
        try:
            value: dict[str, Any] = _DECODER.raw_decode(text, start)[0]
            return (
                _without_surrogates(value)
                if _LONE.search(text) or clean(text) is not text
                else value
            )
        except json.JSONDecodeError as error:
            why = f"The reply is not JSON: {error.msg}"
            if error.msg.startswith("Unterminated string"):
                break
            start = text.find("{", max(error.pos, start + 1))
        except (ValueError, RecursionError) as error:
            raise InvalidReplyError(f"The reply is not JSON: {type(error).__name__}") from None
    raise InvalidReplyError(why)


def _without_surrogates(value: dict[str, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = json.loads(clean(json.dumps(value, ensure_ascii=False)))
    return cleaned


def parse(text: str, model: type[_Model]) -> _Model:
    """A reply's JSON object as an instance of `model`.

    Raises:
        InvalidReplyError: No JSON object, or one that `model` does not accept.
    """
    value = find_json(text)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "reply"
        raise InvalidReplyError(f"{shown(where[:80])}: {shown(first['msg'][:200])}") from None
    except RecursionError:
        raise InvalidReplyError("The reply is nested too deeply") from None
    except Exception as error:
        # a validator of the user's may raise anything; the reply is data
        raise InvalidReplyError(
            f"{type(error).__name__}: {shown(clean(str(error))[:200])}"
        ) from None


CONSTRAINTS = frozenset(
    "minLength maxLength pattern format minimum maximum exclusiveMinimum exclusiveMaximum multipleOf "
    "minItems maxItems uniqueItems minProperties maxProperties".split()
)
_KEPT = ("type", "enum", "const", "description")
_REFUSED = frozenset(
    "not if then else prefixItems patternProperties propertyNames contains unevaluatedProperties unevaluatedItems "
    "dependentRequired dependentSchemas dependencies additionalItems".split()
)
_HINT = "Use plain fields, lists and nested models in the task's Fields."


def closed_schema(schema: Mapping[str, Any], *, keep: Collection[str] = ()) -> dict[str, Any]:
    """The schema with closed objects, without references, titles and defaults.

    Args:
        schema: An object schema, such as pydantic makes. It is not changed.
        keep: Those of `CONSTRAINTS` that the provider accepts.

    Raises:
        ConfigError: The schema refers to itself, leaves an object's keys open, or uses keywords
            that no provider takes.
    """
    closed = _close(schema, schema, "reply", frozenset(), frozenset(keep))
    if closed.get("type") != "object":
        raise ConfigError(
            "The schema of a reply is not an object", hint="Put the value into a field of a model."
        )
    return closed


def _close(
    node: object, root: Mapping[str, Any], where: str, seen: frozenset[str], keep: frozenset[str]
) -> dict[str, Any]:
    if not isinstance(node, Mapping):
        raise ConfigError(f"The schema of {where} is not an object", hint=_HINT)
    while "$ref" in node:
        ref = node["$ref"]
        if ref in seen:
            raise ConfigError(
                f"The schema of {where} refers to itself", hint="Nest models to a fixed depth."
            )
        seen |= {ref}
        node = {
            **_find(ref, root, where),
            **{key: value for key, value in node.items() if key != "$ref"},
        }
    single = node.get("allOf")
    if isinstance(single, list) and len(single) == 1:
        rest = {key: value for key, value in node.items() if key != "allOf"}
        return _close({**single[0], **rest}, root, where, seen, keep)
    if isinstance(kinds := node.get("type"), list):
        rest = {key: value for key, value in node.items() if key not in ("type", "description")}
        node = {**_take(node, "description"), "anyOf": [{**rest, "type": kind} for kind in kinds]}
    refused = sorted(_REFUSED.intersection(node)) + (["allOf"] if "allOf" in node else [])
    if refused:
        raise ConfigError(f"The schema of {where} uses {', '.join(refused)}", hint=_HINT)

    result = _take(node, *_KEPT)
    options = node.get("anyOf", node.get("oneOf"))
    if options is not None:
        result["anyOf"] = [_close(option, root, where, seen, keep) for option in options]
    if node.get("type") == "object":
        fields = node.get("properties", {})
        if not fields or isinstance(node.get("additionalProperties"), Mapping):
            raise ConfigError(f"The schema of {where} leaves its keys open", hint=_HINT)
        result["properties"] = {
            key: _close(value, root, key, seen, keep) for key, value in fields.items()
        }
        result |= {"required": list(fields), "additionalProperties": False}
    if node.get("type") == "array":
        if "items" not in node:
            raise ConfigError(f"The schema of {where} does not say what the list holds", hint=_HINT)
        result["items"] = _close(node["items"], root, where, seen, keep)
    if not result.keys() & {"type", "anyOf", "enum", "const"}:
        raise ConfigError(f"The schema of {where} accepts anything", hint=_HINT)
    return _constrain(result, node, keep)


def _constrain(
    result: dict[str, Any], node: Mapping[str, Any], keep: frozenset[str]
) -> dict[str, Any]:
    dropped = []
    for name in sorted(CONSTRAINTS.intersection(node)):
        if name in keep:
            result[name] = node[name]
        else:
            dropped.append(f"{name} {node[name]}")
    if dropped:
        result["description"] = f"{result.get('description', '')} ({', '.join(dropped)})".lstrip()
    return result


def _take(node: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: node[name] for name in names if name in node}


def _find(ref: object, root: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    found: Any = root
    try:
        first, *parts = str(ref).split("/")
        if first != "#":
            raise KeyError(first)
        for part in parts:
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return dict(found)
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"The schema of {where} refers to {str(ref)[:80]!r}, which it does not hold"
        ) from None
