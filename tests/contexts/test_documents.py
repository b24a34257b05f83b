import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedfree.contexts.documents import DocumentSource
from seedfree.errors import ConfigError
from seedfree.generators.function import FunctionGenerator
from seedfree.records import Topic
from seedfree.tasks.summarization import Summarization
from tests.fakes import sentence, small_pipeline, thai

RICE = "ข้าวหอมมะลิปลูกมากที่ทุ่งกุลาร้องไห้ในภาคอีสานของประเทศไทย เก็บเกี่ยวในเดือนพฤศจิกายน " * 2
SILK = "ผ้าไหมมัดหมี่ทอด้วยมือโดยช่างทอในจังหวัดขอนแก่น ลวดลายเกิดจากการมัดเส้นไหมก่อนย้อมสี " * 2


def put(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def texts(source):
    return [topic.text for topic in source.topics()]


def titled(title, text):
    return f"{title}\n\n{text}"


def test_files_are_read_in_the_order_of_their_names(tmp_path, caplog):
    put(tmp_path, "ข/01.txt", titled("ผ้าไหม", SILK))
    put(tmp_path, "ก.TXT", titled("ข้าว", RICE))
    put(tmp_path, ".hidden/x.txt", RICE)
    put(tmp_path, "ค.csv", RICE)
    put(tmp_path, "ง.DOC", RICE)
    source = DocumentSource(tmp_path)
    assert source.topics() == [Topic("ข้าว", "given", 0), Topic("ผ้าไหม", "given", 1)]
    (context,) = source.contexts(Topic("ผ้าไหม"))
    assert context.text == SILK.strip()
    assert (context.source.kind, context.source.title, context.source.url) == (
        "document",
        "ผ้าไหม",
        "ข/01.txt",
    )
    revision = hashlib.sha256(titled("ผ้าไหม", SILK).encode()).hexdigest()[:16]
    assert context.source.revision == revision
    assert context.source.retrieved_at is None
    assert caplog.messages == ["Files of other formats are left out: .csv (1), .doc (1)"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("00.txt", f"ผ้าไหม\n\n{SILK}"),
        ("00.txt", f"# ผ้าไหม\n{SILK}"),
        ("00.txt", f"---\ntitle: ผ้าไหม\n---\n{SILK}"),
        ("00.txt", f"<html><head><title>ผ้าไหม</title></head><body><p>{SILK}</p></body></html>"),
        ("00.md", f"<h1 class='x'>ผ้าไหม</h1>\n\n{SILK}"),
        ("00.md", f"![](x.png)\n\n# ผ้าไหม #\n\n{SILK}"),
        ("00.md", f"---\ntitle: IMG_2031\n---\n# ผ้าไหม\n\n{SILK}"),
        ("00.md", f"## ผ้าไหม\n\n{SILK}"),
        ("00.jsonl", json.dumps({"title": "00.txt", "text": f"ผ้าไหม\n\n{SILK}"})),
    ],
)
def test_a_text_says_its_own_title(tmp_path, name, text):
    put(tmp_path, name, text)
    source = DocumentSource(tmp_path)
    assert texts(source) == ["ผ้าไหม"]
    (context,) = source.contexts(source.topics()[0])
    assert context.title == "ผ้าไหม" and SILK.strip() in context.text
    assert context.topic.text == "ผ้าไหม"


def answer(prompt):
    if "title" in prompt.json_schema["properties"]:
        title = "ผ้าไหมมัดหมี่ขอนแก่น" if "ผ้าไหม" in prompt.user else "ข้าวหอมมะลิ"
        return json.dumps({"title": title})
    return thai(prompt)


def test_a_text_without_a_title_has_one_asked_for(tmp_path):
    put(tmp_path, "docs/00.txt", RICE)
    put(tmp_path, "docs/IMG_2031.txt", SILK)
    pipeline = small_pipeline(
        FunctionGenerator(answer, name="titles"),
        contexts=[DocumentSource(tmp_path / "docs")],
        tasks=[Summarization()],
    )
    run = pipeline.run(2, tmp_path / "run", progress=False)
    assert run.status == "complete"
    assert {row.topic for row in run.dataset} == {"ผ้าไหมมัดหมี่ขอนแก่น", "ข้าวหอมมะลิ"}
    assert {row.topic_kind for row in run.dataset} == {"given"}
    assert run.stats.requests == 4
    assert pipeline.estimate(20, sample=2).requests == 40
    again = pipeline.run(2, tmp_path / "run", progress=False)
    assert again.stats.requests == 4 and list(again.dataset) == list(run.dataset)


