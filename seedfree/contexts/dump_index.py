"""The index of a dump: one SQLite file with the texts of its pages, their names and their words.

It is built once, under another name, and gets its own name when it is whole. A build that is killed
goes on after the last pages that it kept.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from filelock import FileLock
from tqdm import tqdm

from seedfree._files import sync_folder
from seedfree.contexts.condition import cleaned
from seedfree.contexts.copied import Shingles
from seedfree.contexts.dump_files import Dump, RawPage, fingerprint, open_dump
from seedfree.contexts.formats.wikitext import read_template
from seedfree.errors import ConfigError
from seedfree.text import clean, count_scripts, letters_and_digits

__all__ = ["DumpIndex", "IndexedPage"]

_LOG = logging.getLogger("seedfree")
# "sfdu" in ASCII: by it one of our own files is known.
_MARK = 0x73666475
# Raised where the same dump gives another index.
_VERSION = 2
# Pages that a kill may cost, and that are held at a time.
_BATCH = 500
# Characters of a page at most, as from the wiki's API, and of its source: MediaWiki takes 2 MiB.
_LONGEST_PAGE, _LONGEST_SOURCE = 200_000, 2**21
# Characters at the beginning of a page whose words are searched: a page that is about a topic names
# it there.
_LEAD = 500
# Bytes of the searched words that are sorted in memory. The more, the fewer pieces are merged.
_SORTED = 2**26
# Characters: below, a page is left out at once.
_SHORTEST = 100
# Shares from which on a page is left out: of text in lists, and of text that many pages have.
_MOST_LISTED, _MOST_COPIED = 0.7, 0.6
# Share of a wiki's text from which on a script is one of its own.
_OWN_SCRIPT = 0.1
# Scripts without spaces between words: there any three letters are a word to the search.
_UNSPACED = frozenset({"Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Han"})
_KANA = {"Hiragana": "Han", "Katakana": "Han"}
# Names of templates for disambiguation pages, where a dump has no templates.
_LISTS_OTHERS = frozenset({"disambig", "disambiguation", "dab"})
# A template is taken for one of these through so many others.
_DEPTH = 3
_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE pages (
    id INTEGER PRIMARY KEY, title TEXT, url TEXT, revision TEXT, page_id TEXT, chars INTEGER,
    listed REAL, script TEXT, copied REAL DEFAULT 0, category TEXT, reason TEXT DEFAULT '',
    text BLOB
);
CREATE TABLE categories (name TEXT, page INTEGER, PRIMARY KEY (name, page)) WITHOUT ROWID;
CREATE TABLE names (name TEXT, page INTEGER, PRIMARY KEY (name, page)) WITHOUT ROWID;
CREATE TABLE redirects (title TEXT, target TEXT);
CREATE TABLE uses (page INTEGER, templates TEXT);
CREATE TABLE templates (name TEXT, lists_others INTEGER, uses TEXT);
"""


class IndexedPage(NamedTuple):
    """A page of the index.

    Attributes:
        text: Cleaned, with headings as `== Heading ==` where the dump has them.
        reason: Why it is left out, in a few words; empty for one that is not.
    """

    id: int
    title: str
    url: str
    revision: str
    page_id: str
    reason: str
    text: str


