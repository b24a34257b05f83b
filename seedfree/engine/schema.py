"""JSON schemas in the narrow form that providers accept for structured output.

Every object is closed and all its keys are required, references are resolved, and constraints that
a provider rejects move into the description, where the model still reads them. Anthropic:
platform.claude.com/docs/en/build-with-claude/structured-outputs; OpenAI:
platform.openai.com/docs/guides/structured-outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from seedfree.errors import ConfigError

__all__ = ["CONSTRAINTS", "closed_schema"]

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
