"""A trained adapter's card: what it was made from and by whom, and no markup of others."""

import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from seedfree.card import model_card
from seedfree.dataset import Dataset
from seedfree.records import Instruction, Source
from seedfree.training.config import QLoRAConfig

PAGE = Source("wikipedia", "ต้มยำ", "https://th.wikipedia.org/wiki/ต้มยำ", "1", "CC-BY-SA-4.0")
HUMAN = Source("human", title="set.jsonl", license="CC-BY-4.0")


def row(source=PAGE, task="closed_qa", generator="m@local", language="th"):
    return Instruction(task, "i", "o", source=source, generator=generator, language=language)


MIXED = [row()] * 3 + [row(HUMAN, generator="human")] * 2 + [row(Source("topic"), "conversation")]


def made(rows=MIXED, **options):
    given = {"base_model": "org/base-8B", "recipe": QLoRAConfig().model_dump(), **options}
    return model_card(Dataset(rows), **given)


def front(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_front_matter():
    head = front(made(license="llama3"))
    assert (
        head["language"] == ["th"]
        and head["license"] == "llama3"
        and head["base_model"] == "org/base-8B"
    )
    assert head["library_name"] == "peft" and head["base_model_relation"] == "adapter"
    assert front(made([row(language="no"), row(language="lo")]))["language"] == ["lo", "no"], (
        "not a boolean"
    )
    assert "language" not in front(made([]))


def test_people_and_models_are_told_apart():
    text = made()
    assert "4 of its rows were written by a language model and 2 by people" in text
    assert "| closed\\_qa | 3 | 2 | 5 |" in text and "| conversation | 1 | 0 | 1 |" in text
    assert "| all | 4 | 2 | 6 |" in text
    assert "| human | human | CC\\-BY\\-4\\.0 | 2 |" in text
    assert "| wikipedia | m\\@local | CC\\-BY\\-SA\\-4\\.0 | 3 |" in text
    assert "| topic | m\\@local | no outside text | 1 |" in text


def test_every_setting_of_the_recipe_is_there():
    text = made(recipe=QLoRAConfig.paper().model_dump()).replace("\\", "")
    assert not [name for name in QLoRAConfig.model_fields if f"| {name} | " not in text]
    assert (
        "| modules_to_save | embed_tokens, lm_head |" in text
        and "| learning_rate | 0.00015 |" in text
    )
    assert "| packing | no |" in text and "| max_length | 4,000 |" in text


def test_figures_terms_and_versions():
    text = made(
        figures={"held-out loss": 1.25, "rows cut": 1200},
        terms="Use it as you like. " * 20,
        versions={"trl": "1.16"},
    )
    assert text.count("Use it as you like\\.") == 20
    assert "| held\\-out loss | 1\\.25 |\n| rows cut | 1,200 |" in text
    assert "Made with trl 1\\.16." in text and "not on record here" not in text
    assert "not on record here" in made() and "## Training\n" not in made()


def test_a_path_is_not_published():
    text = made(base_model="/home/somebody/models/base")
    assert "somebody" not in text and "trained on 6" in text and "base_model" not in front(text)


def test_same_card_whatever_the_order_of_the_rows():
    assert made(MIXED) == made(MIXED[::-1])


@given(st.text(max_size=60))
def test_text_of_others_adds_no_markup(text):
    source = Source(text or "k", license=text)
    made_card = made(
        [row(source, text, text, text)],
        base_model=text,
        terms=text,
        figures={text: text},
        license=text,
    )
    body = made_card.split("---\n", 2)[2]
    mine = made(
        [row(Source("k", license="t"), "t", "t", "t")],
        base_model="t",
        terms="t",
        figures={"t": "t"},
    ).split("---\n", 2)[2]
    assert body.count("\n") == mine.count("\n"), "no line is added"
    assert body.count("```") == 2 and not re.search(
        r"<(?!\||/)[a-zA-Z!]|[\x00-\x08\x1b\u202e]", body.split("```")[2]
    )
    assert front(made_card)["library_name"] == "peft"