def test_a_text_that_begins_with_a_number_is_not_passed_over(tmp_path):
    put(tmp_path, "docs/00.txt", f"1932\n\n{RICE}")
    pipeline = small_pipeline(
        FunctionGenerator(answer, name="titles"),
        contexts=[DocumentSource(tmp_path / "docs")],
        tasks=[Summarization()],
    )
    run = pipeline.run(1, tmp_path / "run", progress=False)
    assert [row.topic for row in run.dataset] == ["ข้าวหอมมะลิ"]


def test_no_title_is_asked_for_a_broken_text(tmp_path):
    put(tmp_path, "docs/00.txt", SILK.replace("ทอ", "\ufffd"))
    llm = FunctionGenerator(answer, name="titles")
    pipeline = small_pipeline(
        llm, contexts=[DocumentSource(tmp_path / "docs")], tasks=[Summarization()]
    )
    run = pipeline.run(1, tmp_path / "run", progress=False)
    assert len(run.dataset) == 0 and not llm.calls
    assert "broken characters" in run.message


@pytest.mark.parametrize("title", ["", "1932", "IMG_2031", "00.txt"])
def test_a_title_that_is_none_is_not_taken(tmp_path, title):
    put(tmp_path, "docs/00.txt", SILK)
    llm = FunctionGenerator(
        lambda p: (
            json.dumps({"title": title}) if "title" in p.json_schema["properties"] else thai(p)
        ),
        name="bad titles",
    )
    pipeline = small_pipeline(
        llm, contexts=[DocumentSource(tmp_path / "docs")], tasks=[Summarization()]
    )
    run = pipeline.run(1, tmp_path / "run", progress=False)
    # The text's own words take its place.
    assert [SILK.startswith(row.topic) and len(row.topic) > 9 for row in run.dataset] == [True]


def test_markdown_gives_a_topic_for_every_section(tmp_path):
    text = f"---\ntitle: 'ของดีอีสาน'\nlicense: CC0-1.0\n---\n# บทนำ\n{RICE}\n## ผ้าไหม\n{SILK}\n"
    put(tmp_path, "a.md", text.replace("\n", "\r\n"))
    source = DocumentSource(tmp_path, license="MIT")
    assert texts(source) == ["ของดีอีสาน: บทนำ", "ของดีอีสาน: ผ้าไหม"]
    (context,) = source.contexts(source.topics()[1])
    assert context.text == SILK.strip()
    assert (context.title, context.source.title, context.source.license) == (
        "ของดีอีสาน: ผ้าไหม",
        "ของดีอีสาน",
        "CC0-1.0",
    )


def test_a_markdown_title_is_not_said_twice(tmp_path):
    put(tmp_path, "a.md", f"# ข้าว\n{RICE}\n## ผ้า\n{SILK}")
    assert texts(DocumentSource(tmp_path)) == ["ข้าว", "ข้าว: ผ้า"]


@pytest.mark.parametrize("text", [f"---\n{RICE}", f"---\n---\n{RICE}", f"---\ntitle: x\n{RICE}"])
def test_unfinished_front_matter_is_text(tmp_path, text):
    put(tmp_path, "a.md", text)
    source = DocumentSource(tmp_path)
    assert RICE.strip() in source.contexts(source.topics()[0])[0].text


def test_json_lines_are_documents(tmp_path):
    rows = [
        {"text": RICE, "title": "ข้าว\nหอม", "url": "https://a.example/1", "license": "CC-BY-4.0"},
        {"text": SILK, "title": 5, "extra": [1]},
        {"text": "สั้น"},
    ]
    put(tmp_path, "a.jsonl", "\ufeff" + "\n\n".join(json.dumps(row) for row in rows) + "\n")
    source = DocumentSource(tmp_path, license="MIT")
    first, second = source.topics()
    assert first.text == "ข้าว"
    assert second.text and SILK.startswith(second.text) and len(second.text) <= 60
    (context,) = source.contexts(first)
    assert (context.source.url, context.source.license) == ("https://a.example/1", "CC-BY-4.0")
    (context,) = source.contexts(second)
    assert (context.source.url, context.source.license) == ("a.jsonl", "MIT")