class DumpIndex:
    """Looks pages up. Any thread may ask.

    Attributes:
        about: What was indexed: `dump` (its fingerprint), `name`, `pages`, `kept`, `skipped` by
            reason, and `share_skipped`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = _connected(path, "mode=ro&immutable=1")
        self._lock = threading.Lock()
        self.about = _about(self._db)
        self.headed: bool = self.about["headed"]
        self.unspaced: bool = self.about["unspaced"]

    @classmethod
    def of(cls, dump: Path, folder: Path | None = None) -> DumpIndex:
        """Opens the index of a dump, and builds it first where there is none of this very dump.

        Args:
            folder: Where it stands. By default that of the dump.

        Raises:
            ConfigError: The dump cannot be read, the folder cannot be written, or another file
                stands in the place of the index.
        """
        path = (folder or dump.parent) / f"{dump.name}.index"
        wanted = {"dump": fingerprint(dump), "version": _VERSION}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _is_of(path, wanted):
                with FileLock(path.with_name(f".{path.name}.lock")):
                    # Another process may have built it meanwhile.
                    if not _is_of(path, wanted):
                        _Build(dump, path, wanted).run()
            return cls(path)
        except (OSError, sqlite3.Error) as error:
            hint = "Make room and the folder writable, or pass cache='another folder'."
            raise ConfigError(f"Cannot keep the index {path}: {error}", hint=hint) from error

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def titled(self, text: str) -> list[int]:
        """Returns ids of the pages that have this title, or to which it is redirected."""
        name = letters_and_digits(text)
        found = self._rows("SELECT page FROM names WHERE name = ? ORDER BY page", name)
        return [page for (page,) in found]

    def search(self, words: Sequence[str], results: int) -> list[int]:
        """Returns ids of the pages that hold all the words, best first. Titles weigh most.

        Args:
            results: The most pages, at least 1.
        """
        phrases = " ".join('"{}"'.format(word.replace('"', '""')) for word in words)
        if not phrases:
            return []
        found = self._rows(
            "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, 10.0) LIMIT ?",
            phrases,
            results,
        )
        return [page for (page,) in found]

    def page(self, page_id: int) -> IndexedPage | None:
        """Returns a page, usable or not; `None` if there is none."""
        found = self._rows(
            "SELECT id, title, url, revision, page_id, reason, text FROM pages WHERE id = ?",
            page_id,
        )
        for *values, text in found:
            return IndexedPage._make([*values, zlib.decompress(text).decode()])
        return None

    def usable(self, categories: Iterable[str], chars: tuple[int, int]) -> list[tuple[int, str]]:
        """Returns id and first category of the pages that are not left out, by id.

        Args:
            categories: Only pages in one of these; all if there are none.
            chars: Only pages of this length, from and to, in code points.
        """
        names = json.dumps(list(categories))
        return self._rows(
            "SELECT id, category FROM pages WHERE reason = '' AND chars BETWEEN ? AND ?"
            " AND (? = '[]' OR id IN (SELECT page FROM categories"
            " WHERE name IN (SELECT value FROM json_each(?)))) ORDER BY id",
            *chars,
            names,
            names,
        )

    def draw(self, rng: Random) -> int | None:
        """Returns the id of a random page that is not left out; `None` if all are."""
        # As MediaWiki draws one: what follows a gap comes a little more often.
        found = self._rows(
            "SELECT id FROM pages WHERE +reason = '' AND id >= ? ORDER BY id LIMIT 1",
            rng.random() * self.about["last"],
        )
        return found[0][0] if found else None

    def _rows(self, query: str, *values: object) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            what = f"The index {self._path} is damaged: {error}"
            raise ConfigError(what, hint="Delete it, and it is built again.") from error


def _connected(path: Path, options: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{options}"
    return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)


@contextmanager
def _whole(db: sqlite3.Connection) -> Iterator[None]:
    """Makes all statements of a block count, or none."""
    # Python's own transactions leave out the statements that make tables.
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _about(db: sqlite3.Connection) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in db.execute("SELECT * FROM about")}


def _is_of(path: Path, wanted: dict[str, Any]) -> bool:
    """Tells whether a file is the index of a dump; `False` if there is none, or of another dump.

    Raises:
        ConfigError: The file is none of ours.
    """
    # What a kill leaves of a first step is empty.
    if not path.exists() or not path.stat().st_size:
        return False
    try:
        # To write, because a kill may have left a change to be undone.
        with closing(_connected(path, "mode=rw")) as db:
            if db.execute("PRAGMA application_id").fetchone()[0] == _MARK:
                return wanted.items() <= _about(db).items()
    except sqlite3.DatabaseError:
        pass
    hint = "Move it away, or pass cache='another folder'."
    raise ConfigError(f"{path} is there already, and is no index of ours", hint=hint)


class _Build:
    """Builds an index."""

    def __init__(self, dump: Path, path: Path, wanted: dict[str, Any]) -> None:
        self._path, self._place, self._wanted = dump, path, wanted
        self._part = path.with_name(f"{path.name}.part")

    def run(self) -> None:
        """Reads all pages, or those that an earlier build did not come to, and names the file."""
        dump = open_dump(self._path)
        if not _is_of(self._part, self._wanted):
            self._part.unlink(missing_ok=True)
        _LOG.info("Building the index of %s, once", self._path.name)
        with closing(_connected(self._part, "mode=rwc")) as db:
            if not db.execute("PRAGMA application_id").fetchone()[0]:
                _begin(db, self._path, self._wanted)
            self._read(db, dump)
            if fingerprint(self._path) != self._wanted["dump"]:
                what = f"{self._path.name} changed while it was read"
                raise ConfigError(what, hint="Run it again when it is there whole.")
            with _whole(db):
                _finish(db, dump.headed)
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._part.replace(self._place)
        sync_folder(self._place.parent)

    def _read(self, db: sqlite3.Connection, dump: Dump) -> None:
        done = _about(db)["done"]
        batch: list[RawPage] = []
        bar = tqdm(desc="pages", unit="", initial=done, disable=None)
        with bar:
            for page in dump.pages(done):
                batch.append(page)
                if len(batch) == _BATCH:
                    done = _keep(db, dump, batch, done)
                    bar.update(len(batch))
                    batch.clear()
            _keep(db, dump, batch, done)


def _begin(db: sqlite3.Connection, dump: Path, wanted: dict[str, Any]) -> None:
    with _whole(db):
        for statement in _TABLES.split(";"):
            db.execute(statement)
        _tell(db, **wanted, name=dump.name, done=0)
        db.execute(f"PRAGMA application_id = {_MARK}")


def _tell(db: sqlite3.Connection, **about: Any) -> None:
    rows = [(name, json.dumps(value)) for name, value in about.items()]
    db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)


def _keep(db: sqlite3.Connection, dump: Dump, batch: Sequence[RawPage], done: int) -> int:
    """Keeps pages, and how many are done with them, at once."""
    with _whole(db):
        for page in batch:
            if page.namespace == 0:
                _add(db, dump, page)
            elif page.namespace == 10:
                _add_template(db, page)
        _tell(db, done=done + len(batch))
    return done + len(batch)


def _add(db: sqlite3.Connection, dump: Dump, page: RawPage) -> None:
    # A redirect that the dump marks need not be read.
    page = page._replace(source=page.source[:_LONGEST_SOURCE])
    read = None if page.target else dump.read(page)
    target = page.target or (read.target if read else "")
    if read is None or target:
        db.execute("INSERT INTO redirects VALUES (?, ?)", (clean(page.title), clean(target)))
        return
    text = cleaned(clean(read.text)[:_LONGEST_PAGE])
    scripts = Counter[str]()
    for script, letters in count_scripts(text).items():
        scripts[_KANA.get(script, script)] += letters
    category = read.categories[0] if read.categories else ""
    row = (
        page.id,
        clean(page.title),
        clean(page.url),
        page.revision,
        page.page_id,
        len(text),
        read.listed,
        max(sorted(scripts), key=scripts.__getitem__, default=""),
        clean(category),
        "broken markup" if read.broken else "",
        zlib.compress(text.encode(), 6),
    )
    db.execute(
        "INSERT OR REPLACE INTO pages (id, title, url, revision, page_id, chars, listed, script,"
        " category, reason, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    named = [(clean(name), page.id) for name in read.categories]
    db.executemany("INSERT OR IGNORE INTO categories VALUES (?, ?)", named)
    if read.templates:
        names = "\n".join(map(_folded, read.templates))
        db.execute("INSERT INTO uses VALUES (?, ?)", (page.id, names))


def _add_template(db: sqlite3.Connection, page: RawPage) -> None:
    name = _folded(page.title.partition(":")[2])
    lists_others, uses = read_template(page.source)
    if page.target:
        lists_others, uses = False, (page.target.partition(":")[2],)
    names = "\n".join(map(_folded, uses))
    db.execute("INSERT INTO templates VALUES (?, ?, ?)", (name, lists_others, names))


def _folded(name: str) -> str:
    """Returns a template's name as it is compared."""
    return " ".join(clean(name).replace("_", " ").split()).casefold()


