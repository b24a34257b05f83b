"""Each metric against the library that defines it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from seedfree.evaluation.metrics import (
    METRICS,
    metric_value,
    paper_rows,
    rouge_l,
    rouge_lsum,
    segmented_rows,
)
from seedfree.evaluation.words import paper_cutter, segmented_cutter

TEXTS = st.text(st.sampled_from("ab c.ก\n"), max_size=25)
LINES = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12), max_size=4)
ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)


class Spaces:
    def tokenize(self, text):
        return text.split()


SCORER = RougeScorer(["rougeL", "rougeLsum"], tokenizer=Spaces())


def of(rows, metric):
    return float(metric_value(metric, rows.sum(axis=0)))


@given(ROWS)
def test_corpus_scores_are_sacrebleu_s(pairs):
    pairs = [(p, r) for p, r in pairs if r.strip()]
    if not pairs:
        return
    predictions, references = zip(*pairs, strict=True)
    cutter = segmented_cutter("en")
    rows = segmented_rows(predictions, references, cutter)
    cut = [[cutter.cut(text) for text in texts] for texts in (predictions, references)]
    assert of(rows, "bleu") == pytest.approx(
        BLEU(tokenize="none").corpus_score(cut[0], [cut[1]]).score, abs=1e-9
    )
    assert of(rows, "chrf") == pytest.approx(
        CHRF().corpus_score(predictions, [references]).score, abs=1e-9
    )


def test_value_takes_many_sums_at_once():
    rows = segmented_rows(["a b c d e", "x", ""], ["a b c d f", "y", "z"], segmented_cutter("en"))
    for metric in METRICS:
        assert metric_value(metric, rows) == pytest.approx(
            [float(metric_value(metric, row)) for row in rows]
        )


def test_meteor_without_synonyms_or_stems():
    cutter = segmented_cutter("id")
    # Three of four words match, in one chunk: P = R = 3/4, penalty 0.5 (1/3)^3.
    rows = segmented_rows(["saya makan nasi goreng"], ["saya makan nasi putih"], cutter)
    assert of(rows, "meteor") == pytest.approx(0.75 * (1 - 0.5 / 27))
    # Porter's stemmer would join "runs" and "running"; it is for English.
    assert of(segmented_rows(["runs"], ["running"], cutter), "meteor") == 0
    assert of(
        segmented_rows(["runs"], ["running"], segmented_cutter("en")), "meteor"
    ) == pytest.approx(0.5)


def test_squad_by_hand():
    english = segmented_rows(["The cat, a big one!"], ["big cat"], segmented_cutter("en"))
    # 2/3 and 2/2
    assert of(english, "squad_f1") == pytest.approx(80) and of(english, "squad_em") == 0
    assert of(segmented_rows(["The  Cat!"], ["cat"], segmented_cutter("en")), "squad_em") == 100
    assert of(segmented_rows(["The"], ["the"], segmented_cutter("en")), "squad_f1") == 100
    assert of(segmented_rows(["a b"], ["b"], segmented_cutter("id")), "squad_f1") == pytest.approx(
        100 * 2 / 3
    )
    # On spaces, as the paper has it, a Thai answer is one word; in words it is not.
    thai = ["คำตอบคือกรุงเทพ"], ["กรุงเทพ"]
    assert of(paper_rows(*thai, paper_cutter("th")), "squad_f1") == 0
    assert of(segmented_rows(*thai, segmented_cutter("th")), "squad_f1") > 40
    assert of(paper_rows(["ข้อ ก. the"], ["ก ข้อ"], paper_cutter("th")), "squad_f1") == 100


def test_rouge_of_the_paper_sees_latin_letters_and_digits_alone():
    thai = ["ดื่มน้ำวันละ 8 แก้ว"], ["นอนวันละ 8 ชั่วโมง"]
    assert of(paper_rows(*thai, paper_cutter("th")), "rouge1") == 1.0
    assert 0 < of(segmented_rows(*thai, segmented_cutter("th")), "rouge1") < 0.7
    assert of(paper_rows(["ดื่มน้ำ"], ["ดื่มน้ำ"], paper_cutter("th")), "rouge1") == 0.0


def test_lines_are_the_sentences_of_rouge_lsum():
    rows = segmented_rows(["d e f\na b c"], ["a b c\nd e f"], segmented_cutter("en"))
    assert of(rows, "rougeLsum") == 1.0 and of(rows, "rougeL") == 0.5
    assert (
        of(segmented_rows(["d e f a b c"], ["a b c d e f"], segmented_cutter("en")), "rougeLsum")
        == 0.5
    )


def test_chrf_leaves_white_space_out_and_counts_letters_with_their_marks():
    same = segmented_rows(["ก ข ค\nน\u0e4d\u0e32\u200b"], ["กขคนำ"], segmented_cutter("th"))
    assert of(same, "chrf") == 100


def test_rows_without_text_are_zeros_that_count_or_do_not():
    paper = paper_rows(["ก", "", "null"], ["ก", "ก", "ก"], paper_cutter("th"))
    assert not paper[1:, 1:].any() and paper[:, 0].tolist() == [1, 1, 1]
    segmented = segmented_rows(["ก", " ", "ก"], ["ก", "ก", "\n"], segmented_cutter("th"))
    assert (
        segmented[:, 0].tolist() == [1, 1, 0]
        and not segmented[2].any()
        and np.any(segmented[1, 2:30])
    )


@given(LINES, LINES)
def test_equal_to_rouge_score(candidate, reference):
    expected = SCORER.score(*("\n".join(map(" ".join, lines)) for lines in (reference, candidate)))
    assert rouge_lsum(candidate, reference) == pytest.approx(
        expected["rougeLsum"].fmeasure, abs=1e-12
    )
    assert rouge_l(sum(candidate, []), sum(reference, [])) == pytest.approx(
        expected["rougeL"].fmeasure, abs=1e-12
    )


def test_long_texts_cost_little():
    words = [str(i * i % 997) for i in range(5000)]
    assert rouge_l(words, words) == rouge_lsum([words], [words]) == 1.0