def test_every_piece_of_a_long_text_has_a_topic_of_its_own(tmp_path):
    put(tmp_path, "0.txt", titled("ข้าว", "\n".join([RICE] * 10)))
    source = DocumentSource(tmp_path, max_chars=400)
    assert texts(source)[:3] == ["ข้าว", "ข้าว (2)", "ข้าว (3)"]
    pieces = [source.contexts(topic) for topic in source.topics()]
    assert all(len(piece) == 1 and len(piece[0].text) <= 400 for piece in pieces)
    assert sum(piece[0].text.count("ร้องไห้") for piece in pieces) == 20


def test_equal_titles_keep_their_own_sections(tmp_path):
    put(tmp_path, "a/x.txt", titled("ของดี", RICE))
    put(tmp_path, "b/x.txt", titled("ของดี", SILK))
    source = DocumentSource(tmp_path)
    assert texts(source) == ["ของดี", "ของดี (2)"]
    assert source.contexts(Topic("ของดี (2)"))[0].text == SILK.strip()


def test_other_topics_get_the_sections_that_resemble_them(tmp_path):
    put(tmp_path, "1.txt", titled("ข้าว", RICE))
    put(tmp_path, "2.txt", titled("ไหม", SILK))
    put(
        tmp_path,
        "3.txt",
        titled(
            "Catfish", "The giant catfish is among the largest freshwater fish in the world. " * 2
        ),
    )
    source = DocumentSource(tmp_path)
    assert [c.title for c in source.contexts(Topic("ช่างทอผ้าไหม"))] == ["ไหม"]
    assert [c.title for c in source.contexts(Topic("ทุ่งกุลา ร้องไห้"))] == ["ข้าว"]
    assert [c.title for c in source.contexts(Topic("GIANT catfish"))] == ["Catfish"]
    assert source.contexts(Topic("ฟุตบอลโลก")) == []
    assert source.contexts(Topic("...")) == []
    assert source.contexts(Topic("")) == []


def test_a_resembling_topic_gets_at_most_so_many(tmp_path):
    for name in "กขคงจ":
        put(tmp_path, f"{name}.txt", titled(f"ข้าว {name}", RICE))
    contexts = DocumentSource(tmp_path, sections=3).contexts(Topic("ข้าวหอมมะลิ"))
    assert [c.title for c in contexts] == ["ข้าว ก", "ข้าว ข", "ข้าว ค"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", b"ok\n\xff\xfe", "a.txt, line 2: not UTF-8"),
        ("x/b.jsonl", '{"text": "a"}\n{"text": ', "x/b.jsonl, line 2: not JSON"),
        ("b.jsonl", '\n["text"]', "b.jsonl, line 2: no text"),
        ("b.jsonl", '{"text": null}', "b.jsonl, line 1: no text"),
        ("b.jsonl", "[" * 100_000, "b.jsonl, line 1: not JSON"),
        ("a.md", "   \n", "No file in .* holds a text"),
        ("a.txt", "สั้น", "Lower min_chars"),
    ],
)
def test_a_bad_file_is_named_before_anything_is_paid_for(tmp_path, name, data, words):
    put(tmp_path, name, data)
    source = DocumentSource(tmp_path)
    with pytest.raises(ConfigError, match=words) as caught:
        source.ready()
    assert "\n" not in str(caught.value)


def test_an_empty_or_missing_folder_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        DocumentSource(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"holds no \.txt"):
        DocumentSource(tmp_path)
    put(tmp_path, "a.txt/b.csv", "x")
    with pytest.raises(ConfigError, match=r"holds no \.txt"):
        DocumentSource(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 0},
        {"sections": 0},
        {"min_chars": 0},
        {"max_chars": 50},
        {"resemblance": 0},
        {"resemblance": 1.1},
    ],
)
def test_a_wrong_setting_is_refused(tmp_path, wrong):
    put(tmp_path, "a.txt", RICE)
    with pytest.raises(ConfigError):
        DocumentSource(tmp_path, **wrong)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=4), st.text(max_size=30))
