"""Text of unknown origin: made fit for UTF-8, for a terminal, for a file that others read."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from urllib.parse import quote

__all__ = ["clean", "keys_in", "redact", "shown"]

# Controls but tab and line feed; marks that turn the direction of text; line ends that are not
# "\n"; surrogates; the invisible tag letters. Joiners and zero-width spaces stay: Khmer, Burmese
# and Thai are written with them.
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_LONE = re.compile("(?<![\ud800-\udbff])[\udc00-\udfff]|[\ud800-\udbff](?![\udc00-\udfff])")
# What people type where a server wants a key but checks none ("EMPTY", "ollama") also stands in
# honest replies.
_SHORTEST_KEY = 16
_PUBLIC = frozenset(
    b"accept accept-encoding anthropic-version connection content-length content-type host user-agent".split()
)


def clean(text: str) -> str:
    """Joins surrogate pairs and replaces lone surrogates, which no UTF-8 file can hold."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE.sub("\ufffd", text).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    return text


def shown(text: str) -> str:
    r"""The text with control, bidi and other unseen characters as escapes (`\x1b`); line feeds and tabs stay."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def keys_in(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The values of a request's raw headers that may be keys: all but those that every request carries."""
    return frozenset(
        value.removeprefix(b"Bearer ") for name, value in headers if name.lower() not in _PUBLIC
    )


def redact(data: bytes, keys: frozenset[bytes]) -> bytes:
    """The data with `***` for every key of at least 16 bytes, as it is or URL-encoded, in any case of letters."""
    lowered = data.lower()
    for form in _forms(keys):
        if form in lowered:
            data = re.sub(re.escape(form), b"***", data, flags=re.IGNORECASE)
    return data


@functools.lru_cache(16)
def _forms(keys: frozenset[bytes]) -> list[bytes]:
    long = [key for key in keys if len(key) >= _SHORTEST_KEY]
    forms = {
        form for key in long for form in (key, quote(key).encode(), quote(key, safe="").encode())
    }
    return sorted((form.lower() for form in forms), key=len, reverse=True)
