"""A data set's card: counts, reasons and attribution, and no markup of others."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seedfree.card import dataset_card
from seedfree.dataset import Dataset
from seedfree.languages import Language
from seedfree.records import Instruction, Source

THAI = Language(code="th", name="Thai", native="ไทย", script="Thai", persona="")
PAGE = Source(
    "wikipedia",
    "ต้มยำ",
    "https://th.wikipedia.org/wiki/ต้มยำ",
    "123",
    "CC-BY-SA-4.0",
    "2026-11-02T00:00:00Z",
)
LATER = Source("wikipedia", "ต้มยำ", PAGE.url, "123", "CC-BY-SA-4.0", "2026-11-03T00:00:00Z")


def row(source=PAGE, task="closed_qa", kind="cultural"):
    return Instruction(
        task=task, instruction="i", output="o", topic_kind=kind, source=source, generator="m@local"
    )


def made(rows, **options):
    return dataset_card(Dataset(rows), **{"language": THAI, "generator": "m@local", **options})


def front(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_front_matter():
    head = front(made([row(), row(Source("written"), "summarization")]))
    assert (
        head["language"] == ["th"]
        and head["license"] == "cc-by-sa-4.0"
        and head["size_categories"] == ["n<1K"]
    )
    assert (
        head["task_categories"] == ["question-answering", "summarization"]
        and "synthetic" in head["tags"]
    )
    files = [{"split": "train", "path": "dataset.jsonl"}]
    assert head["configs"] == [{"config_name": "default", "data_files": files}]
    assert head["dataset_info"]["splits"] == [{"name": "train", "num_examples": 2}]
    assert head["pretty_name"] == "Instructions in Thai" and "license_name" not in head
    assert front(made([row()] * 1_000))["size_categories"] == ["1K<n<10K"]
    norwegian = Language(code="no", name="Norwegian", native="norsk", script="Latin", persona="")
    assert front(made([], language=norwegian))["language"] == ["no"], "not a boolean"


def test_front_matter_says_where_the_rows_are_from():
    found = front(made([row()]))
    assert found["annotations_creators"] == ["machine-generated"]
    assert found["language_creators"] == ["machine-generated", "found"]
    assert found["source_datasets"] == ["extended|wikipedia"]
    page = "https://p.example/terms"
    written = front(made([row(Source("written"))], terms_page=page))
    assert written["license"] == "other" and written["license_link"] == page
    assert written["license_name"] == "terms-of-the-generator"
    assert written["language_creators"] == ["machine-generated"]
    assert written["source_datasets"] == ["original"]
    assert "license_link" not in front(made([row(Source("written"))]))
    mixed = front(made([row(), row(Source("written")), row(Source("human"))]))
    assert mixed["source_datasets"] == ["original", "extended|wikipedia"]
    assert mixed["annotations_creators"] == ["machine-generated", "found"]
    people = front(made([row(Source("human"))]))
    assert people["annotations_creators"] == people["language_creators"] == ["found"]


def test_rows_by_people_are_not_called_a_models():
    assert "No existing instruction data" in made([row()])
    mixed = made([row(), row(Source("human"))])
    assert "1 of them are not: people wrote these." in mixed
    assert "No existing instruction data" not in mixed


@pytest.mark.parametrize("rows", [[], [row()], [row(Source("written")), row(Source("human"))]])
def test_the_hubs_own_library_reads_the_front_matter(rows):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.DatasetCard(made(rows, terms_page="https://p.example/terms"))
    data = card.data.to_dict()
    assert data == front(card.content) and "dataset_info" in data
    again = hub.DatasetCardData(**data)
    assert again.license == data["license"] and again.pretty_name == data["pretty_name"]
    # What the hub's documentation lists (docs/hub/datasets-cards, datasetcard.md).
    creators = {"crowdsourced", "found", "expert-generated", "machine-generated"}
    for name in ("annotations_creators", "language_creators"):
        assert set(data.get(name, ())) <= creators


def test_any_two_runs_load_with_the_same_types(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    bare = Instruction("closed_qa", "ประชุมวันใด", "2024-05-01", language="th")
    for number, rows in enumerate([[bare], [row(LATER), row(PAGE)], [bare, row()]]):
        folder = tmp_path / str(number)
        folder.mkdir()
        Dataset(rows).to_jsonl(folder / "dataset.jsonl")
        (folder / "README.md").write_text(made(rows), "utf-8")
        loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "hub"))
        assert loaded.features == Dataset(rows).to_hf().features and len(loaded) == len(rows)
        loaded.to_json(tmp_path / "again.jsonl", force_ascii=False)
        again = Dataset.from_jsonl(tmp_path / "again.jsonl")
        assert [each.instruction for each in again] == [each.instruction for each in rows]


def test_counts_reasons_and_attribution():
    text = made(
        [row(LATER), row(PAGE), row(Source("written"), "summarization", "general")],
        drops={"language": 2, "duplicate": 1_500, "grounding": 0},
        counts={"requests": 1_234, "rounds": 2},
        terms="Use as you like.",
        status="short",
    )
    assert "| closed\\_qa | 2 | 0 | 2 |" in text and "| all | 2 | 1 | 3 |" in text
    assert (
        text.index("| duplicate | 1,500 |") < text.index("| language | 2 |")
        and "| all | 1,502 |" in text
    )
    assert (
        "grounding |" not in text
        and "| requests | 1,234 |" in text
        and "Use as you like\\." in text
    )
    assert "ran dry" in text
    (line,) = [line for line in text.splitlines() if line.startswith("- [")]
    assert line.startswith("- [ต้มยำ](<https://th.wikipedia.org/wiki/%E0%B8%95")
    assert "revision 123" in line and "2026\\-11\\-02" in line and line.endswith("(2 rows)")
    assert "changed by a model" in text and "creativecommons.org/licenses/by-sa/4.0/" in text


def test_same_card_whatever_the_order_of_equal_facts():
    rows = [row(), row(Source("document", "b.txt")), row(Source("document", "a.txt"))]
    assert made(rows, drops={"a": 1, "b": 1}) == made(rows[::-1], drops={"b": 1, "a": 1})


def test_hostile_titles_stay_text():
    title = (
        "x](javascript:alert(1)) <script>y</script> | ![i](http://e.example/p) "
        "\x1b[31m \u202eevil\n# Heading `c`"
    )
    text = made(
        [
            row(Source("wikipedia", title, "javascript:alert(1)")),
            row(Source("document", "t", 'http://h/a>b "c\n')),
        ],
        drops={title: 1},
        generator=title,
        terms=title,
    )
    assert (
        "<script" not in text
        and "\x1b" not in text
        and "\u202e" not in text
        and "\n# Heading" not in text
    )
    assert (
        not re.search(r"(?<!\\)\]\(<?javascript", text)
        and "![i]" not in text
        and "http://e" not in text
    )
    assert "(<http://h/a%3Eb%20%22c%0A>)" in text
    assert all(re.fullmatch(r"\|.*\|", line) for line in text.splitlines() if line.startswith("|"))


@given(st.text(max_size=60))
def test_any_title_is_one_line_without_markup(title):
    text = made([row(Source("document", title or "t", title))], drops={title: 1}, generator=title)
    (line,) = [line for line in text.split("\n") if line.endswith("(1 row)")]
    assert not re.search(r"""(?<!\\)[`*_{}!|~^]|[\x00-\x1f\x7f-\x9f]|<(?!https?:)|['"]""", line)
    assert front(text)["language"] == ["th"]


def test_an_empty_data_set_has_a_card():
    text = made([], drops={})
    assert text.startswith("---\n") and "## Dropped rows\n\nNone." in text


def test_of_rows_that_are_no_whole_run_nothing_is_made_up():
    text = made([row()])
    assert "## Dropped rows" not in text and "Status" not in text and "size that was" not in text
