"""Same text, same wording, and a cap: what they drop, checked against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seedfree._seeds import seeded
from seedfree.diversity.lexical import (
    CapDiversityFilter,
    ExactDiversityFilter,
    LexicalDiversityFilter,
)
from seedfree.errors import ConfigError
from seedfree.records import Context, Instruction, Source, Topic
from seedfree.text import squeeze
from tests.fakes import WORDS, sentence

QUICK = hypothesis_settings(max_examples=60)


def row(instruction="", output="", **fields):
    return Instruction(task="t", instruction=instruction, output=output, **fields)


def grams(text, size):
    text = f"{squeeze(text)}\n"  # of an empty output
    return {text[i : i + size] for i in range(max(1, len(text) - size + 1))}


def jaccard(a, b, size=5):
    left, right = grams(a, size), grams(b, size)
    return len(left & right) / len(left | right)


def brute(texts, threshold, size):
    """The definition: near a kept row before it; the nearest, the earliest on a tie."""
    kept, of, similarity = [], [], []
    for number, text in enumerate(texts):
        scores = [(jaccard(text, texts[other], size), -other) for other in kept]
        best, other = max(scores, default=(0.0, 0))
        near = best > threshold
        of.append(-other if near else -1)
        similarity.append(best if near else np.nan)
        if not near:
            kept.append(number)
    return of, similarity


def edited(text, *salt):
    """One character replaced, doubled or left out."""
    rng = seeded(*salt)
    i = rng.randrange(len(text))
    return text[:i] + rng.choice(["", text[i] * 2, rng.choice("".join(WORDS))]) + text[i + 1 :]


# Few different pieces, so that texts resemble each other in every degree.
TEXTS = st.lists(
    st.lists(
        st.sampled_from(["ข้าวเหนียว", "ปลาร้า", "วัดพระแก้ว", " ", "ตลาดน้ำ", "rice "]),
        min_size=1,
        max_size=8,
    )
    .map("".join)
    .filter(str.strip),
    max_size=14,
)


@QUICK
@given(TEXTS, st.sampled_from([0.1, 0.3, 0.5, 0.8, 0.95, 1.0]), st.integers(1, 6))
def test_nothing_is_dropped_but_by_its_true_similarity(texts, threshold, size):
    selection = LexicalDiversityFilter(threshold, size=size).select([row(text) for text in texts])
    for number, of in enumerate(selection.duplicate_of):
        if of >= 0:
            assert of < number and of in selection.kept
            true = jaccard(texts[number], texts[of], size)
            assert selection.similarity[number] == true > threshold
        else:
            assert np.isnan(selection.similarity[number])
    assert selection.kept.tolist() == np.flatnonzero(selection.duplicate_of < 0).tolist()


@QUICK
@given(TEXTS, st.sampled_from([0.3, 0.8]))
def test_earlier_rows_never_depend_on_later_ones(texts, threshold):
    items = [row(text) for text in texts]
    whole = LexicalDiversityFilter(threshold).select(items)
    for n in range(len(items)):
        part = LexicalDiversityFilter(threshold).select(items[:n])
        assert part.duplicate_of.tolist() == whole.duplicate_of[:n].tolist()


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_light_edits_are_found_as_by_brute_force(threshold):
    texts = [sentence("text", i, words=20) for i in range(120)]
    texts += [edited(text, "edit", i) for i, text in enumerate(texts)]
    expected, similarity = brute(texts, threshold, 5)
    selection = LexicalDiversityFilter(threshold).select([row(text) for text in texts])
    should = np.array(expected) >= 0
    dropped = selection.duplicate_of >= 0
    assert not (dropped & ~should).any() and should.sum() >= 80
    assert (dropped & should).sum() > 0.95 * should.sum()
    same = dropped & (selection.duplicate_of == expected)
    assert same.sum() > 0.95 * should.sum()
    np.testing.assert_array_equal(selection.similarity[same], np.array(similarity)[same])


def test_pairs_just_above_the_threshold_are_found():
    """The hardest ones: a random fifth of the n-grams of each pair differs."""
    missed = total = 0
    for i in range(300):
        text = sentence("near", i, words=40)
        other = text
        for turn in range(200):
            if jaccard(text, other) <= 0.84:
                break
            other = edited(other, "near", i, turn)
        if jaccard(text, other) > 0.8:
            total += 1
            missed += len(LexicalDiversityFilter(0.8).select([row(text), row(other)]).kept) - 1
    assert total > 150 and missed <= 0.05 * total


def test_on_a_tie_the_earliest_row_is_named():
    base = "แม่น้ำเจ้าพระยาไหลผ่านกรุงเทพมหานคร"
    texts = [base + "aaaa", base + "bbbb", base]
    assert jaccard(*texts[:2]) < 0.8 < jaccard(texts[0], base) == jaccard(texts[1], base)
    selection = LexicalDiversityFilter(0.8).select([row(text) for text in texts])
    assert selection.duplicate_of.tolist() == [-1, -1, 0]


def test_case_spaces_and_typing_variants_do_not_count():
    pairs = [
        ("กรุง เทพ", "กรุงเทพ"),
        ("เเม่น้ำ ๒๕๖๗", "แม่น้ำ 2567"),
        ("“Rice”", '"rice"'),
        ("ข้าว\u200b", "ข้าว"),
    ]
    for a, b in pairs:
        for diversity in (ExactDiversityFilter(), LexicalDiversityFilter()):
            selection = diversity.select([row(a, "x"), row(b, "x"), row(b, "y" * 40)])
            assert selection.duplicate_of.tolist() == [-1, 0, -1]
            assert selection.similarity[1] == 1.0


def test_exact_compares_field_by_field():
    items = [row("a", "b"), row("ab", ""), row("", "ab"), row("A", " b"), row("a", "b", input="c")]
    assert ExactDiversityFilter().select(items).duplicate_of.tolist() == [-1, -1, -1, 0, 0]
    other = ExactDiversityFilter(("instruction", "input"))
    assert other.select(items).duplicate_of.tolist() == [-1, -1, -1, 0, -1]


@pytest.mark.parametrize(
    "diversity", [ExactDiversityFilter("input"), LexicalDiversityFilter(fields="input")]
)
def test_rows_without_a_text_have_nothing_in_common(diversity):
    items = [
        row("a", "b"),
        row("c", "d", input=" \u200b"),
        row("e", "f", input="text"),
        row("g", "h", input="text"),
    ]
    assert diversity.select(items).duplicate_of.tolist() == [-1, -1, -1, 2]


def test_texts_shorter_than_an_n_gram():
    items = [row("a", ""), row("b", ""), row("A", ""), row("a", "b")]
    assert LexicalDiversityFilter(size=9).select(items).duplicate_of.tolist() == [-1, -1, 0, -1]


def test_the_answer_is_the_same_in_every_process():
    import subprocess
    import sys

    code = (
        "from seedfree.diversity.lexical import *; from seedfree.records import Instruction\n"
        "from tests.fakes import *\n"
        "texts = [sentence(i // 3, words=9)[: 30 + i % 5] for i in range(60)]\n"
        "items = [Instruction('t', text, 'x') for text in texts]\n"
        "print(LexicalDiversityFilter(0.3).select(items).duplicate_of.tolist())"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(answers) == 1 and b", 0," in answers.pop()


def page(number, topic="", revision="1", **source):
    source = Source("wikipedia", f"page {number}", f"https://th.example/{number}", revision)
    return row("q", "a", topic=topic, source=source)


def test_a_page_is_capped_in_any_revision():
    items = [page(1), page(2), page(1, revision="2"), page(1), page(2), page(2), page(3)]
    selection = CapDiversityFilter(per_page=2).select(items)
    assert selection.duplicate_of.tolist() == [-1, -1, -1, 2, -1, 4, -1]
    assert selection.reasons[3] == "enough from the page" and np.isnan(selection.similarity).all()


def test_documents_of_one_file_are_pages_of_their_own():
    items = [row(source=Source("document", title, "all.jsonl")) for title in ("one", "two", "one")]
    assert CapDiversityFilter(per_page=1).select(items).duplicate_of.tolist() == [-1, -1, 0]


def test_written_texts_are_told_apart_by_the_text_and_not_by_their_style():
    def written(text):
        return row(source=Source("written", title="poem"), context=Context(text, topic=Topic("t")))

    selection = CapDiversityFilter(per_page=1).select([*map(written, "aba")])
    assert selection.duplicate_of.tolist() == [-1, -1, 0]


def test_rows_without_page_or_topic_are_not_capped():
    items = [row("a", "b"), row("a", "b", context=Context("", topic=Topic("t"))), row("a", "b")]
    assert CapDiversityFilter(per_page=1, per_topic=1).select(items * 2).ratio == 1


def test_a_topic_is_capped_over_all_its_pages():
    items = [page(1, "Rice"), page(2, "rice "), page(3, "fish"), page(4, "rice")]
    selection = CapDiversityFilter(per_topic=2).select(items)
    assert selection.duplicate_of.tolist() == [-1, -1, -1, 1]
    assert selection.reasons[3] == "enough on the topic"


def test_a_row_that_one_cap_drops_is_not_counted_by_the_other():
    items = [page(1, "a"), page(1, "b"), page(2, "b"), page(2, "c")]
    selection = CapDiversityFilter(per_page=1, per_topic=1).select(items)
    assert selection.duplicate_of.tolist() == [-1, 0, -1, 2]
    assert selection.reasons == ["", "enough from the page", "", "enough from the page"]


@QUICK
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "b"])), max_size=40))
def test_what_is_kept_never_passes_a_limit(pairs):
    items = [page(number, topic) for number, topic in pairs]
    selection = CapDiversityFilter(per_page=3, per_topic=4).select(items)
    kept = [pairs[number] for number in selection.kept]
    assert all(sum(p == number for p, _ in kept) <= 3 for number in range(4))
    assert all(sum(t == topic for _, t in kept) <= 4 for topic in "ab")
    for number, of in enumerate(selection.duplicate_of):
        if of >= 0:
            before = [pairs[k] for k in selection.kept if k < number]
            by_page = sum(p == pairs[number][0] for p, _ in before) == 3
            group = "from the page" if by_page else "on the topic"
            assert selection.reasons[number] == f"enough {group}"
            assert by_page or sum(t == pairs[number][1] for _, t in before) == 4
            assert of in selection.kept and of < number


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LexicalDiversityFilter(0.01), "threshold is 0.01. It lies between 0.1 and 1"),
        (lambda: LexicalDiversityFilter("0.8"), "threshold is '0.8'"),
        (lambda: LexicalDiversityFilter(float("nan")), "threshold is nan"),
        (lambda: LexicalDiversityFilter(size=0), "size is 0"),
        (lambda: LexicalDiversityFilter(fields=()), "fields is ()"),
        (lambda: ExactDiversityFilter("outputs"), "fields is ('outputs',)"),
        (CapDiversityFilter, "has no limit"),
        (lambda: CapDiversityFilter(per_page=0), "per_page is 0"),
        (lambda: CapDiversityFilter(per_topic=True), "per_topic is True"),
    ],
)
def test_a_wrong_setting_is_one_line(make, says):
    with pytest.raises(ConfigError) as caught:
        make()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_package_names_its_command(monkeypatch):
    monkeypatch.setattr("seedfree.diversity.lexical.find_spec", lambda name: None)
    command = r"datasketch is not installed. Run: pip install 'seedfree\[embed\]'"
    with pytest.raises(ConfigError, match=command):
        LexicalDiversityFilter().ready()