def _finish(db: sqlite3.Connection, headed: bool) -> None:
    """Says of each page whether it is of use, and makes what is searched."""
    letters = dict(
        db.execute("SELECT script, sum(chars) FROM pages WHERE script <> '' GROUP BY script")
    )
    script = max(sorted(letters), key=letters.__getitem__, default="")
    # A wiki may be written in two scripts, as the Serbian one is.
    own = [name for name in letters if letters[name] >= _OWN_SCRIPT * sum(letters.values())]
    lists_others = _disambiguations(db)
    _measure_copies(db)
    rules = [
        ("hardly any text", "chars < ?", _SHORTEST),
        ("another script", "script NOT IN (SELECT value FROM json_each(?))", json.dumps(own)),
        ("a list or a table", "listed > ?", _MOST_LISTED),
        ("copied text", "copied > ?", _MOST_COPIED),
    ]
    for page in lists_others:
        db.execute("UPDATE pages SET reason = 'a list of pages' WHERE id = ?", (page,))
    for reason, rule, value in rules:
        query = f"UPDATE pages SET reason = ? WHERE reason = '' AND {rule}"  # noqa: S608
        db.execute(query, (reason, value))
    _name(db)
    tokens = "trigram" if script in _UNSPACED else "unicode61 categories 'L* M* N* Co'"
    db.execute(
        f'CREATE VIRTUAL TABLE words USING fts5(title, lead, content="", tokenize="{tokens}")'
    )
    db.execute("INSERT INTO words (words, rank) VALUES ('hashsize', ?)", (_SORTED,))
    for page_id, title, text in _texts(db, "reason = ''"):
        db.execute(
            "INSERT INTO words (rowid, title, lead) VALUES (?, ?, ?)",
            (page_id, title, text[:_LEAD]),
        )
    # A search looks into every piece.
    db.execute("INSERT INTO words (words) VALUES ('optimize')")
    for table in ("redirects", "uses", "templates"):
        db.execute(f"DROP TABLE {table}")
    db.execute("CREATE INDEX by_reason ON pages (reason, chars)")
    skipped = dict(db.execute("SELECT reason, count(*) FROM pages GROUP BY reason ORDER BY reason"))
    kept = skipped.pop("", 0)
    pages = kept + sum(skipped.values())
    share = round(1 - kept / pages, 4) if pages else 0.0
    last = db.execute("SELECT coalesce(max(id), 0) FROM pages WHERE reason = ''").fetchone()[0]
    _tell(db, pages=pages, kept=kept, skipped=skipped, share_skipped=share)
    _tell(db, headed=headed, unspaced=script in _UNSPACED, last=last)


