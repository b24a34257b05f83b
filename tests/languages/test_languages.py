"""Every language file has the placeholders that are filled in, and examples that fit the tasks."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from string import Template

import pytest

from seedfree.contexts.written import Written
from seedfree.errors import ConfigError
from seedfree.languages import Language, languages
from seedfree.tasks.brainstorming import Brainstorming
from seedfree.tasks.closed_qa import ClosedQA
from seedfree.tasks.conversation import Conversation
from seedfree.tasks.extractive_qa import ExtractiveQA
from seedfree.tasks.multiple_choice import MultipleChoice
from seedfree.tasks.summarization import Summarization
from seedfree.topics import Topics

PLACEHOLDERS = {
    "order_points": "topic count",
    "order_numbered": "topic count",
    "order_line": "topic",
    "order_first": "topic word",
    "order_last": "topic word",
    "order_no_digits": "topic",
    "order_no_latin": "topic",
    "order_json": "topic words",
    "order_short": "topic count",
    "order_contains": "topic word other",
    "order_without": "topic word other",
    "order_quoted": "topic",
    "order_parts": "topic",
    "topics_general": "count domain asker avoid",
    "topics_cultural": "count culture region avoid",
    "topics_avoid": "avoid",
    "asker": "askers",
    "written": "kinds length",
    "made_up": "",
    "title": "context",
    "closed_qa": "context asker form length",
    "closed_qa_pairs": "context count",
    "closed_qa_unanswerable": "context asker form length",
    "closed_qa_check": "context instruction",
    "classification": "topic text scheme labels label form",
    "classification_blind": "text labels",
    "open_qa": "topic asker form length",
    "open_qa_again": "instruction length",
    "open_qa_agree": "instruction first second",
    "rewrite": "context form rewriting",
    "rewrite_mistakes": "context form rewriting",
    "extract": "context form extract",
    "extractive_qa": "context",
    "extractive_qa_about": "title question",
    "titled_request": "context requests",
    "reverse_instruction": "context form",
    "summarization": "context form summary",
    "conversation": "topic asker form length register turns continued",
    "conversation_continued": "",
    "multiple_choice": "context wrong others",
    "multiple_choice_others": "",
    "brainstorming": "topic asker form kind length",
    "multiple_choice_question": "question choices",
    "multiple_choice_answer": "explanation label choice",
    "multiple_choice_answer_first": "explanation label choice",
    "multiple_choice_blind": "question",
    "appeal": "doubts instruction output text",
    "repair": "faults row",
    "rubric": "instruction input output questions",
    "judge": "instruction input output",
    "judge_pair": "instruction input first second",
    "judge_reference": "reference",
    "judge_persona": "language",
}
FIELDS = {
    **{
        t.name: t.Fields
        for t in (
            ClosedQA,
            Summarization,
            Conversation,
            MultipleChoice,
            Brainstorming,
            ExtractiveQA,
        )
    },
    "topics": Topics,
    "written": Written,
}
KEYS = {
    "extractive_qa": "instruction output",
    "titled_request": "choice",
    "closed_qa": "evidence instruction output",
    "closed_qa_pairs": "pairs evidence instruction output",
    "summarization": "instruction output",
    "conversation": "turns user assistant",
    "multiple_choice": "evidence question correct wrong explanation",
    "brainstorming": "instruction output",
    "topics_general": "topics",
    "topics_cultural": "topics",
    "multiple_choice_blind": "label",
    "written": "kind text",
    "appeal": "verdicts rule quotation supported",
    "rubric": "findings name quotation yes",
    "judge": "rationale score",
    "judge_pair": "rationale verdict",
}
FACETS = {
    "domains",
    "culture",
    "regions",
    "askers",
    "registers",
    "text_lengths",
    "summary_forms",
    "extract_forms",
    "order_words",
    "requests",
}
every_language = pytest.mark.parametrize("code", list(languages()))


def _script(text: str) -> set[str]:
    return {
        unicodedata.name(c, "?").split()[0].title()
        for c in text
        if unicodedata.category(c) in ("Lo", "Lu", "Ll")
    }


@every_language
def test_names_scripts_and_lists(code: str) -> None:
    language = Language.load(code)
    assert language.code == code and Language.load(language.name.upper()) is language
    assert language.script.split()[0] in _script(language.native) and language.persona.strip()
    assert len(language.digits) in (0, 10) and all(
        unicodedata.digit(d) == i for i, d in enumerate(language.digits)
    )
    assert len(language.labels) >= 6 and len(set(language.labels)) == len(language.labels)
    assert len(language.end_sections) >= 5 and len(language.refusals) >= 6
    for phrases in (
        language.end_sections,
        language.refusals,
        language.name_markers,
        *language.facets.values(),
    ):
        assert len(set(phrases)) == len(phrases) and all(p == p.strip() and p for p in phrases)
    assert all(r == r.lower() for r in language.refusals)


@every_language
def test_prompts_have_exactly_the_placeholders_that_are_filled_in(code: str) -> None:
    prompts = Language.load(code).prompts
    assert prompts.keys() <= PLACEHOLDERS.keys() and (
        code not in ("th", "en") or prompts.keys() == PLACEHOLDERS.keys()
    )
    for name, text in prompts.items():
        assert set(Template(text).get_identifiers()) == set(PLACEHOLDERS[name].split()), name
        assert Template(text).is_valid(), name
        if name in KEYS:
            places = [text.rindex(f"{key}:") for key in KEYS[name].split()]
            assert places == sorted(places), f"{name} does not name its JSON keys in order"


@every_language
def test_facets_are_wide_enough(code: str) -> None:
    language = Language.load(code)
    # The English lists stand in for a missing one, except where they would put another people's
    # life in its place.
    assert language.facets.keys() <= FACETS and {"culture", "regions"} <= language.facets.keys()
    least = {"domains": 25, "culture": 24, "askers": 20, "regions": 6}
    assert all(len(language.facet(name)) >= least.get(name, 3) for name in FACETS)


@every_language
def test_styles_are_the_papers_thirteen(code: str) -> None:
    styles = Language.load(code).styles
    assert len(styles) == len({s.name for s in styles}) == 13
    for style in styles:
        assert Template(style.prompt).is_valid() and Template(style.prompt).get_identifiers() == [
            "topic"
        ], style.name


@every_language
def test_format_examples_fit_their_tasks(code: str) -> None:
    language = Language.load(code)
    # Questions of gaps are for the languages that have them.
    without = set() if language.gaps else {"extractive_qa"}
    assert language.format_examples.keys() == FIELDS.keys() - without
    for task, examples in language.format_examples.items():
        assert len(examples) >= {"th": 8, "en": 3}.get(code, 2), task
        assert len({e.given for e in examples}) == len(examples)
        for example in examples:
            fields = FIELDS[task].model_validate_json(example.reply)
            reply = json.loads(example.reply)
            assert example.given == " ".join(example.given.split())
            if "evidence" in reply:
                assert reply["evidence"] in example.given
                assert reply["evidence"] != reply.get("output")
            if task == "multiple_choice":
                assert (
                    isinstance(fields, MultipleChoice.Fields)
                    and len({*fields.wrong, fields.correct}) == 4
                )


def test_thai_examples_are_short_and_keep_the_rules_of_style() -> None:
    language = Language.load("th")
    for task, examples in language.format_examples.items():
        for example in examples:
            if task in ("closed_qa", "summarization", "multiple_choice"):
                assert 220 <= len(example.given) <= 450
            if task == "written":
                assert 350 <= len(json.loads(example.reply)["text"]) <= 600
            text = example.given + example.reply
            assert not any(word in text for word in ("ทำการ", "ในการที่จะ", "ทรงเสด็จ", "ตามบริบท"))
            assert not any(digit in text for digit in language.digits)
            if task != "conversation":
                assert not any(particle in text for particle in ("ครับ", "ค่ะ", "นะคะ"))


def test_thai_quotas_reach_every_part_of_the_country() -> None:
    regions = " ".join(Language.load("th").facet("regions"))
    assert all(
        part in regions
        for part in (
            "อีสาน",
            "ภาคเหนือ",
            "ภาคใต้",
            "มลายูมุสลิม",
            "เชื้อสายจีน",
            "ภาคกลาง",
            "ภาคตะวันออก",
            "บนพื้นที่สูง",
        )
    )


def test_a_prompt_that_a_file_leaves_out_is_asked_in_english() -> None:
    language = Language(code="xx", name="Nowhere", native="Nirgends", script="Latin", persona="x")
    text = language.text("brainstorming", topic="$asker", asker="b", kind="c", length="d", form="e")
    assert '"$asker"' in text and text.endswith("Write every value in Nowhere (Nirgends) only.")
    assert language.facet("domains") == Language.load("en").facet("domains")


@pytest.mark.parametrize("name", ["thia", "Klingon", "../th", ""])
def test_an_unknown_language_names_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"Unknown language .*Ready-made: .*th"):
        Language.load(name)


def test_every_language_is_known_by_its_three_letters_too():
    long = {
        "eng": "en",
        "ind": "id",
        "khm": "km",
        "lao": "lo",
        "mya": "my",
        "swh": "sw",
        "tha": "th",
        "tur": "tr",
    }
    long["vie"] = "vi"
    assert {code: Language.load(code).code for code in long} == long
    assert set(long.values()) == set(languages())


OWN = """
code = "xx"
name = "Nowhere"
native = "Nirgends"
script = "Latin"
persona = "Du sprichst Nirgends."
"""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("digits = '0123456789'", ""),
        ("[prompts]\njudge_reference = 'Siehe $reference für 5 $$.'", ""),
        ("scrpt = 'Latin'", "scrpt is unknown. Did you mean 'script'?"),
        ("era_offset = 'x'", "era_offset: Input should be a valid integer"),
        ("segmenter = 'newm'", "segmenter: 'newm' is unknown. Did you mean 'newmm'?"),
        ("digits = '012'", "digits: '012' is not the digits 0 to 9"),
        ("digits = '๐๑๒๓๔๕๖๗๘'", "is not the digits"),
        ("refusals = ['Ich kann nicht']", "refusals: not in lower case"),
        ("refusals = ['']", "refusals: an entry is blank"),
        ("refusals = ['(']", "refusals.0: not a regular expression"),
        ("slips = ['a', '[']", "slips.1: not a regular expression"),
        ("joint_choices = ['All of them']", "joint_choices: not in lower case"),
        ("label_names = ['option']", "label_names.0: lacks $label"),
        ("[facets]\ndomain = ['x']", "facets.domain is unknown. Did you mean 'domains'?"),
        ("[prompts]\nclosedqa = 'x'", "prompts.closedqa is unknown. Did you mean 'closed_qa'?"),
        ("[prompts]\nclosed_qa = '$asker $length'", "prompts.closed_qa: lacks $context"),
        ("[prompts]\nwritten = '$request $lenght'", "$lenght is unknown. Did you mean 'length'?"),
        ("[prompts]\njudge_reference = '$reference 5 $'", "a $ without a name"),
        ("[numbers]\n7 = ['saba']\nx100 = ['mia']\n'0.5' = ['nusu']", ""),
        ("[numbers]\nseven = ['saba']", "numbers.seven is unknown"),
        ("[numbers]\nx07 = ['saba']", "numbers.x07 is unknown"),
        ("[numbers]\ncouted = ['watu']", "Did you mean 'counted'?"),
        ("[numbers]\n7 = ['saba', ' ']", "numbers.7: an entry is blank"),
        ("[numbers]\nmonths = ['januari', 'februari']", "numbers.months: 2 months and not 12"),
        ("[[styles]]\nname = 'a'\nprompt = 'b'", "styles.0.prompt: lacks $topic"),
        ("[[styles]]\nname = 'a'\npromt = '$topic'", "styles.0.promt is unknown"),
        ("[[format_examples.topics]]\ngiven = 'a'\nreply = '{'", "topics.0.reply: not JSON"),
    ],
)
def test_a_fault_of_a_file_is_named(tmp_path: Path, more: str, says: str) -> None:
    path = tmp_path / "xx.toml"
    path.write_text(f"{OWN}{more}")
    if not says:
        assert Language.from_file(path).code == "xx"
        return
    with pytest.raises(ConfigError, match="xx.toml") as caught:
        Language.from_file(path)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_all_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "xx.toml"
    path.write_text(
        'script = "latin"\ncolour = 1\n[prompts]\nwritten = "$typo"\n'
        "[answers]\nsay = ['x']\nsays = ['(']\n"
    )
    with pytest.raises(ConfigError) as caught:
        Language.from_file(path)
    for part in (
        "code",
        "persona",
        "colour",
        "'Latin'",
        "lacks $kinds",
        "$typo is unknown",
        "answers.say is",
        "answers.says.0: not a regular",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"script": "latin"}, "script: 'latin' is unknown. Did you mean 'Latin'?"),
        ({"script": "Thai "}, "Did you mean 'Thai'?"),
        ({"segmenter": "newm"}, "segmenter: 'newm' is unknown. Did you mean 'newmm'?"),
        ({"digits": "0123"}, "is not the digits 0 to 9"),
        ({"scrpt": "Latin"}, "scrpt is unknown. Did you mean 'script'?"),
        ({"era_offset": "x"}, "era_offset: Input should be a valid integer"),
    ],
)
def test_a_language_made_by_hand_is_refused_as_its_file_would_be(given: dict, says: str) -> None:
    own = {"code": "xx", "name": "Nowhere", "native": "", "script": "Latin", "persona": "x"}
    with pytest.raises(ConfigError, match="Language") as caught:
        Language(**{**own, **given})
    assert says in str(caught.value)
    assert Language(**own) == replace(Language(**own), script="Latin")


def test_a_prompt_of_a_language_made_by_hand_names_what_it_lacks() -> None:
    wrong = {"judge_reference": "$reference $typo", "judge": "5 $"}
    language = Language("xx", "Nowhere", "", "Latin", "x", prompts=wrong)
    with pytest.raises(ConfigError, match=r"\$typo, which nothing fills in"):
        language.text("judge_reference", reference="")
    with pytest.raises(ConfigError, match=r"a \$ without a name"):
        language.text("judge")
    with pytest.raises(ConfigError, match="Did you mean 'closed_qa'"):
        language.text("closedqa")
    with pytest.raises(ConfigError, match="Did you mean 'domains'"):
        language.facet("domain")


@pytest.mark.parametrize("code", ["en", "th"])
def test_doubts_are_of_the_same_rules(code: str) -> None:
    doubts = Language.load(code).doubts
    assert doubts.keys() == Language.load("en").doubts.keys()
    assert all(text.count("$words") == 1 for text in doubts.values())
