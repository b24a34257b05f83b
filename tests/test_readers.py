import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.records import Instruction, Message, Source

GOOD = {"instruction": "i", "output": "o"}
READERS = {
    "alpaca": Dataset.from_alpaca,
    "messages": Dataset.from_messages,
    "sharegpt": Dataset.from_sharegpt,
}

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)
turns = st.integers(1, 3).flatmap(
    lambda n: st.tuples(st.none() | words, st.lists(words, min_size=2 * n, max_size=2 * n))
)


def spoken(system, texts):
    messages = [Message(("user", "assistant")[k % 2], text) for k, text in enumerate(texts)]
    return (*([Message("system", system)] if system is not None else []), *messages)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readers")


def written(path, rows, listed):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text(
        "[\n" + ",\n".join(lines) + "\n]\n" if listed else "\n".join(lines), encoding="utf-8"
    )
    return path


@given(
    rows=st.lists(st.tuples(words, st.just("") | words, words, turns), max_size=4),
    form=st.sampled_from(sorted(READERS)),
    listed=st.booleans(),
)
def test_what_is_exported_is_read_again(folder, rows, form, listed):
    data = Dataset(
        Instruction(
            "t", instruction, output, given, messages=() if form == "alpaca" else spoken(*talk)
        )
        for instruction, given, output, talk in rows
    )
    path = folder / "data.json"
    data.to_jsonl(path, form)
    if listed:
        written(
            path, [json.loads(line) for line in path.read_text("utf-8").split("\n") if line], listed
        )
    back = READERS[form](path)
    assert [item.messages for item in back] == [item.messages for item in data]
    if form == "alpaca":
        assert back.to_alpaca() == data.to_alpaca()
    for item in back:
        assert item.source == Source("human", title="data.json")
        assert item.generator == item.task == "human"


def test_first_question_and_answer_stand_for_a_conversation(tmp_path):
    talk = [
        {"role": "system", "content": "s"},
        *(
            {"role": r, "content": c}
            for r, c in zip(("user", "assistant") * 2, "abcd", strict=True)
        ),
    ]
    (item,) = Dataset.from_messages(written(tmp_path / "x.json", [{"conversations": talk}], True))
    assert (item.instruction, item.input, item.output, len(item.messages)) == ("a", "", "b", 5)


def test_a_row_says_what_it_is(tmp_path):
    full = {
        "instruction": "i",
        "output": "o",
        "task": "qa",
        "language": "lo",
        "generator": "x@y",
        "license": "CC0-1.0",
    }
    rows = [{**full, "score": [1]}, {**GOOD, "input": " \n", "task": None, "license": 4}]
    path = written(tmp_path / "set.jsonl", rows, False)
    first, second = Dataset.from_alpaca(path, task="human_qa", language="th", license="CC-BY-4.0")
    assert (first.task, first.language, first.generator, first.source.license) == (
        "qa",
        "lo",
        "x@y",
        "CC0-1.0",
    )
    assert (second.task, second.language, second.generator) == ("human_qa", "th", "human")
    assert (
        first.source == Source("human", "set.jsonl", license="CC0-1.0")
        and second.source.license == "CC-BY-4.0"
    )
    assert second.input == ""
    assert first.id == second.id and len(first.id) == 16, "the id names what is said"


