"""Measures the default filters on labelled rows, and on faults that code plants in the good ones.

python benchmarks/filters.py [GOLD.jsonl RUN]

The rows of each ready-made language stand in `benchmarks/rows/`: ten good and ten faulty ones,
written for this measurement and checked by no native speaker. GOLD is a file of rows of RUN, each
with `id` and `label` (`good`, `poor` or `bad`); the texts that they were made from are read from
the prompts in RUN's ledger.

Prints for each language the share of good rows that are dropped or suspected, by rule, and the
share of faults that are found, by fault; then one line of JSON.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import seedfree as sf
from seedfree._seeds import seeded
from seedfree.engine.ledger import Ledger
from seedfree.filters import default_filters
from seedfree.languages import Language, languages
from seedfree.records import Context, Instruction, Suspicion
from seedfree.text import script_of, squeeze

HERE = Path(__file__).parent
TASKS = frozenset({"closed_qa", "summarization", "multiple_choice"})
DOCUMENT = re.compile(r'<document id="(\w+)">\n(.*?)\n</document id="\1">', re.DOTALL)


class Session:
    """As much of a run as the default filters look at."""

    grounded_tasks = TASKS

    def __init__(self, language: Language) -> None:
        self.language = language


def findings(row: Instruction) -> tuple[str | None, list[Suspicion]]:
    """Returns the first fact against a row, or all suspicions."""
    suspicions: list[Suspicion] = []
    for each in FILTERS[row.language]:
        found = each.check(row)
        if isinstance(found, str):
            return found, []
        suspicions += [found] if isinstance(found, Suspicion) else found or []
    return None, suspicions


def bound(code: str) -> list[sf.Filter]:
    filters = default_filters()
    for each in filters:
        if hasattr(each, "bind"):
            each.bind(Session(Language.load(code)))
    return filters


FILTERS = {code: bound(code) for code in languages()}


def written(code: str) -> Iterator[tuple[Instruction, str]]:
    """Yields a language's rows of this folder, each with its fault; `""` for a good one."""
    path = HERE / "rows" / f"{code}.jsonl"
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        values = json.loads(line)
        fault, text, title = (values.pop(key, "") for key in ("fault", "context", "title"))
        context = Context(text=text, title=title or None) if text else None
        yield Instruction(**values, language=code, context=context), fault


def labelled(gold: Path, folder: Path) -> Iterator[tuple[Instruction, str]]:
    """Yields the rows of a run that have labels, each with its text and its label."""
    run = sf.Run.open(folder)
    rows = {row.id: row for row in [*run.dataset, *run.dropped]}
    texts = documents(folder)
    for line in gold.read_text("utf-8").splitlines():
        values = json.loads(line)
        row = rows[values["id"]]
        # The answer is a part of the reply, whose request shows the text.
        context = next((c for reply, c in texts if squeeze(row.output)[:60] in reply), None)
        plain = {name: getattr(row, name) for name in Instruction.__dataclass_fields__}
        yield Instruction(**{**plain, "context": context}), values["label"]


def documents(folder: Path) -> list[tuple[str, Context | None]]:
    """Returns the replies of a run, each with the text that its request shows."""
    prompts, pairs = {}, []
    with Ledger(folder) as ledger:
        entries = list(ledger.entries("request", "reply"))
    for entry in entries:
        body = json.loads(entry.body)
        if entry.kind == "request":
            shown = DOCUMENT.search(body["user"])
            prompts[entry.key] = Context(text=shown[2]) if shown else None
        else:
            values = json.loads(body["text"])
            pairs.append((squeeze(" ".join(strings(values))), prompts.get(entry.key)))
    return pairs


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


# Faults that code plants. Each function yields faulty answers of a good row.

Plant = Callable[[Instruction, Random], Iterator[Instruction]]
NUMBER = re.compile(r"(?<!\d)\d[\d.,]*\d|(?<!\d)\d{2,}")
FOREIGN = {
    "Latin": "ประโยคนี้เป็นภาษาอื่นที่ไม่เกี่ยวกับคำตอบเลย",
    "": "This sentence is written in a language that does not belong here.",
}
# In the scripts that many languages share, a sentence of another of them.
FOREIGN_BY_CODE = {
    "en": "Kalimat ini ditulis dalam bahasa lain yang tidak ada hubungannya dengan jawaban.",
    "id": "This sentence is written in a language that does not belong to the answer.",
    "vi": "This sentence is written in a language that does not belong to the answer.",
    "tr": "This sentence is written in a language that does not belong to the answer.",
    "sw": "This sentence is written in a language that does not belong to the answer.",
}


def grounded(row: Instruction) -> bool:
    return row.task in TASKS and row.context is not None


def changed(row: Instruction, output: str) -> Instruction:
    return replace(row, output=output, messages=())


def number_changed(row: Instruction, rng: Random) -> Iterator[Instruction]:
    if not grounded(row):
        return
    assert row.context is not None
    known = set(NUMBER.findall(row.context.text))
    for match in NUMBER.finditer(row.output):
        place = rng.randrange(match.start(), match.end())
        while not row.output[place].isdigit():
            place = rng.randrange(match.start(), match.end())
        digit = str((int(row.output[place]) + rng.randint(1, 8)) % 10)
        number = row.output[match.start() : place] + digit + row.output[place + 1 : match.end()]
        if number not in known and number[0] != "0":
            yield changed(row, row.output[: match.start()] + number + row.output[match.end() :])