def _texts(db: sqlite3.Connection, where: str) -> Iterator[tuple[int, str, str]]:
    query = f"SELECT id, title, text FROM pages WHERE {where} ORDER BY id"  # noqa: S608
    for page_id, title, text in db.execute(query):
        yield page_id, title, zlib.decompress(text).decode()


def _measure_copies(db: sqlite3.Connection) -> None:
    """Measures for each page how much of it many others have, too."""
    total = db.execute("SELECT coalesce(sum(chars), 0) FROM pages").fetchone()[0]
    shingles = Shingles(total)
    for _, _, text in _texts(db, "chars > 0"):
        shingles.count(text)
    last = -1
    while shares := [
        (shingles.common(text), page)
        for page, _, text in islice(_texts(db, f"chars > 0 AND id > {last}"), _BATCH)
    ]:
        db.executemany("UPDATE pages SET copied = ? WHERE id = ?", shares)
        last = shares[-1][1]


def _disambiguations(db: sqlite3.Connection) -> list[int]:
    """Returns ids of the pages that only list others, by the templates that they use."""
    names = set(_LISTS_OTHERS)
    names |= {name for (name,) in db.execute("SELECT name FROM templates WHERE lists_others")}
    for _ in range(_DEPTH):
        uses = db.execute("SELECT name, uses FROM templates WHERE uses <> ''")
        names |= {name for name, used in uses if not names.isdisjoint(used.split("\n"))}
    uses = db.execute("SELECT page, templates FROM uses")
    return [page for page, used in uses if not names.isdisjoint(used.split("\n"))]


def _name(db: sqlite3.Connection) -> None:
    """Gives the pages the names by which they are found: their titles, and redirects to them."""
    # Not by a function in SQL: Ctrl-C within one would be an error of SQLite's.
    titles = db.execute("SELECT title, id FROM pages")
    named = ((letters_and_digits(title), page) for title, page in titles)
    db.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", named)
    db.execute("CREATE INDEX by_title ON pages (title)")
    # A target may stand with a small first letter, or name a place in its page.
    links = db.execute("SELECT title, target FROM redirects")
    find = partial(db.execute, "SELECT id FROM pages WHERE title IN (?, ?)")
    for title, target in links:
        target = target.partition("#")[0].replace("_", " ").strip()
        for (page,) in find((target, target[:1].upper() + target[1:])).fetchall():
            name = letters_and_digits(title)
            db.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (name, page))
    db.execute("DROP INDEX by_title")
