"""When a provider will answer again, by the headers of what it answered."""

from __future__ import annotations

import contextlib
import email.utils
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import httpx

__all__ = ["exhausted_until", "retry_after"]

# A number in a reset header is either seconds to come or a time since 1970. 1e8 seconds to come
# would be three years, and 1e8 seconds since 1970 were over in 1973.
_FIRST_TIME = 1e8
# The same for seconds and milliseconds since 1970: the year 5138, or 1973.
_FIRST_MILLISECONDS = 1e11
# Anthropic puts the kind first, OpenAI last; other providers follow OpenAI.
# platform.claude.com/docs/en/api/rate-limits; platform.openai.com/docs/guides/rate-limits
_HEADER = re.compile(
    rb"(?i)(?:anthropic-ratelimit-(?P<kind>[a-z-]+?)-(?P<what>remaining|reset)"
    rb"|x-ratelimit-(?P<what2>remaining|reset)(?:-(?P<kind2>[a-z-]+))?)"
)
# OpenAI's spans: "1h2m3s", "6m0s", "17ms". The minutes must not take the "m" of "ms".
_SPAN = re.compile(
    r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)
_SPAN_SECONDS = (3600, 60, 1, 0.001)


def retry_after(headers: httpx.Headers, now: float) -> float | None:
    """Returns the seconds to wait; `None` where nothing is said, or nonsense.

    They are in `retry-after-ms`, else in `retry-after`, as seconds or as an HTTP date.

    Args:
        now: Seconds since 1970, to subtract from a date where the server does not say its time.
    """
    now = _server_time(headers.get("date", ""), now)
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        with contextlib.suppress(ValueError, OverflowError):
            seconds = _seconds(headers.get(name, ""), unit, now)
            if math.isfinite(seconds) and seconds >= 0:
                return seconds
    return None


def _seconds(value: str, unit: float, now: float) -> float:
    try:
        return float(value) / unit
    except ValueError:
        return email.utils.parsedate_to_datetime(value).timestamp() - now


def _server_time(date: str, now: float) -> float:
    """Returns the seconds since 1970 of a `Date` header; `now` where there is none.

    A server's dates are to be read by its own clock: this machine's may be an hour slow.
    """
    with contextlib.suppress(ValueError, OverflowError):
        return email.utils.parsedate_to_datetime(date).timestamp()
    return now


def exhausted_until(headers: Iterable[tuple[bytes, bytes]], tokens: int, now: float) -> float:
    """Reads a provider's rate-limit headers.

    Args:
        headers: Raw header fields.
        tokens: What a request may use.
        now: Seconds since 1970, where the headers do not say the time.

    Returns:
        Seconds until there is enough for another request; 0 if there is, or if nothing is said.
    """
    reported: dict[bytes, dict[bytes, str]] = defaultdict(dict)
    for name, value in headers:
        if name.lower() == b"date":
            now = _server_time(value.decode("ascii", "replace"), now)
        # The plain search comes first because most headers are others, and the pattern is slower.
        if b"ratelimit" in name.lower() and (match := _HEADER.fullmatch(name)):
            kind = match["kind"] or match["kind2"] or b"requests"
            what = match["what"] or match["what2"]
            reported[kind.lower()][what.lower()] = value.decode("ascii", "replace").strip()
    longest = 0.0
    for kind, fields in reported.items():
        remaining = fields.get(b"remaining", "")
        needed = 1 if kind == b"requests" else max(1, tokens)
        # Not `int`, which raises for thousands of digits.
        if remaining.isdecimal() and float(remaining) < needed:
            longest = max(longest, _seconds_until(fields.get(b"reset", ""), now))
    return longest


def _seconds_until(reset: str, now: float) -> float:
    """Reads a reset as providers write it; 0 for nonsense.

    It is a number (see `_FIRST_TIME`), a span such as `6m0s`, or a time in RFC 3339.
    """
    with contextlib.suppress(ValueError):
        return _seconds_of_number(float(reset), now)
    # Every part of the pattern is optional, so that it matches an empty text too.
    if reset and (span := _SPAN.fullmatch(reset)):
        parts = zip(span.groups(), _SPAN_SECONDS, strict=True)
        return _finite(sum(float(part or 0) * seconds for part, seconds in parts))
    try:
        return datetime.fromisoformat(reset).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0


def _seconds_of_number(number: float, now: float) -> float:
    if number > _FIRST_MILLISECONDS:
        number /= 1000
    if number >= _FIRST_TIME:
        number -= now
    return _finite(number)


def _finite(number: float) -> float:
    """Returns 0 for "nan", "inf" and thousands of digits, all of which `float` reads."""
    return number if math.isfinite(number) else 0.0
