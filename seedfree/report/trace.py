"""What the ledger adds to a run's rows: the prompt that made each, and how long replies took."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from seedfree.engine.ledger import Entry
from seedfree.engine.salvage import readable_entries
from seedfree.records import Instruction
from seedfree.text import clean

__all__ = ["Asked", "Trace", "trace"]

# Bytes of a ledger beyond which it is not read: everything in it is held at once.
_LARGEST = 2**30
# Characters, without white space, by which a piece of a reply is known again in a row.
_TELLING = 12
_DOCUMENT = re.compile(r'<document id="(\w+)">\n(.*?)\n</document id="\1">', re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """A prompt as it was sent.

    Attributes:
        system, user: Its texts; of a chat, all turns of each.
    """

    system: str
    user: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """Returns what stands before the text that the prompt is about, the text, what follows.

        Without a text, all stands in the first.
        """
        found = _DOCUMENT.search(self.user)
        if found is None:
            return self.user, "", ""
        return self.user[: found.start(2)], found[2], self.user[found.end(2) :]


@dataclass(frozen=True)
class Trace:
    """What a ledger says.

    Attributes:
        asked: By row id, the prompt whose reply holds the row's texts.
        seconds: By stage, how long each request took, retries and waiting included, in whole
            seconds.
    """

    asked: Mapping[str, Asked] = field(default_factory=dict)
    seconds: Mapping[str, Sequence[float]] = field(default_factory=dict)


def trace(folder: Path, rows: Iterable[Instruction]) -> Trace:
    """Reads a run's ledger beside its rows. Empty where there is none, or one above 1 GB.

    A row does not say which reply it was made from, since that is none of the data: it is the one,
    of the row's task if there is any, that has most of the row's characters in it.
    """
    path = folder / "ledger.sqlite"
    if not path.is_file() or path.stat().st_size > _LARGEST:
        return Trace()
    requests: dict[str, Entry] = {}
    seconds: dict[str, list[float]] = defaultdict(list)
    pieces: dict[str, dict[str, None]] = defaultdict(dict)
    for entry in readable_entries(folder, "request", "reply"):
        if entry.kind == "request":
            requests[entry.key] = entry
        elif (request := requests.get(entry.key)) is not None:
            if (stage := request.headers.get("stage")) and request.at and entry.at:
                seconds[stage].append(_seconds(request.at, entry.at))
            for text in _texts(entry.body.decode("utf-8", "replace")):
                for piece in _pieces(text):
                    pieces[piece][entry.key] = None
    asked = {}
    for row in rows:
        key = _best(row, pieces, requests)
        if key is not None:
            asked[row.id] = _asked(requests[key].body)
    return Trace(asked, seconds)


def _best(
    row: Instruction, pieces: Mapping[str, Iterable[str]], requests: Mapping[str, Entry]
) -> str | None:
    """Returns the key of the request whose reply shares most with a row."""
    shared: Counter[str] = Counter()
    texts = [row.instruction, row.output, row.evidence, *(turn.content for turn in row.messages)]
    for piece in {piece for text in texts for piece in _pieces(text)}:
        for key in pieces.get(piece, ()):
            shared[key] += len(piece)
    # Other stages quote rows: the appeal, the judge, a look at the row.
    of_task = {key for key in shared if requests[key].headers.get("stage") == row.task}
    return max(of_task or shared, key=shared.__getitem__, default=None)


def _pieces(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        piece = "".join(line.split())
        if len(piece) >= _TELLING:
            yield piece


def _texts(text: str) -> Iterator[str]:
    """Yields the texts in a reply: its strings, and the strings of JSON inside them."""
    inner = text[text.find("{") : text.rfind("}") + 1]
    if inner:
        with suppress(ValueError, RecursionError):
            yield from _strings(json.loads(inner))
            return
    yield text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _texts(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def _seconds(start: str, end: str) -> float:
    with suppress(ValueError):
        taken = datetime.fromisoformat(end) - datetime.fromisoformat(start)
        return max(taken.total_seconds(), 0.0)
    return 0.0


def _asked(body: bytes) -> Asked:
    """Reads a request as `engine.request` records it: a prompt, or a path and a provider's JSON."""
    text = clean(body.decode("utf-8", "replace")).rpartition("\x1f")[2]
    try:
        sent = json.loads(text)
    except (ValueError, RecursionError):
        return Asked("", text)
    if not isinstance(sent, dict):
        return Asked("", text)
    turns = sent.get("messages")
    if not isinstance(turns, list):
        return Asked(_said(sent.get("system")), _said(sent.get("user") or sent.get("prompt")))
    by_role: dict[bool, list[str]] = {True: [_said(sent.get("system"))], False: []}
    for turn in turns:
        if isinstance(turn, dict):
            by_role[turn.get("role") == "system"].append(_said(turn.get("content")))
    return Asked(*("\n\n".join(filter(None, by_role[role])) for role in (True, False)))


def _said(value: Any) -> str:
    """Returns a text, or the texts of a list of blocks."""
    if isinstance(value, list):
        return "\n\n".join(_said(each.get("text")) for each in value if isinstance(each, dict))
    return clean(value) if isinstance(value, str) else ""