def test_any_text_is_read_and_any_topic_answered(tmp_path, bodies, topic):
    for name in ("a.md", "a.txt"):
        put(tmp_path, name, ("x" * 100 + "\n\n".join(bodies)).encode("utf-8", "replace"))
    put(
        tmp_path,
        "a.jsonl",
        "\n".join(json.dumps({"text": "y" * 100 + body, "title": body}) for body in bodies),
    )
    source = DocumentSource(tmp_path, max_chars=150)
    for own in source.topics():
        (context,) = source.contexts(own)
        assert 100 <= len(context.text) <= 150
        assert context.source.url in ("a.md", "a.txt", "a.jsonl")
    assert len(source.contexts(Topic(topic))) <= 2


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    put(tmp_path, "private.txt", SILK)
    put(tmp_path, "docs/ข้าว.txt", titled("ข้าว", RICE))
    (tmp_path / "docs" / "ไหม.txt").symlink_to(tmp_path / "private.txt")
    with pytest.raises(ConfigError, match=r"ไหม\.txt is a link that leads out"):
        DocumentSource(tmp_path / "docs")
    (tmp_path / "docs" / "ไหม.txt").unlink()
    (tmp_path / "docs" / "again.txt").symlink_to("ข้าว.txt")
    # So does a folder that is named by a link.
    (tmp_path / "link").symlink_to(tmp_path / "docs")
    assert texts(DocumentSource(tmp_path / "link")) == ["ข้าว", "ข้าว (2)"]


def test_a_file_that_memory_cannot_hold_is_named(tmp_path):
    with put(tmp_path, "all.txt", RICE).open("r+b") as file:
        file.truncate(5 * 2**30)
    with pytest.raises(ConfigError, match=r"all\.txt is larger than 1 GiB"):
        DocumentSource(tmp_path).ready()


def test_two_folders_are_two_sources(tmp_path):
    put(tmp_path, "one/a.txt", RICE)
    crafts = [f"ผ้าไหมลาย{name}" for name in ("นาค", "ขอ", "หมาก", "โคม", "สน", "ปลา")]
    for i, craft in enumerate(crafts):
        put(tmp_path, f"two/{i}.txt", f"{craft} {SILK}")
    sources = [DocumentSource(tmp_path / name, sections=1) for name in ("one", "two")]
    pipeline = small_pipeline(contexts=sources, tasks=[Summarization()], topics=crafts)
    run = pipeline.run(6, tmp_path / "run", progress=False)
    # The first folder holds nothing on these topics, and must not answer for the second.
    assert (run.status, len(run.dataset)) == ("complete", 6)


def test_many_equal_titles_are_numbered_at_once(tmp_path):
    lines = [json.dumps({"title": "ข่าว", "text": f"{RICE} {i}"}) for i in range(8000)]
    put(tmp_path, "a.jsonl", "\n".join([json.dumps({"title": "ข่าว (3)", "text": SILK}), *lines]))
    names = texts(DocumentSource(tmp_path))
    assert names[:5] == ["ข่าว (3)", "ข่าว", "ข่าว (2)", "ข่าว (4)", "ข่าว (5)"]
    assert len(set(names)) == 8001 and names[-1] == "ข่าว (8001)"


def test_two_folders_with_texts_of_one_title_are_both_asked(tmp_path):
    put(tmp_path, "a/other.txt", "other\n\n" + sentence("other", words=60))
    for name in "abc":
        put(tmp_path, f"{name}/same.txt", "same\n\n" + sentence(name, words=60))
    sources = [DocumentSource(tmp_path / name) for name in "abc"]
    pipeline = small_pipeline(contexts=sources, tasks=[Summarization()])
    run = pipeline.run(size=9, out=tmp_path / "run", progress=False)
    revisions = {row.source.revision for row in run.dataset}
    assert (len(revisions), run.stats.topics, run.stats.contexts) == (4, 2, 4)


def test_titles_that_differ_in_marks_and_capitals_alone_are_topics_of_their_own(tmp_path):
    for number, name in enumerate(["Rice field", "rice-field", "Rice field 2", "RICE FIELD"]):
        put(tmp_path, f"{number}/{name}.txt", f"{name}\n\n{sentence(name, words=60)}")
    pipeline = small_pipeline(contexts=[DocumentSource(tmp_path)], tasks=[Summarization()])
    assert pipeline.run(size=4, out=tmp_path.parent / "run", progress=False).status == "complete"
