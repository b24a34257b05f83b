"""API keys, which must not get into ledgers, logs and errors."""

from __future__ import annotations

import base64
import binascii
import contextlib
import functools
import os
import re
from collections.abc import Iterable
from typing import Any

from pydantic import SecretStr

from seedfree.errors import ConfigError

__all__ = ["find_key", "keep_key", "keys_in", "redact"]

# What an HTTP header can carry in a key: ASCII from "!" to "~", no spaces.
_KEY = re.compile(r"[!-~]+")
# What people type where a server wants a key but checks none ("EMPTY", "ollama") also stands in
# honest replies.
_SHORTEST_KEY = 16
# Headers that hold no key. A key may be in any other: gateways have names of their own for it.
_PUBLIC = frozenset(
    b"accept accept-encoding anthropic-version connection content-length content-type host "
    b"user-agent".split()
)
# What stands before the key in a header's value.
_SCHEME = re.compile(rb"\s*(?:bearer|token|basic|api-?key|key)\s+(\S+)\s*", re.I)
_COOKIE = re.compile(rb"=\s*\"?([^;,\s\"]+)")
# A part of any value that is not a word: a title in a header also stands in honest replies.
_PART = re.compile(rb"(?=[^\s;,=:\"]*\d)[^\s;,=:\"]+=*")
# The ways in which JSON and URLs write a character, also once more inside another JSON text.
_ESCAPE = re.compile(rb"\\+u00([0-7][0-9a-f])|%(?:25)*([0-7][0-9a-f])|\\+(?=[/\"])", re.I)
# One of these stands in each of them.
_SIGNS = (b"%", b"\\u00", b"\\/", b'\\"')


def keep_key(key: str | SecretStr | None, name: str = "api_key") -> SecretStr | None:
    """Returns a key as a secret, without the white space that pasting adds; `None` if empty.

    Raises:
        ConfigError: It holds characters that no HTTP header can carry.
    """
    text = key.get_secret_value() if isinstance(key, SecretStr) else key or ""
    text = text.strip()
    if not text:
        return None
    if not _KEY.fullmatch(text):
        raise ConfigError(
            f"{name} holds spaces or characters outside ASCII", hint="Copy the key again."
        )
    return SecretStr(text)


def find_key(key: SecretStr | None, variable: str | None) -> str | None:
    """Returns the key as given, else that in the environment, as it is now.

    An environment variable may change while a notebook is open.
    """
    if not key and variable:
        key = keep_key(os.environ.get(variable), variable)
    return key.get_secret_value() if key else None


def keys_in(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Returns the values of a request's raw headers that may be keys."""
    return frozenset(value for name, value in headers if name.lower() not in _PUBLIC)


def redact(data: bytes, keys: frozenset[bytes]) -> bytes:
    """Returns the data with `***` for every key of at least 16 bytes.

    Keys are found in upper and lower case, as they are, escaped as in JSON or URL-encoded, and
    without what stands before them in a header's value, such as "Bearer".
    """
    forms = _forms(keys)
    if not forms:
        return data
    plain = data
    # Most escapes are of letters that no key has, and to look is much quicker than to replace.
    if any(sign in data for sign in _SIGNS):
        plain = _ESCAPE.sub(_unescaped, data)
    plain, lowered = plain.lower(), data.lower()
    for form, pattern in forms:
        # The plain search comes first: hardly any answer holds a key, and patterns are slower.
        if form in plain or form in lowered:
            data = pattern.sub(b"***", data)
    return data


def _unescaped(match: re.Match[bytes]) -> bytes:
    digits = match[1] or match[2]
    return bytes.fromhex(digits.decode()) if digits else b""


# Kept, because all requests of a backend have the same keys.
@functools.lru_cache(16)
def _forms(keys: frozenset[bytes]) -> list[tuple[bytes, re.Pattern[bytes]]]:
    """Returns every key in lower case, with the pattern of what servers make of it."""
    forms = {part.lower() for key in keys for part in _parts(key) if len(part) >= _SHORTEST_KEY}
    # The longest first: a shorter form inside it would leave the rest.
    ordered = sorted(forms, key=lambda form: (-len(form), form))
    return [(form, re.compile(b"".join(map(_any_form, form)), re.I)) for form in ordered]


def _parts(value: bytes) -> set[bytes]:
    """Returns what may be a key in a header's value, the whole of it included."""
    parts = {value, *_COOKIE.findall(value), *_PART.findall(value)}
    if match := _SCHEME.fullmatch(value):
        parts.add(match[1])
        with contextlib.suppress(binascii.Error):
            # Basic: the user's name and the password.
            plain = base64.b64decode(match[1], validate=True)
            if b":" in plain:
                parts |= {plain, plain.partition(b":")[2]}
    return parts


def _any_form(code: int) -> Any:
    """Returns the pattern of one byte: as it is, or escaped."""
    plain = re.escape(bytes([code]))
    before = b"\\\\*" if bytes([code]) in b'/"\\' else b""
    return before + rb"(?:%b|\\+u00%02x|%%(?:25)*%02x)" % (plain, code, code)