def name_swapped(row: Instruction, rng: Random) -> Iterator[Instruction]:
    if not grounded(row):
        return
    assert row.context is not None
    names = NAMES[row.language]
    for name in names:
        if name in row.output and name in row.context.text:
            others = [n for n in names if n not in row.context.text and n not in row.output]
            for other in rng.sample(others, min(2, len(others))):
                yield changed(row, row.output.replace(name, other))


def foreign_sentence(row: Instruction, rng: Random) -> Iterator[Instruction]:
    script = Language.load(row.language).script
    own = {"Latin": FOREIGN["Latin"]}.get(script, FOREIGN[""])
    for foreign in dict.fromkeys([own, FOREIGN_BY_CODE.get(row.language, own)]):
        yield changed(row, f"{row.output}\n{foreign}")
        before, space, after = row.output.partition(" ")
        yield changed(row, f"{before}{space}{foreign} {after}")


def whole_copy(row: Instruction, rng: Random) -> Iterator[Instruction]:
    if grounded(row) and row.context is not None:
        yield changed(row, row.context.text)


def label_changed(row: Instruction, rng: Random) -> Iterator[Instruction]:
    if row.task != "multiple_choice":
        return
    choices = re.findall(r"^\s*(\w{1,2})[.)]\s*(\S.*)$", row.instruction, re.MULTILINE)
    for label, text in choices:
        at = row.output.rfind(f"{label}. {text}")
        if at >= 0:
            for other, _ in choices:
                if other != label:
                    yield changed(row, row.output[:at] + other + row.output[at + len(label) :])


def cut_in_word(row: Instruction, rng: Random) -> Iterator[Instruction]:
    for _ in range(3):
        ends = word_ends(row.output, row.language)
        inside = [i for i in range(len(row.output) // 2, len(row.output)) if i not in ends]
        inside = [i for i in inside if script_of(row.output[i - 1])]
        if inside:
            yield changed(row, row.output[: rng.choice(inside)])


def word_ends(text: str, code: str) -> set[int]:
    """Returns the places at which a word ends, or at which there is none."""
    ends, place = set(), 0
    for word in Language.load(code).segment(text):
        start = text.find(word, place)
        ends |= set(range(place, start + 1))
        place = start + len(word)
        ends.add(place)
    return ends


PLANTS: dict[str, Plant] = {
    "number changed": number_changed,
    "name swapped": name_swapped,
    "foreign sentence": foreign_sentence,
    "whole copy": whole_copy,
    "label changed": label_changed,
    "cut in a word": cut_in_word,
}


def names_of(code: str, rows: Sequence[Instruction]) -> list[str]:
    """Returns names that may stand in for each other."""
    if code == "th":
        from pythainlp.corpus import provinces

        return sorted(provinces())
    within = re.compile(r"(?<=[\w,] )\w{4,}")
    texts = [row.context.text for row in rows if row.context]
    words = {word for text in texts for word in within.findall(text)}
    return sorted(word for word in words if word[0].isupper())


NAMES: dict[str, list[str]] = defaultdict(list)


def measured(code: str, rows: Sequence[tuple[Instruction, str]]) -> dict[str, object]:
    """Measures the filters on the labelled rows of one language."""
    good = [row for row, label in rows if label in ("", "good")]
    NAMES[code] = names_of(code, good)
    facts: list[str] = []
    suspected, rules = 0, Counter[str]()
    for row in good:
        fact, suspicions = findings(row)
        facts += [f"{row.id} {fact}"] if fact else []
        suspected += bool(suspicions)
        rules.update({each.rule for each in suspicions})
    faults: dict[str, Counter[str]] = defaultdict(Counter)
    for name, plant in PLANTS.items():
        for number, row in enumerate(good):
            already = doubted(findings(row)[1])
            for faulty in plant(row, seeded("plant", name, code, number)):
                count(faults[name], faulty, already)
    for row, fault in rows:
        if fault not in ("", "good"):
            count(faults[f"written: {fault}" if not row.id else fault], row, set())
    return {
        "language": code,
        "good": len(good),
        "dropped as facts": facts,
        "suspected": suspected,
        "rules": dict(rules.most_common()),
        "faults": {name: dict(counts) for name, counts in faults.items()},
    }


def count(counts: Counter[str], row: Instruction, already: set[tuple[str, str]]) -> None:
    """Counts what is found of a fault; `already` are the doubts about the row without it."""
    fact, suspicions = findings(row)
    counts["rows"] += 1
    counts["facts"] += fact is not None
    counts["suspected"] += not doubted(suspicions) <= already


def doubted(suspicions: Sequence[Suspicion]) -> set[tuple[str, str]]:
    return {(each.rule, word) for each in suspicions for word in each.words or [""]}


def show(figures: dict[str, object]) -> None:
    good, faults = figures["good"], figures["faults"]
    assert isinstance(faults, dict)
    print(f"\n{figures['language']}: {good} good rows, {len(figures['dropped as facts'])} dropped, "
          f"{figures['suspected']} suspected {figures['rules']}")  # fmt: skip
    for fact in figures["dropped as facts"]:
        print(f"  dropped: {fact}")
    for name, counts in faults.items():
        found = counts["facts"] + counts["suspected"]
        print(f"  {name}: {found} of {counts['rows']} found ({counts['facts']} as facts)")


def main(gold: str = "", run: str = "") -> None:
    results = []
    for code in languages():
        rows = [*written(code)]
        if code == "th" and gold:
            rows += labelled(Path(gold), Path(run))
        if rows:
            results.append(measured(code, rows))
            show(results[-1])
    print(json.dumps({"benchmark": "filters", "languages": results}, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
