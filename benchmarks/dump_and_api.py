"""Compares the sections of a wiki's dump with those of its API, page by page.

python benchmarks/dump_and_api.py DUMP http://127.0.0.1:8080/api.php th

DUMP is the wiki's own (`php maintenance/dumpBackup.php --current --output=file:pages.xml`). For
each article both sides are cut as for a run, with `min_chars=1`, so that nothing is too short to be
compared. A difference is named by what the page's source holds: `white space` where only that
differs, else `templates`, which a dump does not expand, or `other`; pages that the dump's index
leaves out are named by its reason. Titles, addresses, revisions and page ids are compared, too.

Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from seedfree.contexts.condition import cleaned
from seedfree.contexts.dump_files import open_dump
from seedfree.contexts.dump_index import DumpIndex, IndexedPage
from seedfree.contexts.sections import Section, usable, wiki_sections
from seedfree.contexts.wikipedia import Wiki
from seedfree.engine.loop import Clock
from seedfree.languages import Language


def cut(text: str, language: Language) -> list[Section]:
    return usable(wiki_sections(text, language.end_sections), language, 1, 4000)


def words(sections: list[Section]) -> list[list[str]]:
    return [f"{section.title} {section.text}".split() for section in sections]


def kind(page: IndexedPage, ours: list[Section], theirs: list[Section], source: str) -> str:
    if ours == theirs:
        return "equal"
    if words(ours) == words(theirs):
        return "white space"
    if page.reason:
        return f"left out: {page.reason}"
    return "templates" if "{{" in source else "other"


async def compare(dump: Path, api: str, language: Language) -> dict[str, object]:
    sources = {page.id: page.source for page in open_dump(dump).pages() if page.namespace == 0}
    wiki = Wiki(api, agent="seedfree", requests_per_minute=None, timeout=120, clock=Clock())
    kinds, named = Counter[str](), Counter[str]()
    with TemporaryDirectory() as folder:
        index = DumpIndex.of(dump, Path(folder))

        async def one(page_id: int) -> None:
            page, there = index.page(page_id), await wiki.page(page_id)
            if page is None or not there:
                kinds["on one side alone"] += 1
                return
            ours = [] if page.reason else cut(page.text, language)
            theirs = cut(cleaned(there["text"]), language)
            kinds[kind(page, ours, theirs, sources[page_id])] += 1
            for name in ("title", "url"):
                named[name] += getattr(page, name) == there[name]
            for name in ("revision", "page_id"):
                named[name] += getattr(page, name) == str(there[name])

        await asyncio.gather(*map(one, sources))
        index.close()
    await wiki.close()
    return {
        "benchmark": "dump_and_api",
        "pages": len(sources),
        "sections": dict(kinds.most_common()),
        "same": dict(named),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dump", type=Path)
    parser.add_argument("api")
    parser.add_argument("language")
    given = parser.parse_args()
    result = asyncio.run(compare(given.dump, given.api, Language.load(given.language)))
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
