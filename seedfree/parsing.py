"""Reply text to fields. Nothing here runs or trusts what a model wrote; the only error is `InvalidReplyError`."""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from seedfree.errors import InvalidReplyError
from seedfree.text import clean, shown

__all__ = ["find_json", "parse"]

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
