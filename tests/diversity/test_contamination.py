"""Rows that hold a benchmark's questions are found, however they hold them, and no others."""

import logging
from operator import itemgetter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seedfree.dataset import Dataset
from seedfree.diversity.contamination import contamination, overlaps
from seedfree.errors import ConfigError, EncoderError
from seedfree.records import Instruction, Message, Prompt, Question, Source
from seedfree.text import squeeze

ASKED = "เพราะเหตุใดชาวนาในภาคตะวันออกเฉียงเหนือจึงจัดงานบุญบั้งไฟก่อนเริ่มฤดูทำนาของทุกปี"
ANSWER = "เพื่อบูชาพญาแถนและขอให้ฝนตกต้องตามฤดูกาล ข้าวกล้าในนาจะได้อุดมสมบูรณ์"
OTHER = "ข้าวซอยเป็นอาหารพื้นเมืองของภาคเหนือ ทำจากเส้นบะหมี่ในน้ำแกงกะหรี่ใส่กะทิ โรยหน้าด้วยเส้นทอดกรอบ"


def question(text=ASKED, id="q", answer="ตอบ", **values):
    return Question(id=id, task="qa", question=text, answer=answer, **values)


def row(instruction="จงเล่าเรื่องอาหารไทย", output=OTHER, **values):
    return Instruction(task="qa", instruction=instruction, output=output, **values)


def overlap(rows, questions, **options):
    return contamination(Dataset(rows), questions, **options)


class Fixed:
    """A benchmark of given questions."""

    name, language = "fixed", "th"

    def __init__(self, *asked):
        self.asked = asked

    def questions(self):
        return self.asked

    def prompt(self, question):
        return Prompt(question.question)


def turns(*given):
    """Messages from texts that begin with a role."""
    return tuple(Message(*turn.split(" ", 1)) for turn in given)