def test_what_was_said_before_is_kept(tmp_path):
    rows = [
        {**GOOD, "system": "s", "history": [["q", "a"]]},
        {**GOOD, "system": "", "history": None},
    ]
    first, second = Dataset.from_alpaca(written(tmp_path / "a.json", rows, True))
    assert [(m.role, m.content) for m in first.messages] == [
        ("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "i"), ("assistant", "o"),
    ]  # fmt: skip
    assert len(second.messages) == 2
    talk = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    path = written(tmp_path / "b.json", [{"system": "s", "conversations": talk}], True)
    assert [m.role for m in Dataset.from_sharegpt(path)[0].messages] == [
        "system",
        "user",
        "assistant",
    ]
    for wrong in ("x", ["x"], [["q"]], [["q", 1]]):
        with pytest.raises(ConfigError, match="line 1: history"):
            Dataset.from_alpaca(written(tmp_path / "c.json", [{**GOOD, "history": wrong}], False))


TALK = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("form", "row", "says"),
    [
        ("alpaca", {"output": "o"}, "instruction is missing"),
        ("alpaca", {"instruction": " \n", "output": "o"}, "instruction is empty"),
        ("alpaca", {"instruction": "i", "output": None}, "output is missing"),
        ("alpaca", {"instruction": "i", "output": 7}, "output is not text"),
        ("alpaca", {"instruction": "i", "output": "o", "input": ["x"]}, "input is not text"),
        ("alpaca", ["i", "o"], "not a JSON object"),
        ("messages", GOOD, "messages is missing"),
        ("messages", {"messages": []}, "messages is empty"),
        ("messages", {"messages": "hello"}, "messages is not a list"),
        ("messages", {"messages": [*TALK, "x"]}, "turn 3 is not a JSON object"),
        (
            "messages",
            {"messages": [TALK[0], {"role": "assistant"}]},
            "content of turn 2 is missing",
        ),
        (
            "messages",
            {"messages": [TALK[0], {"role": "assistant", "content": ""}]},
            "content of turn 2 is empty",
        ),
        ("messages", {"messages": [{"role": "tool", "content": "x"}]}, "turn 1 is by 'tool'"),
        ("messages", {"messages": TALK[:1]}, "in turn, the assistant's last"),
        ("messages", {"messages": TALK[::-1]}, "in turn, the assistant's last"),
        ("messages", {"messages": [TALK[0], *TALK]}, "in turn, the assistant's last"),
        (
            "messages",
            {"messages": [{"role": "system", "content": "s"}]},
            "in turn, the assistant's last",
        ),
        ("sharegpt", {"messages": TALK}, "conversations is missing"),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "human", "value": "<image>\nq"},
                    {"from": "gpt", "value": "a"},
                ]
            },
            "about a picture",
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image"}]}, TALK[1]]},
            "has a part that is not text",
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": 1}]},
            "value of turn 1 is not text",
        ),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_the_line_of_a_bad_row_is_named(tmp_path, form, row, says, listed):
    good = {**GOOD, "messages": TALK} if form != "sharegpt" else {
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    }  # fmt: skip
    path = written(tmp_path / "set.json", [good, row, good], listed)
    with pytest.raises(ConfigError, match=says) as error:
        READERS[form](path)
    assert f"set.json, line {3 if listed else 2}: " in str(error.value) and "\n" not in str(
        error.value
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"instruction": "i"', "line 1: Expecting"),
        (b'[\n{"instruction": "i", "output": "o"},\n{"instruction"\n]', "line 4: Expecting"),
        (b'[{"instruction": "i", "output": "o"} {}]', "line 1: the row is not followed by a comma"),
        (b'[{"instruction": "i", "output": "o"},', "does not end with the end of its list"),
        (b'[{"instruction": "i", "output": "o"}] x', "does not end with the end of its list"),
        (b"\n" + b"[" * 100_000, "line 2: "),
        (b"9" * 5_000, "line 1: "),
        (b"\xff\xfe[", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_none(tmp_path, content, says):
    path = tmp_path / "set.json"
    if content is not None:
        path.write_bytes(content)
    for reader in READERS.values():
        with pytest.raises(ConfigError) as error:
            reader(path)
        assert "set.json" in str(error.value) and "\n" not in str(error.value)
        if reader == Dataset.from_alpaca:
            assert says in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf\n", b"[]", b" [ ] \n"])
def test_a_file_without_rows(tmp_path, content):
    path = tmp_path / "set.json"
    path.write_bytes(content)
    assert all(len(reader(path)) == 0 for reader in READERS.values())


KEYS = [
    "instruction",
    "input",
    "output",
    "messages",
    "conversations",
    "role",
    "content",
    "from",
    "value",
    "task",
    "x",
]
WORDS = ["user", "assistant", "system", "human", "gpt", "\ud800", "\u202e", "\x00", " "]
scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
leaf = scalar | st.sampled_from(WORDS)
turn = st.dictionaries(st.sampled_from(KEYS[5:9]), leaf, max_size=4)
odd = st.dictionaries(st.sampled_from(KEYS), leaf | st.lists(turn | leaf, max_size=3), max_size=5)
BOTH = (
    {"from": "human", "value": "q", "role": "user", "content": "q"},
    {"from": "gpt", "value": "a", "role": "assistant", "content": "a"},
)
nearly = st.tuples(odd, st.lists(turn, min_size=2, max_size=2)).map(
    lambda two: {
        **GOOD,
        "conversations": [{**a, **b} for a, b in zip(BOTH, two[1], strict=True)],
        **two[0],
    }
)


@settings(max_examples=500)
@given(st.lists(odd | nearly | leaf, min_size=20, max_size=20), st.binary(max_size=3))
def test_odd_rows_raise_nothing_but_config_errors(folder, rows, noise):
    """10,000 rows, each as a file of its own."""
    path = folder / "odd.json"
    for row in rows:
        path.write_bytes(json.dumps(row).encode() + noise)
        for reader in READERS.values():
            try:
                data = reader(path)
            except ConfigError as error:
                assert "\n" not in str(error)
            else:
                for item in data:
                    assert item.messages and item.instruction.strip() and item.output.strip()


def _said(user, assistant):
    return [{"from": user, "value": "q"}, {"from": assistant, "value": "a"}]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("sharegpt", {"conversations": TALK}),
        ("sharegpt", {"conversations": _said("Human", "GPT")}),
        ("sharegpt", {"conversations": [{"from": "System", "value": ""}, *_said("human", "gpt")]}),
        ("messages", {"messages": [{"role": "system", "content": " "}, *TALK]}),
        ("messages", {"messages": [{"role": "system", "content": None}, *TALK]}),
        ("sharegpt", {"conversations": _said("human", "bot")}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]},
                                   TALK[1]]}),
        ("alpaca", {"data": [{"instruction": "q", "output": "a"}]}),
        ("alpaca", {"instruction": "", "input": "q", "output": "a"}),
    ],
)  # fmt: skip
def test_what_is_shared_in_near_forms_is_read(tmp_path, form, value):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(value))
    (row,) = getattr(Dataset, f"from_{form}")(path)
    assert (row.instruction, row.input, row.output) == (TALK[0]["content"], "", TALK[1]["content"])


def test_few_bad_rows_are_left_out_with_a_warning(tmp_path, caplog):
    good, path = {"instruction": "q", "output": "a"}, tmp_path / "rows.jsonl"
    lines = [json.dumps(row) for row in [good] * 99 + [{**good, "output": ""}]]
    path.write_text("\n".join(lines))
    assert len(Dataset.from_alpaca(path)) == 99
    assert "line 100: output is empty (1 rows are left out, 99 read)" in caplog.text
    path.write_text("\n".join(lines[60:]))
    with pytest.raises(ConfigError, match="line 40: output is empty"):
        Dataset.from_alpaca(path)
