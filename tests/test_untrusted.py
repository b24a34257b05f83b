"""Replies, pages and titles are data: what tasks make of hostile ones, and what is published."""

from __future__ import annotations

import csv
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

import seedfree as sf
from seedfree._files import json_line
from seedfree.card import dataset_card
from seedfree.dataset import Dataset, to_row
from seedfree.engine.schema import find_json, parse
from seedfree.errors import ConfigError, InvalidReplyError
from seedfree.languages import Language
from seedfree.protocols import TaskTemplate
from seedfree.records import Context, Instruction, Prompt, Reply, Source, Topic
from seedfree.run.estimate import Preview
from seedfree.run.folder import Run
from seedfree.text import clean, shown
from tests.contracts.test_task import CONTEXT, TASKS, answer
from tests.fakes import FakeClock, label, sentence, small_pipeline, thai

REPLIES = 10_000
# Pieces of text, values of a field, and pieces of JSON that no field should get.
ODD = [
    "\x00", "\ud800", "\udfff\ud800", "\x1b[31m\x1b]0;title\x07", "\u202e\u2066\u200f",
    "\u2028\x85", "\ufeff", "\U000e0041", "<b onload=x>", "```", "{", "}", '"', "\\", "\n\n",
    "$context ${output}", "=1+1", "<|im_end|>", "ข้าว",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 1.5, "", " ", [], {}, [[]], ["x"], {"user": 1}, [{}] * 3,
    "ก" * 5000, 10**400,
]  # fmt: skip
RAW = [
    "NaN", "Infinity", "-Infinity", "1e400", "-1e999999", "9" * 4_000, "9" * 100_000,
    "0." + "1" * 5_000, "tru", "01", "'x'", "undefined", '"\\ud800"', '"\\udc00\\ud83d"', '"\\x"',
    '"\n"', "[" * 10_000, '{"a":' * 10_000, "[" * 400 + "]" * 400, "1e-400", "-0",
    '"' + "\\u0000" * 50 + '"',
]  # fmt: skip
HEADS = ["Sure!\n", "```json\n", "<think>{", "<think>{}</think>", "\ufeff", "ข้อ 1: {ก} "]
HTML = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>{nginx}</body></html>"


def _hurt(text: str, rng: random.Random, whole: str) -> str:
    """Puts one more thing wrong in a reply, or around it.

    Args:
        whole: The good reply.
    """
    at = rng.randrange(len(text) + 1)
    match rng.randrange(10):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + rng.choice(ODD) * rng.choice([1, 1, 3]) + text[at:]
        case 2:
            return f"{rng.choice(HEADS)}{text}\n```"
        case 3:
            return text + rng.choice([text, "\n\n" + whole, "}", " {really}", HTML])
        case 4:
            return text[:at] + text[at + rng.randrange(1, 9) :]
        case 5:
            return text.replace('"', rng.choice(["'", "“", '\\"', '""']), rng.randrange(1, 6))
        case 6:
            key = rng.choice(["pairs", "turns", "output", "x"])
            return text.replace("{", f'{{"{key}": {rng.choice(RAW)}, ', 1)
        case 7:
            return text.replace("}", f', "output": {rng.choice(RAW)}}}', 1)
        case 8:
            raw, odd = rng.choice(RAW), rng.choice(ODD)
            return rng.choice(["", " ", "null", "[]", '"x"', HTML, raw, odd, text * 2])
        case _:
            return text


