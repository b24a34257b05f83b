"""Calibration against data whose answer is known, and against what a filter then really drops."""

import math
import sys
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np
import pytest

import seedfree as sf
from seedfree._seeds import seeded
from seedfree.diversity.calibration import calibrate_threshold
from seedfree.diversity.index import greedy_select
from seedfree.errors import ConfigError, EncoderError
from tests.fakes import LetterEncoder, sentence


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def even(n, d, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


def clustered(n, d, seed=0):
    """Rows around hundreds of centres of unequal size."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(300, d))
    of = np.minimum(rng.geometric(0.01, n) - 1, 299)
    return unit(centres[of] + 0.4 * rng.normal(size=(n, d)))


@dataclass
class Given:
    """Gives texts "0", "1" ... the rows of a matrix, and any other text a row of its own."""

    rows: np.ndarray
    moved: float = 0.05
    identity: str = "given"
    seen: list = field(default_factory=list)

    def encode(self, texts):
        self.seen.append(list(texts))
        out = []
        for text in texts:
            if text.isdecimal() and int(text) < len(self.rows):
                out.append(self.rows[int(text)])
            else:
                rng, d = np.random.default_rng(list(text.encode())), self.rows.shape[1]
                out.append(np.ones(d) + self.moved * rng.normal(size=d))
        return unit(np.array(out))


def calibrated(vectors, **options):
    texts = [str(i) for i in range(len(vectors))]
    return calibrate_threshold(Given(vectors), texts, edits=5, **options)


def falsely_dropped(rows, threshold):
    """What a filter without greed drops: rows with an earlier one above the threshold."""
    scores = np.tril(rows @ rows.T, -1)
    return (scores.max(axis=1) > threshold).mean()


@pytest.mark.parametrize(("scattered", "d"), [(even, 4), (even, 12), (clustered, 24)])
@pytest.mark.parametrize("share", [0.2, 0.02, 0.005])
def test_false_drops_of_rows_not_seen_are_within_a_factor_of_three(scattered, d, share):
    """Fitted to 800 rows; 4,000 others have 25 times as many pairs."""
    made, others = calibrated(scattered(800, d)), scattered(4000, d, seed=1)
    nearest = np.sort(np.tril(others @ others.T, -1).max(axis=1))
    threshold = float(nearest[-int(share * 4000)])
    seen = falsely_dropped(others, threshold)
    assert seen / 3 < made.false_drops(4000, threshold) < 3 * seen


@pytest.mark.parametrize("d", [4, 8])
def test_rows_scattered_evenly_over_d_dimensions_have_a_known_power(d):
    assert calibrated(even(2000, d)).power == pytest.approx((d - 1) / 2, rel=0.2)


def test_what_a_greedy_filter_drops_is_what_was_foretold():
    made = calibrated(even(1000, 8), rows=1000, tasks=2)
    threshold = made.recommend(false_drops=0.05)
    dropped = 1 - greedy_select(even(2000, 8, seed=5), threshold).ratio
    assert 0.05 / 3 < dropped < 0.15


def test_false_drops_fall_with_the_threshold_and_grow_with_the_rows():
    made = calibrated(even(300, 6), rows=500)
    grid = [made.false_drops(threshold=t) for t in np.linspace(0, 1, 101)]
    assert all(0 <= b <= a < 1 for a, b in zip(grid, grid[1:], strict=False)) and grid[-1] == 0
    rows = [made.false_drops(n, 0.95) for n in (1, 2, 10, 100, 10_000, 10**7)]
    assert all(a < b for a, b in zip(rows, rows[1:], strict=False))
    assert rows[0] == 0 and rows[-1] > 0.99
    # Far below one false drop in all, each pair counts by itself.
    ten, twenty = made.false_drops(10, 0.999), made.false_drops(20, 0.999)
    assert twenty == pytest.approx(ten * 19 / 9, rel=1e-3)


def test_every_task_adds_rows_to_be_compared_with():
    rows = even(300, 6)
    single, four = calibrated(rows, rows=400), calibrated(rows, rows=100, tasks=4)
    expected = single.false_drops(threshold=0.97)
    assert expected == four.false_drops(threshold=0.97) == four.false_drops(100, 0.97)
    assert four.false_drops(400, 0.97) > single.false_drops(400, 0.97)


@pytest.mark.parametrize("wanted", [0.2, 0.01, 1e-4])
def test_the_recommended_threshold_is_the_lowest_that_will_do(wanted):
    made = calibrated(even(400, 10), rows=3000)
    threshold = made.recommend(false_drops=wanted)
    assert made.false_drops(3000, threshold) <= wanted < made.false_drops(3000, threshold - 0.001)
    assert made.recommend(100, false_drops=wanted) <= threshold


def test_an_encoder_that_tells_nothing_apart_has_no_threshold():
    made = calibrated(unit(np.ones((200, 5)) + 1e-9))
    assert made.false_drops(threshold=0.99) > 0.9 and made.recommend() == 1.0
    assert "100.00%" in repr(made) or "99." in repr(made)


def test_misses_are_counted_on_edits_of_three_kinds():
    texts = [sentence(i, words=30) for i in range(150)]
    made = calibrate_threshold(LetterEncoder(), texts, thresholds=[0.999999, 0.5], edits=40)
    assert list(made.misses) == ["typo", "marks", "word"] and made.thresholds == (0.5, 0.999999)
    for kind, (low, high) in made.misses.items():
        cosines = made.similarities[kind]
        assert len(cosines) == 40 and low == (cosines <= 0.5).mean() == 0 and high > 0.9
    assert 0.95 < made.similarities["typo"].min() and made.similarities["word"].max() < 1


def test_edits_are_light_and_the_same_for_a_seed():
    texts = [sentence(i, words=20) + " ok, " + sentence(-i, words=3) for i in range(1, 120)]
    texts += ["A plain sentence of several words, in a script that writes spaces."]

    def edits(seed):
        encoder = Given(np.eye(4), 1e-3)
        calibrate_threshold(encoder, texts, edits=len(texts), seed=seed)
        return encoder.seen[1:]

    assert edits(0) == edits(0) != edits(1)
    order = seeded("calibrate", 0).sample(range(len(texts)), len(texts))
    for kind in edits(0):
        for edited, number in zip(kind, order, strict=True):
            assert edited != texts[number]
            assert SequenceMatcher(None, edited, texts[number], autojunk=False).ratio() > 0.85


def test_paraphrases_are_a_kind_of_their_own():
    rows = np.vstack([even(200, 8), even(1, 8), even(1, 8)])
    made = calibrate_threshold(
        Given(rows),
        [str(i) for i in range(200)],
        paraphrases=[("200", "201"), ("0", "1")],
        thresholds=[0.99],
        edits=5,
    )
    np.testing.assert_allclose(made.similarities["paraphrase"], [1, rows[0] @ rows[1]], atol=1e-6)
    assert made.misses["paraphrase"] == (0.5,)


def test_equal_texts_are_no_unrelated_pair():
    texts = [str(i) for i in range(120)]
    rows = even(120, 8)
    once, twice = (
        calibrate_threshold(Given(rows), given, edits=5)
        for given in (texts, texts + [f" {t} " for t in texts])
    )
    assert twice.texts == 120 and twice.nearest.tolist() == once.nearest.tolist()


def test_the_table_shows_every_threshold_and_kind():
    made = calibrated(even(150, 6), rows=1234, tasks=3, thresholds=[0.9, 0.95])
    lines = repr(made).splitlines()
    assert "given on 150 texts" in lines[0] and "1,234 rows of each of 3" in lines[0]
    assert lines[1].split() == "threshold false drops missed typo missed marks missed word".split()
    assert [line.split()[0] for line in lines[2:4]] == ["0.900", "0.950"]
    assert lines[2].split()[1] == f"{made.false_drops(1234, 0.9):.2%}"
    assert lines[-1].endswith(f"{made.recommend():.3f}")
    assert len({len(line) for line in lines[1:4]}) == 1


def test_a_plot_is_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    calibrated(even(150, 6)).plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_without_matplotlib_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    command = r"matplotlib is not installed. Run: pip install 'seedfree\[report\]'"
    with pytest.raises(ConfigError, match=command):
        calibrated(even(150, 6)).plot(tmp_path / "curve.png")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"tasks": 0}, "tasks 0"),
        ({"edits": 0}, "edits 0"),
        ({"thresholds": []}, "thresholds is"),
        ({"thresholds": [1.0]}, "between 0 and 1"),
        ({"thresholds": [math.nan]}, "between 0 and 1"),
        ({"texts": ["a"] * 500}, "1 different texts. Pass 100 or more"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_encoded(options, says):
    encoder = Given(even(150, 6))
    texts = options.pop("texts", [str(i) for i in range(150)])
    with pytest.raises(ConfigError, match=says):
        calibrate_threshold(encoder, texts, **options)
    assert encoder.seen == []


def test_wrong_questions_to_a_result():
    made = calibrated(even(150, 6))
    for wrong in (0, 1, math.nan):
        with pytest.raises(ConfigError, match="false_drops is"):
            made.recommend(false_drops=wrong)
    with pytest.raises(ConfigError, match="n is 0"):
        made.false_drops(0)


def test_an_encoder_must_return_a_vector_for_each_text():
    class Short:
        def encode(self, texts):
            return even(149, 4)

    with pytest.raises(EncoderError, match=r"Short returned shape \[149, 4\] for 150 texts"):
        calibrate_threshold(Short(), [str(i) for i in range(150)])


def test_vectors_without_a_cosine_are_refused():
    class Zeros:
        def encode(self, texts):
            return np.zeros((len(texts), 4), np.float32)

    with pytest.raises(EncoderError, match="Zeros returned zeros alone for 150 of 150 texts"):
        calibrate_threshold(Zeros(), [str(i) for i in range(150)])


def test_what_cannot_be_calibrated_is_said_in_one_line(tmp_path):
    texts = [f"text {number} of its own {number * number}" for number in range(120)]

    class Broken:
        def encode(self, texts):
            raise RuntimeError("no memory")

    with pytest.raises(EncoderError, match="The encoder Broken failed: RuntimeError: no memory"):
        calibrate_threshold(Broken(), texts)
    with pytest.raises(ConfigError, match="texts holds int"):
        calibrate_threshold(LetterEncoder(), [*texts, 3])
    with pytest.raises(ConfigError, match=r"thresholds is 0\.95"):
        calibrate_threshold(LetterEncoder(), texts, thresholds=0.95)
    made = calibrate_threshold(LetterEncoder(), [*texts, "", " "], edits=20)
    assert made.texts == 120
    with pytest.raises(ConfigError, match=r"threshold is 1\.5"):
        made.false_drops(100, 1.5)
    with pytest.raises(ConfigError, match="Cannot draw curve"):
        made.plot(tmp_path / "curve.xyz")


def test_the_name_of_the_version_before_works_and_says_the_new_one():
    with pytest.warns(DeprecationWarning, match="sf.calibrate is now sf.calibrate_threshold"):
        assert sf.calibrate is calibrate_threshold
    assert "calibrate" not in sf.__all__
