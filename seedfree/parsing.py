"""Reply text to fields. Nothing here runs or trusts what a model wrote; the only error is `InvalidReplyError`."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from seedfree.errors import InvalidReplyError

__all__ = ["find_json", "parse"]

_MAX_CHARS = 1_000_000
_STARTS = 64
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_Model = TypeVar("_Model", bound=BaseModel)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def find_json(text: str) -> dict[str, Any]:
    """The first JSON object in a reply, whatever prose, reasoning or code fence stands around it.

    Args:
        text: At most a million characters; longer replies are invalid. The first 64 braces are tried as a beginning.

    Raises:
        InvalidReplyError: There is none, it is cut off, or it holds NaN, infinity or a number too long to read.
    """
    if len(text) > _MAX_CHARS:
        raise InvalidReplyError(f"The reply has {len(text):,} characters")
    text = _THOUGHT.sub("", text)
    start, why = text.find("{"), "The reply holds no JSON object"
    for _ in range(_STARTS):
        if start < 0:
            break
        try:
            value, _end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            why = f"The reply is not JSON: {type(error).__name__}"
        else:
            if isinstance(value, dict):
                return value
        start = text.find("{", start + 1)
    raise InvalidReplyError(why)


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
        raise InvalidReplyError(f"{where[:80]}: {first['msg'][:200]}") from None
    except RecursionError:
        raise InvalidReplyError("The reply is nested too deeply") from None
