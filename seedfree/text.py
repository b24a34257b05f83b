"""Text of unknown origin: made fit for UTF-8, for a terminal, for a file that others read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

__all__ = ["clean", "keys_in", "redact", "shown"]

# Controls but tab and line feed; marks that turn the direction of text; line ends that are not "\n"; surrogates;
# the invisible tag letters. Joiners and zero-width spaces stay: Khmer, Burmese and Thai are written with them.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_LONE = re.compile("(?<![\ud800-\udbff])[\udc00-\udfff]|[\ud800-\udbff](?![\udc00-\udfff])")
# What people type where a server wants a key but checks none ("EMPTY", "ollama") also stands in honest replies.
_SHORTEST_KEY = 16
_PUBLIC = frozenset(
    "accept accept-encoding anthropic-version connection content-length content-type host user-agent".split()
)


def clean(text: str) -> str:
    """Joins surrogate pairs and replaces lone surrogates, which no UTF-8 file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE.sub("\ufffd", text).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    return text


def shown(text: str) -> str:
    r"""The text with control, bidi and other unseen characters as escapes (`\x1b`); line feeds and tabs stay."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def keys_in(headers: Mapping[str, str]) -> list[str]:
    """The values of a request's headers that may be keys: all but those that every request carries."""
    return [value.removeprefix("Bearer ") for name, value in headers.items() if name.lower() not in _PUBLIC]


def redact(data: bytes, keys: Iterable[str]) -> bytes:
    """The data with `***` for every key of at least 16 characters, as it is or URL-encoded."""
    forms = {form for key in keys if len(key) >= _SHORTEST_KEY for form in (key, quote(key), quote(key, safe=""))}
    for form in sorted(forms, key=len, reverse=True):
        data = re.sub(re.escape(form.encode()), b"***", data, flags=re.IGNORECASE)
    return data