FIELDS = {
    "instruction": lambda text: row(instruction=text),
    "input": lambda text: row(input=text),
    "output": lambda text: row(output=text),
    "evidence": lambda text: row(evidence=text),
    "messages": lambda text: row(
        messages=turns("user a", "assistant b", f"user {text}", "assistant c")
    ),
    "system": lambda text: row(messages=turns(f"system {text}", "user a", "assistant b")),
    "input after instruction": lambda text: row(
        instruction=text[: len(text) // 2], input=text[len(text) // 2 :]
    ),
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "text",
    [ASKED, "Who was the first King of Siam to visit Europe, and in which year?"],
    ids=["th", "en"],
)
@settings(max_examples=12)
@given(data=st.data())
def test_a_question_is_found_in_any_field_anywhere_however_it_is_written(field, text, data):
    ways = st.sampled_from(["{}", "{}", " {}", "{}\u200b", "\n{}", "{}\u00a0"])
    changed = "".join(
        data.draw(ways).format(data.draw(st.sampled_from([char, char.upper()]))) for char in text
    )
    before = data.draw(st.sampled_from(["", OTHER, "x"]))
    after = data.draw(st.sampled_from(["", OTHER, " y"]))
    planted = FIELDS[field](before + changed + after)
    rows = [row(), planted, row(instruction="อีกเรื่องหนึ่ง")]
    result = overlap(rows, [question(OTHER[::-1], "other"), question(text)])
    assert list(result.rows) == [1]
    hit = result.rows[1][0]
    assert (hit.field, hit.questions, hit.share) == ("question", ("q",), 1.0)
    if field in ("instruction", "messages") and not before and not after:
        assert hit.kind == "exact"
    assert hit.excerpt in squeeze(text)
    assert len(result.clean) == 2 and result.share == pytest.approx(1 / 3)
    assert result.questions == {"q"}


def test_thai_typed_in_another_way_is_the_same():
    text = "แม่น้ำสายใดไหลผ่านกรุงเทพฯ และออกสู่อ่าวไทยที่จังหวัดใด"
    typed = text.replace("แ", "เเ").replace("้ำ", "ํ้า")
    for written in (typed, typed.replace("เเ", "เ เ")):
        assert written != text
        assert overlap([row(instruction=written)], [question(text)]).by_kind["exact"] == 1


def test_exact_is_told_from_quoted_and_answers_count_too():
    rows = [
        row(instruction=ASKED),
        row(instruction=f"{ASKED} ตอบสั้นๆ"),
        row(output=ANSWER),
        row(output=f"ตอบว่า{ANSWER}"),
    ]
    result = overlap(rows, [question(answer=ANSWER)])
    assert [(hit.kind, hit.field) for hits in result.rows.values() for hit in hits] == [
        ("exact", "question"),
        ("shingles", "question"),
        ("exact", "answer"),
        ("shingles", "answer"),
    ]
    assert result.by_kind == {"exact": 2, "shingles": 2, "page": 0, "semantic": 0}


@pytest.mark.parametrize(("cut", "counts"), [(0.95, True), (0.8, True), (0.6, False), (0.3, False)])
def test_half_of_the_shingles_must_be_there(cut, counts):
    letters = squeeze(ASKED)
    piece = letters[: round(len(letters) * cut)]
    share = (len(piece) - 29) / (len(letters) - 29)
    result = overlap([row(output=OTHER + piece)], [question()])
    assert bool(result.rows) is counts is (share >= 0.5)
    if counts:
        hit = result.rows[0][0]
        assert hit.share == pytest.approx(share) and hit.excerpt == piece[:100]


def test_a_passage_that_questions_share_is_found_and_names_them_all():
    asked = [question(f"คำถามที่ {n} ของบทความ", f"q{n}", context=OTHER) for n in range(9)]
    (hit,) = overlap([row(output="ไม่ทราบ", input=OTHER)], asked).rows[0]
    ids = tuple(f"q{n}" for n in range(9))
    assert (hit.kind, hit.field, hit.questions) == ("shingles", "context", ids)


def test_how_a_benchmark_asks_is_no_evidence():
    frame = "จงอ่านบทความต่อไปนี้อย่างละเอียดแล้วตอบคำถามให้ถูกต้องครบถ้วนตามความเป็นจริง: "
    topics = ["ข้าว", "ผ้าไหม", "ช้าง", "วัด", "ทะเล", "มวยไทย"]
    asked = [question(f"{frame}{topic}มีความสำคัญต่อชุมชนในภาคใต้อย่างไรบ้าง", topic) for topic in topics]
    rows = [
        row(instruction=f"{frame}ดนตรีเกี่ยวข้องกับชีวิตของคนเมืองอย่างไร"),
        row(instruction=asked[2].question),
    ]
    assert list(overlap(rows, asked).rows) == [1]
    assert overlap(rows, asked).rows[1][0].questions == ("ช้าง",)
    # The same words with another passage each time are another question each time.
    same = [question(frame, f"s{n}", context=f"{n} {OTHER[::-1]}") for n in range(4)]
    assert not overlap([row(instruction=frame)], same).rows
    assert overlap([row(instruction=frame)], same[:3]).rows


def test_a_short_question_counts_as_a_whole_unless_everyone_asks_it():
    short, tiny = "ใครเป็นผู้แต่งพระอภัยมณี", "ใช่หรือไม่"
    assert len(squeeze(short)) < 30
    whole, cut = (row(output=f"เขาถามว่า{text}แล้วเดินจากไป") for text in (short, short[:-2]))
    assert overlap([whole], [question(short)]).rows[0][0].share == 1.0
    assert not overlap([cut], [question(short)]).rows
    assert not overlap([row(instruction=tiny)], [question(tiny)]).rows
    assert not overlap([row(instruction=short)], [question(short, context=OTHER[::-1])]).rows
    assert not overlap([row(instruction=short)], [question(short, choices=("ก", "ตอบ"))]).rows
    assert not overlap([row(output="กรุงเทพมหานคร")], [question(answer="กรุงเทพมหานคร")]).rows


URL = (
    "https://th.wikipedia.org/wiki/%E0%B8%82%E0%B9%89%E0%B8%B2%E0%B8%A7_%E0%B8%8B%E0%B8%AD%E0%B8%A2"
)


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ("https://th.wikipedia.org/wiki/ข้าว_ซอย", True),
        ("http://th.m.wikipedia.org/wiki/ข้าว ซอย#ประวัติ", True),
        (
            "//TH.wikipedia.org/wiki/%e0%b8%82%e0%b9%89%e0%b8%b2%e0%b8%a7_%e0%b8%8b%e0%b8%ad%e0%b8%a2/",
            True,
        ),
        ("th.wikipedia.org/wiki/ข้าว_ซอย?action=raw", True),
        ("https://th.wikipedia.org:443/w/index.php?title=ข้าว_ซอย&oldid=12345678", True),
        ("https://th.wikipedia.org/w/index.php?oldid=11223344", True),
        ("ข้าว ซอย", True),
        ("11223344", True),
        ("https://en.wikipedia.org/wiki/ข้าว_ซอย", False),
        ("https://th.wikipedia.org/wiki/ข้าว", False),
        ("https://th.wikipedia.org/w/index.php?oldid=99999999", False),
        ("https://th.wikipedia.org/w/index.php", False),
        ("99999999", False),
        ("ข้าว", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_a_page_is_the_same_under_any_of_its_addresses(source, same):
    asked = [question(OTHER[::-1], "a", source=source), question(OTHER[::-1], "b", source=source)]
    for page in (
        Source("wikipedia", "ข้าว ซอย", URL, "11223344"),
        Source("wikipedia", None, URL, "11223344"),
    ):
        result = overlap([row(source=page), row()], asked)
        assert list(result.rows) == [0] * same
        ids = [hit.questions for hits in result.rows.values() for hit in hits]
        assert ids == [("a", "b")] * same


@pytest.mark.parametrize(
    ("source", "asked", "same"),
    [
        (Source("document", "บทที่ 1", "tales.jsonl", "a" * 16), "บทที่ 1", True),
        (Source("document", "บทที่ 1", "tales.jsonl", "a" * 16), "tales.jsonl", False),
        (Source("document", None, "tales.txt", "a" * 16), "tales.txt", True),
        (Source("document", None, "tales.txt", "a" * 16), "a" * 16, True),
        (Source("page", "ข้าวซอย"), "https://th.wikipedia.org/wiki/ข้าวซอย", True),
        (
            Source("page", None, "https://news.example/read?id=7&utm_source=x"),
            "news.example/read?id=7",
            True,
        ),
        (
            Source("page", None, "https://news.example/read?id=7"),
            "https://news.example/read?id=8",
            False,
        ),
        (Source("written", "บทความสารคดี"), "บทความสารคดี", False),
        (Source(), "", False),
    ],
)
def test_other_sources(source, asked, same):
    result = overlap([row(source=source)], [question(OTHER[::-1], source=asked)])
    assert result.by_kind["page"] == same


class Letters:
    """Texts by their first letters."""

    def encode(self, texts):
        vectors = np.zeros((len(texts), 128), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[ord(text[0]) % 64] += 0.8
            vector[64 + ord(text[1]) % 64] += 0.6
        return vectors


def test_meaning_is_compared_where_an_encoder_is_given():
    rows = [row(instruction="ab one"), row(instruction="ac two"), row(instruction="zz")]
    asked = [question("ab another", "x"), question("qq", "y"), question("ab a third", "z")]
    result = overlap(rows, asked, encoder=Letters())
    (hit,) = result.rows[0]
    assert list(result.rows) == [0]
    assert (hit.kind, hit.questions, hit.excerpt) == ("semantic", ("x",), "ab one")
    assert hit.share == pytest.approx(1)
    both = overlap(rows, asked, encoder=Letters(), threshold=0.6)
    assert list(both.rows) == [0, 1] and both.rows[1][0].share == pytest.approx(0.64, abs=1e-6)
    assert not overlap(rows, asked, encoder=Letters(), threshold=1.0).rows
    assert not overlap(rows, asked).rows


def test_an_encoder_that_knows_nothing_is_refused():
    class Same:
        def encode(self, texts):
            return np.ones((len(texts), 1), np.float32)

    rows = [
        row(instruction=f"{chr(0x0E01 + n)}{chr(0x0E01 + n * 7 % 40)}" * 20, topic=str(n))
        for n in range(40)
    ]
    with pytest.raises(EncoderError, match="unrelated"):
        overlap(rows, [question()], encoder=Same())


def by_hand(rows, asked, size):
    """What the rules give, slowly: the questions that each row holds half of, and the share."""
    texts = [squeeze(squeeze(each.question)) for each in asked]
    cut = {
        text: {text[i : i + size] for i in range(max(1, len(text) - size + 1))}
        for text in texts
        if len(text) >= 12
    }
    items = {(text, each.answer) for text, each in zip(texts, asked, strict=True)}
    for number, each in enumerate(rows):
        held = "\n".join(squeeze(squeeze(each)) for each in (each.messages[0].content, each.output))
        for text, pieces in cut.items():
            rare = {
                piece for piece in pieces
                if sum(piece in cut.get(other, ()) for other, _ in items) <= 3
            }  # fmt: skip
            share = sum(piece in held for piece in rare) / len(rare) if rare else 0
            if share >= 0.5:
                yield number, text, pytest.approx(share)


WORDS = st.lists(
    st.sampled_from(["ข้าวซอย", "abcd", "ที่ไหน", "ๆ", "ทำไม จึง", "AB CD", "กก"]), max_size=14
).map("".join)


@settings(max_examples=150)
@given(
    rows=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5),
    asked=st.lists(WORDS, min_size=1, max_size=7),
    size=st.integers(12, 20),
)
@example(rows=[("abcd" * 5, "")], asked=["abcd" * 5] * 5, size=12)
def test_it_agrees_with_a_count_by_hand(rows, asked, size):
    rows = [row(instruction=first, output=second) for first, second in rows]
    asked = [question(text, str(n)) for n, text in enumerate(asked)]
    texts = {each.id: squeeze(squeeze(each.question)) for each in asked}
    result = overlap(rows, asked, shingle=size)
    by_key = [((n, texts[hit.questions[0]]), hit) for n in result.rows for hit in result.rows[n]]
    equal = {key for key, hit in by_key if hit.kind == "exact"}
    seen = [(key, hit.share) for key, hit in by_key if hit.kind == "shingles"]
    wanted = [((n, text), share) for n, text, share in by_hand(rows, asked, size)]
    wanted = [pair for pair in wanted if pair[0] not in equal]
    assert sorted(seen, key=itemgetter(0)) == sorted(wanted, key=itemgetter(0))


@settings(max_examples=30)
@given(
    st.lists(st.text("กขคงจฉชซ ", min_size=20, max_size=200), min_size=1, max_size=8),
    st.lists(st.text("ดตถทธนบปผ ", min_size=20, max_size=200), min_size=1, max_size=8),
)
def test_unrelated_texts_never_overlap(mine, theirs):
    asked = [question(text, str(n)) for n, text in enumerate(theirs)]
    assert not overlap([row(text, text) for text in mine], asked).rows


def test_the_order_of_questions_and_rows_changes_nothing_else():
    rows = [row(), row(instruction=ASKED), row(output=ANSWER)]
    asked = [question(answer=ANSWER), question(OTHER, "o")]
    first, again = overlap(rows, asked), overlap(rows, asked)
    assert first.rows == again.rows
    turned = overlap(rows[::-1], asked[::-1])
    assert {2 - number: hits for number, hits in turned.rows.items()} == dict(first.rows)


def test_the_report_is_short_and_safe_to_print():
    source = Source("wikipedia", url="https://x.example/\x1b[31m\n")
    rows = [row(source=source, output=str(n)) for n in range(30)]
    benchmark = Fixed(question(OTHER[::-1], source="x.example/\x1b[31m"))
    result = contamination(Dataset([*rows, row(output="a")]), benchmark)
    lines = str(result).split("\n")
    assert lines[0] == "30 of 31 rows (96.8%) overlap with fixed: page 30."
    assert len(lines) == 12 and lines[-1].endswith("20 more; see .rows")
    assert "\x1b" not in str(result)
    assert str(overlap([row()], [question()])) == "0 of 1 rows (0.0%) overlap with the benchmark."


def test_nothing_on_either_side_is_nothing_found():
    assert overlap([], [question()]).share == 0
    assert not overlap([row()], []).rows and len(overlap([row()], []).clean) == 1
    assert not overlap([row()], [], encoder=Letters()).rows
    assert not overlap([row(instruction="", output="")], [question("", answer="")]).rows


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("text", {}),
        (3, {}),
        ([row()], {}),
        ([], {"shingle": 5}),
        ([], {"shingle": True}),
        ([], {"threshold": 2}),
    ],
)
def test_what_makes_no_sense_is_refused(given, options):
    with pytest.raises(ConfigError):
        contamination(Dataset([row()]), given, **options)


@pytest.mark.parametrize("dataset", [[1], "dataset.jsonl", None])
def test_a_data_set_that_is_none_is_refused(dataset):
    with pytest.raises(ConfigError, match="Give a data set"):
        contamination(dataset, [question()])


def test_training_can_ask_for_the_counts_and_a_warning(caplog):
    rows, benchmarks = Dataset([row(), row(instruction=ASKED)]), [Fixed(question())]
    with caplog.at_level(logging.WARNING, "seedfree"):
        assert overlaps(rows, benchmarks) == {"fixed": 1}
        assert overlaps(rows, benchmarks, silent=True) == {"fixed": 1}
        assert overlaps(rows[:1], benchmarks) == {"fixed": 0}
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "1 of 2 rows overlap with the benchmark fixed" in warning
    assert "\n" not in warning and ".clean" in warning


def test_a_path_for_rows_and_a_class_for_a_benchmark_are_told():
    class Mine:
        def questions(self):
            return []

    with pytest.raises(ConfigError, match="The data set is str"):
        contamination("dataset.jsonl", [])
    message = r"benchmark is the class Mine\. Make one of it: Mine\(\)\."
    with pytest.raises(ConfigError, match=message):
        contamination(Dataset(), Mine)
