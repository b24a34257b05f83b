"""One page under its many addresses: escaped or not, on the mobile host, with a fragment, as an old revision."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from seedfree.filters.normalize import squeeze
from seedfree.records import Source

__all__ = ["page_names", "row_names"]

_ADDRESS = re.compile(r"(?:https?:)?//|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?::\d+)?/", re.IGNORECASE)
_REVISION = re.compile(r"\d{6,}|[0-9a-f]{16,}")
# What says how a page is shown or who sent the reader, not which page it is.
_VIEW = re.compile(
    r"utm_\w+|fbclid|gclid|oldid|diff|action|section|useskin|variant|uselang|mobileaction|redirect"
)

Name = tuple[str, ...]


def page_names(text: str) -> set[Name]:
    """What the source of a question says: an address, a title, or a revision's id; each as names that can be equal."""
    text = text.strip()
    if not text:
        return set()
    if _ADDRESS.match(text):
        names = _address(text)
        return names | {("title", name[-1]) for name in names if name[0] == "wiki"}
    names = {("file", text), ("title", _title(text)), ("named", _title(text))}
    return names | {("revision", text)} if _REVISION.fullmatch(text) else names


def row_names(source: Source) -> set[Name]:
    """The names of a row's page; none of a text that was written, whose title is its style."""
    if source.kind in ("written", "topic"):
        return set()
    url = (source.url or "").strip()
    names = _address(url) if _ADDRESS.match(url) else set()
    names |= {("named", name[-1]) for name in names if name[0] == "wiki"}
    if source.revision:
        names |= {("revision", host, source.revision) for _, host, *_ in names} | {
            ("revision", source.revision)
        }
    if source.title:
        # A title alone may be any wiki's; beside an address it answers a question that names the
        # title alone.
        names.add(("named" if url else "title", _title(source.title)))
    elif url and not _ADDRESS.match(url):
        # The documents of one file share its name, so that where they have titles it says too
        # little.
        names.add(("file", url))
    return names


def _title(text: str) -> str:
    return squeeze(text.replace("_", " "))


def _address(url: str) -> set[Name]:
    """`("url", host, path)`; of a wiki's page also `("wiki", host, title)`, and of an old revision its id."""
    try:
        parsed = urlsplit(url if "//" in url[:8] else f"//{url}")
        port = parsed.port
    except ValueError:
        return {("file", url)}
    labels = (parsed.hostname or "").rstrip(".").split(".")
    host = ".".join(label for label in labels[:-2] if label not in ("www", "m", "mobile"))
    host = ".".join(filter(None, [host, *labels[-2:]])) + (
        f":{port}" if port not in (None, 80, 443) else ""
    )
    query = {key: value for key, value in parse_qsl(parsed.query) if value}
    path = unquote(parsed.path).rstrip("/")
    names: set[Name] = set()
    if "oldid" in query:
        names.add(("revision", host, query["oldid"]))
    title = (
        query.pop("title", "")
        if path.endswith(("index.php", "/w", "/wiki"))
        else path.partition("/wiki/")[2]
    )
    if title:
        return names | {("wiki", host, _title(title))}
    rest = sorted((key, value) for key, value in query.items() if not _VIEW.fullmatch(key))
    place = squeeze(path) + "".join(f"&{key}={value}" for key, value in rest)
    # A bare index.php is every page of its wiki.
    return names if path.endswith("index.php") and not rest else names | {("url", host, place)}