def _replies(task: TaskTemplate, n: int) -> Iterator[str]:
    """Yields n replies: a good one cut at every place, then others with something wrong."""
    rng = random.Random(f"replies {label(task)}")
    good = json.dumps(answer(task), ensure_ascii=False)
    cuts = min(n // 4, len(good))
    for at in range(cuts):
        yield good[:at]
    for i in range(n - cuts):
        value: Any = json.loads(good)
        if i % 3 == 0:
            _mistype(value, rng)
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
        for _ in range(rng.randrange(4)):
            text = _hurt(text, rng, good)
        yield text


def _mistype(value: Any, rng: random.Random) -> None:
    """Puts a wrong value somewhere inside an object."""
    while value:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if rng.random() < 0.5 or not isinstance(value[key], dict | list):
            value[key] = rng.choice([*VALUES, rng.choice(ODD), f"x{rng.choice(ODD)}y"])
            return
        value = value[key]


def _through(task: TaskTemplate, text: str) -> list[Instruction]:
    """Returns the rows of a reply, none of an invalid one; lets all but documented errors out."""
    try:
        fields = parse(text, task.Fields)
    except InvalidReplyError as error:
        assert len(str(error)) < 400 and shown(str(error)) == str(error)
        return []
    try:
        return list(task.instructions(fields, CONTEXT))
    except ValueError:
        return []


def test_ten_thousand_replies_raise_nothing_and_give_rows_that_can_be_published() -> None:
    rows, began = 0, time.perf_counter()
    for task in TASKS:
        for text in _replies(task, REPLIES // len(TASKS)):
            for item in _through(task, text):
                rows += 1
                line = json_line(to_row(item)).encode("utf-8")
                assert b"\n" not in line[:-1] and json.loads(line)["output"] == item.output
    # If almost every reply were refused, few rows would have been looked at.
    assert rows > REPLIES / 20
    assert time.perf_counter() - began < 60


# Texts of about a million characters that would take a careless parser hours, or more memory than
# there is.
M = 10**6
LONG: dict[str, Callable[[], str]] = {
    "braces": lambda: "{" * M,
    "closing braces": lambda: "{" + "}" * (M - 1),
    "fences": lambda: "```json\n{" * (M // 9),
    "quotes": lambda: '{"' * (M // 2),
    "escaped quotes": lambda: '{"a": "' + '\\"{' * (M // 3 - 9),
    "nested objects, cut": lambda: '{"a": ' * 60 + "[" + "1," * (M // 2 - 400),
    "nested objects, cut fractions": lambda: '{"a": ' * 60 + "[" + "1.5," * (M // 4 - 400),
    "objects in a broken list": lambda: '{"a": [' + '{"b": 1},' * (M // 9 - 9) + "x",
    "levels": lambda: '{"a":' * (M // 5),
    "long numbers": lambda: '{"a": [' + ("9" * 4_000 + ",") * 249 + "0]}",
    "one number": lambda: '{"a": ' + "9" * (M - 10) + "}",
    "fraction": lambda: '{"a": 0.' + "9" * (M - 10) + "}",
    "thoughts": lambda: "<think>" * (M // 7),
    "white space": lambda: " " * M,
    "bad elements": lambda: '{"pairs": [' + "1," * (M // 2 - 20) + "1]}",
    "bad turns": lambda: '{"turns": [' + "{}," * (M // 3 - 20) + "{}]}",
    "bad choices": lambda: '{"wrong": [' + '"",' * (M // 3 - 20) + '""]}',
    "keys": lambda: "{" + ",".join(f'"k{i}": {i}' for i in range(M // 16)) + "}",
    "equal keys": lambda: "{" + '"output": "a",' * (M // 14 - 1) + '"output": "b"}',
    "surrogates": lambda: '{"output": "' + "\\ud800" * (M // 6 - 9) + '"}',
    "ten megabytes": lambda: '{"output": "' + "ก" * 10 * M + '"}',
    "ten megabytes of surrogates": lambda: '{"output": "' + "\ud800" * 10 * M + '"}',
    "ten megabytes of braces": lambda: "{" * 10 * M,
}


@pytest.mark.parametrize("kind", LONG)
def test_no_reply_takes_long(kind: str) -> None:
    text = LONG[kind]()
    began = time.process_time()
    text = Reply(text).text
    for task in TASKS:
        _through(task, text)
    # About a second for each task at the most, on any machine.
    assert time.process_time() - began < len(TASKS)


def test_what_a_cut_or_broken_reply_holds_is_no_reply() -> None:
    pair = json.dumps({"evidence": "ก", "instruction": "ข", "output": "ค"}, ensure_ascii=False)
    for text in (
        f'{{"pairs": [{pair}, {{"evid',
        f'{{"pairs": [{pair}',
        f"<think>is it {pair}?",
        f'{{"output": "{{}}{pair[1:]}',
    ):
        with pytest.raises(InvalidReplyError):
            parse(text, sf.ClosedQA.Fields)
    template = '<think>{"pairs": [...]}</think> as {"question": ...}: ' + pair
    assert parse(template, sf.ClosedQA.Fields).pairs[0].output == "ค"


def test_numbers_that_no_row_can_hold_are_refused() -> None:
    class Mark(BaseModel):
        mark: float

    # They are read as infinite, as no number, or not at all.
    for digits in ("1e400", "-1e400", "NaN", "Infinity", "9" * 5_000):
        with pytest.raises(InvalidReplyError):
            parse(f'{{"mark": {digits}}}', Mark)
    # Python reads an integer of up to 4,300 digits, which no float holds.
    with pytest.raises(InvalidReplyError):
        parse(f'{{"mark": {"9" * 4_000}}}', Mark)
    assert parse('{"mark": 1e2}', Mark).mark == 100


def test_lone_surrogates_never_leave_the_parser() -> None:
    for text in (
        '{"a": "\\ud800x", "\\udfff": ["\\ude00\\ud83d"]}',
        '{"a": "\ud800"}',
        '{"a": "\\ud83d\\ude00"}',
    ):
        json.dumps(find_json(text, dict), ensure_ascii=False).encode("utf-8")
    assert find_json('{"a": "\\ud83d\\ude00 \\ud800"}', dict) == {"a": "😀 \ufffd"}


def test_what_a_users_validator_raises_is_an_invalid_reply() -> None:
    class Odd(BaseModel):
        word: Any

        @field_validator("word")
        @classmethod
        def _short(cls, value: Any) -> Any:
            return value["\x1b[31m\ud800"]

    for text in ('{"word": {}}', '{"word": 1}'):
        with pytest.raises(InvalidReplyError) as caught:
            parse(text, Odd)
        assert shown(str(caught.value)) == str(caught.value)
        str(caught.value).encode("utf-8")


# Control characters but tab and line feed, marks of direction, line separators, surrogates.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
HOSTILE = (
    "\x1b[2J\x1b]8;;http://e\x07 \u202egnp\u2066 \x00\x9b\r\x08 <script>alert(1)</script> \ud800 "
    "\u2028 [x](http://e)"
)


class _HostileTask(sf.TaskTemplate):
    """A user's own task whose name, errors and rows are hostile."""

    name = "odd\x1b[31m"

    class Fields(BaseModel):
        text: str

    def prompt(self, context: Context, language: Language) -> Prompt:
        return Prompt(f"{self.name} {context.block()}", system=language.persona)

    def instructions(self, fields: Any, context: Context) -> list[Instruction]:
        if context.position % 3 == 0:
            raise ValueError(f"no good: {HOSTILE}")
        instruction, output = f"{fields.text} {HOSTILE}", f"{HOSTILE}\ndropped 9: x"
        return [Instruction(self.name, instruction, output, input=HOSTILE)]


class _HostileSource:
    """A user's own source whose titles and origins are hostile."""

    def contexts(self, topic: Topic) -> list[Context]:
        text, source = sentence(topic.text, words=60), Source(*[HOSTILE] * 5)
        return [Context(text=text, title=HOSTILE, source=source)]


class _HostileFilter:
    """A user's own filter that drops a third of the rows for a hostile reason."""

    def check(self, item: Instruction) -> str | None:
        return f"picky: {HOSTILE}" if len(item.instruction) % 3 == 0 else None


def _hostile_run(folder: Path, size: int = 8, most: int = 60) -> Run:
    """Makes a run all of whose parts are hostile; its model fails after `most` calls."""
    asked: list[Prompt] = []

    def answer(prompt: Prompt) -> Reply:
        if len(asked) >= most:
            raise RuntimeError(f"server said {HOSTILE}")
        asked.append(prompt)
        return thai(prompt)

    pipeline = small_pipeline(
        sf.FunctionGenerator(answer, name="x"),
        contexts=[_HostileSource()],
        tasks=[_HostileTask()],
        filters=[_HostileFilter()],
        topics=[f"{HOSTILE} {i}" for i in range(40)],
    )
    return pipeline.run(size=size, out=folder, clock=FakeClock())


def test_what_is_shown_of_a_run_is_escaped(tmp_path: Path) -> None:
    run = _hostile_run(tmp_path)
    assert len(run.dataset) == 8 and len(run.dropped) > 2
    preview, page = str(Preview(run)), (tmp_path / "README.md").read_text("utf-8")
    for text in (repr(run), repr(run.dataset), repr(run.dataset[0]), preview, page):
        assert not UNSEEN.search(text), text
    # A row's own line that looks like a count of dropped rows does not stand at the margin.
    assert "\\x1b[2J" in preview and preview.count("\ndropped 9: x") == 0
    for name in ("dataset.jsonl", "dropped.jsonl", "manifest.json", "status.json"):
        (tmp_path / name).read_bytes().decode("utf-8")
    assert "<script" not in page and "](http://e" not in page
    again = dataset_card(
        run.dataset, language=Language.load("th"), generator=HOSTILE, terms=HOSTILE, status=HOSTILE
    )
    assert not UNSEEN.search(again) and "<script" not in again


def test_what_is_logged_and_raised_is_escaped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    run = _hostile_run(tmp_path, most=4, size=30)
    assert run.status == "stopped"
    assert not UNSEEN.search(repr(run)) and not UNSEEN.search(run.message)
    assert caplog.records and not [r for r in caplog.records if UNSEEN.search(r.getMessage())]
    assert not UNSEEN.search(str(InvalidReplyError(f"reply: {HOSTILE}", hint=HOSTILE)))


FORMULAS = [
    "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "=",
    "\t=1", "\r=1", "\n=1", "\x00=1", "\ufeff=1", "\rข้าว",
]  # fmt: skip
HEAD = ["id", "task", "language", "instruction", "input", "output", "topic", "source url"]


def _row(text: str) -> Instruction:
    """Returns a row with the text in every field that `to_csv` writes and a stranger decides."""
    source = Source("web", url=text)
    return Instruction(
        "closed_qa", text, text, input=text, id=text, language="th", topic=text, source=source
    )


def test_a_table_for_spreadsheets_runs_no_formula(tmp_path: Path) -> None:
    texts = [*FORMULAS, HOSTILE, 'ข้าว, "ปลา"\nวัด', "1-1=0", " ก"]
    data, path = Dataset(map(_row, texts)), tmp_path / "rows.csv"
    data.to_csv(path)
    # Excel takes a file without the mark for one in the system's own encoding.
    assert path.read_bytes().startswith(b"\xef\xbb\xbfid,task,language,instruction,")
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == HEAD and len(rows) == len(texts)
    for text, cells in zip(texts, rows, strict=True):
        assert cells[1:3] == ["closed_qa", "th"]
        (cell,) = {*cells[:1], *cells[3:]}
        first = "'" * (text in FORMULAS)
        # Behind a tab or a line end, another apostrophe keeps what follows from being a formula.
        kept = first + re.sub("(?<=[\t\r\n;])'", "", cell[len(first) :])
        assert kept.replace("\r", "\\r") == first + shown(clean(text))
        assert not UNSEEN.search(cell.replace("\r", ""))
        assert not re.match(r"[\s\x00]*[=+\-@]", cell)
    data[:0].to_csv(tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text("utf-8-sig").count("\n") == 1
    with pytest.raises(ConfigError, match="Cannot write"):
        data.to_csv(path / "x")
