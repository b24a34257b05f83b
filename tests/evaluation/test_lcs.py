import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from seedfree.evaluation.metrics import rouge_l, rouge_lsum

LINES = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12), max_size=4)


class Spaces:
    def tokenize(self, text):
        return text.split()


SCORER = RougeScorer(["rougeL", "rougeLsum"], tokenizer=Spaces())


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
