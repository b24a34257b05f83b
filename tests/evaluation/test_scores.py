import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.tokenize import NLTKWordTokenizer
from nltk.translate.meteor_score import single_meteor_score
from pythainlp.tokenize import word_tokenize
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf

from seedfree.errors import ConfigError
from seedfree.evaluation.metrics import METRICS
from seedfree.evaluation.scores import compare, score

REFERENCES = [
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย มีประชากร 5,500,000 คน",
    "ข้อ 2 Piggipo is the best app สำหรับคนที่มีบัตรเครดิตหลายใบ",
    "แม่น้ำโขงไหลผ่าน 6 ประเทศ\nรวมถึงประเทศไทยและลาว",
    "ต้มยำกุ้งเป็นอาหารไทยที่มีรสเปรี้ยวและเผ็ด",
]
PREDICTIONS = [
    "เมืองหลวงของประเทศไทยคือกรุงเทพมหานคร มีประชากร 5,500,000 คน",
    "ข้อ 2 the Piggipo app เหมาะสำหรับคนที่มีบัตรเครดิต",
    "แม่น้ำโขงไหลผ่าน 6 ประเทศ\nเช่นลาวและกัมพูชา",
    "ต้มยำกุ้งมีรสเปรี้ยว",
]
WORSE = ["ไม่ทราบ", "ข้อ 1 Spendee", "แม่น้ำโขง 6", "ต้มยำ"]
ODD = st.sampled_from(["", " ", "\n\u2028", "None", "NA", "null", "n/a", "Null"]) | st.lists(
    st.sampled_from(
        ["กิน", "ข้าว", "\n", "\r\n", "\xa0", "\u200b", "1,234.5", "-\n", "😀", "the end"]
    ),
    min_size=1,
).map("".join)
LONG = st.lists(st.sampled_from("กิน ข้าว บ้าน แม่น้ำ โขง 10 app".split()), min_size=4, max_size=12).map(
    " ".join
)


class NoSynonyms:
    def synsets(self, word):
        return []


def by_hand(predictions, references):
    """The paper's steps, each in its library."""

    def one_space(text):
        words = word_tokenize(text, keep_whitespace=False, join_broken_num=True)
        return re.sub(r"\s+", " ", " ".join(w.strip() for w in words))

    cut = [[one_space(text) for text in texts] for texts in (predictions, references)]
    rouge, words = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"]), NLTKWordTokenizer()
    pairs = list(zip(*cut, strict=True))
    meteor = [
        single_meteor_score(words.tokenize(r), words.tokenize(p), wordnet=NoSynonyms())
        for p, r in pairs
    ]
    each = [{name: s.fmeasure for name, s in rouge.score(r, p).items()} for p, r in pairs]
    means = {name: np.mean([row[name] for row in each]) for name in each[0]}
    corpus = {
        "bleu": corpus_bleu(cut[0], [cut[1]]).score,
        "chrf": corpus_chrf(cut[0], [cut[1]]).score,
    }
    return corpus | means | {"meteor": np.mean(meteor)}


def values(scores):
    return {name: getattr(scores, name) for name in METRICS}


def test_paper_mode_is_its_libraries_steps():
    scores = values(score(PREDICTIONS, REFERENCES, mode="paper"))
    expected = by_hand(PREDICTIONS, REFERENCES)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    # What stands between spaces: 3 of 4 and 4 alike; without "the", 4 of 5 and 7; 3 of 4 and 4;
    # none.
    assert scores["squad_f1"] == pytest.approx(100 * np.mean([6 / 8, 8 / 12, 6 / 8, 0]))


@pytest.mark.parametrize("empty", ["", None, float("nan")])
@pytest.mark.parametrize("side", [0, 1])
def test_paper_mode_scales_by_valid_over_all(empty, side):
    given = [PREDICTIONS + ["คำ"], REFERENCES + ["คำ"]]
    given[side][-1] = empty
    scaled, alone = score(*given, mode="paper"), score(PREDICTIONS, REFERENCES, mode="paper")
    assert values(scaled) == pytest.approx({name: v * 4 / 5 for name, v in values(alone).items()})
    assert scaled.n == 5 and alone.unanswered == 0
    assert scaled.unanswered == pytest.approx(0.2 * (1 - side))


@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=5))
def test_paper_mode_reads_odd_cells_as_pandas_gave_them_to_its_scorer(rows):
    predictions, references = map(list, zip(*rows, strict=True))
    table = pd.read_csv(
        io.StringIO(pd.DataFrame({"p": predictions, "r": references}).to_csv(index=False))
    )
    valid = table[table.p.notna() & table.r.notna()].astype(str)
    if not any(map(str.strip, references)):
        return
    scores = score(predictions, references, mode="paper")
    expected = (
        by_hand(list(valid.p), list(valid.r))
        if len(valid)
        else {"bleu": 0, "chrf": 0, "rouge1": 0, "meteor": 0}
    )
    for name, value in expected.items():
        assert getattr(scores, name) == pytest.approx(value * len(valid) / len(rows)), name


@pytest.mark.parametrize("prediction, reference", [("IĞDIR", "Iğdır"), ("İzmir", "izmir")])
def test_turkish_case_is_left_out_where_case_is(prediction, reference):
    result = score([prediction], [reference], language="tr")
    assert (result.rouge1, result.squad_em, result.squad_f1) == (1, 100, 100)
    assert result.meteor == score([reference], [reference], language="tr").meteor


@pytest.mark.parametrize(
    "language, prediction, reference",
    [
        ("th", "สิทธ์ิมๅ", "สิทธิ์มา"),
        ("lo", "ຫນັງສືທ່ີ", "ໜັງສືທີ່"),
        ("km", "ខែ្មរបេីក", "ខ្មែរបើក"),
        ("my", "၀န်ခုိ", "ဝန်ခို"),
    ],
)
def test_segmented_mode_reads_what_is_typed_in_several_ways_as_one(language, prediction, reference):
    result = score([prediction], [reference], language=language)
    assert result.chrf == pytest.approx(100) and result.squad_em == 100


def test_segmented_mode_counts_blank_answers_and_skips_blank_references():
    alone = score(PREDICTIONS, REFERENCES)
    unanswered = score([*PREDICTIONS, None], [*REFERENCES, "คำตอบ"])
    assert unanswered.rouge1 == pytest.approx(alone.rouge1 * 4 / 5) and unanswered.unanswered == 0.2
    assert 0.8 * alone.chrf < unanswered.chrf < alone.chrf and unanswered.length == alone.length
    skipped = score(
        [*PREDICTIONS, "คำ"], [*REFERENCES, "\u200b"], cut_off=[False, True, False, True, True]
    )
    assert (
        values(skipped) == pytest.approx(values(alone))
        and skipped.n == 4
        and skipped.cut_off == 0.5
    )


@pytest.mark.parametrize("mode", ["segmented", "paper"])
def test_nothing_answered_is_zero(mode):
    scores = score([""] * 4, REFERENCES, mode=mode)
    assert set(values(scores).values()) == {0.0} and scores.unanswered == 1 and scores.length == 0
    assert all(scores.interval(name) == (0, 0) for name in METRICS)


@given(st.lists(LONG, min_size=1, max_size=4))
def test_a_text_against_itself_is_perfect(texts):
    scores = values(score(texts, texts))
    assert scores.pop("meteor") > 0.99
    assert scores == pytest.approx(
        {n: 100 if n in ("bleu", "chrf", "squad_f1", "squad_em") else 1 for n in scores}
    )


@pytest.mark.parametrize("mode", ["segmented", "paper"])
def test_the_order_of_rows_does_not_matter(mode):
    tasks = ["a", "b", "a", "b"]
    first = score(PREDICTIONS, REFERENCES, mode=mode, tasks=tasks)
    turned = score(PREDICTIONS[::-1], REFERENCES[::-1], mode=mode, tasks=tasks[::-1])
    assert values(first) == pytest.approx(values(turned))
    assert values(first.tasks["b"]) == pytest.approx(values(turned.tasks["b"]))


@given(
    st.lists(st.tuples(LONG, LONG, st.sampled_from("xyz")), min_size=1, max_size=6),
    st.integers(0, 3),
)
def test_intervals_hold_their_scores(rows, seed):
    predictions, references, tasks = zip(*rows, strict=True)
    scores = score(predictions, references, tasks=tasks, seed=seed)
    for name in METRICS:
        low, high = scores.interval(name)
        assert 0 <= low <= getattr(scores, name) <= high
        low, high = scores.macro_interval(name, 0.5)
        assert low <= scores.macro(name) <= high


def test_the_interval_of_bleu_is_that_of_resampled_files():
    predictions, references = (
        PREDICTIONS * 5,
        REFERENCES * 4 + [REFERENCES[1], REFERENCES[0], *REFERENCES[2:]],
    )
    scores = score(predictions, references)
    draws = np.random.default_rng(7)
    resampled = []
    for rows in draws.integers(0, 20, (200, 20)):
        drawn = score([predictions[i] for i in rows], [references[i] for i in rows])
        resampled.append((drawn.bleu, drawn.chrf))
    for metric, column in zip(("bleu", "chrf"), np.array(resampled).T, strict=True):
        low, high = np.quantile(column, [0.025, 0.975])
        interval = scores.interval(metric)
        assert interval.low == pytest.approx(low, abs=(high - low) / 4)
        assert interval.high == pytest.approx(high, abs=(high - low) / 4)


def test_tasks_micro_and_macro():
    scores = score(PREDICTIONS, REFERENCES, tasks=["long", "long", "long", "short"])
    assert {task: part.n for task, part in scores.tasks.items()} == {"long": 3, "short": 1}
    assert list(scores.tasks) == ["long", "short"]
    assert values(scores.tasks["short"]) == values(score(PREDICTIONS[3:], REFERENCES[3:]))
    for metric in METRICS:
        each = [getattr(part, metric) for part in scores.tasks.values()]
        assert scores.macro(metric) == pytest.approx(sum(each) / 2)
    assert scores.rouge1 == pytest.approx(
        (3 * scores.tasks["long"].rouge1 + scores.tasks["short"].rouge1) / 4
    )
    assert scores.tasks["short"].interval("chrf") == pytest.approx(
        (scores.tasks["short"].chrf,) * 2
    )
    assert scores.tasks["long"].tasks == {}


def test_macro_of_one_task_is_micro():
    for scores in (
        score(PREDICTIONS, REFERENCES),
        score(PREDICTIONS, REFERENCES, tasks=["qa"] * 4),
    ):
        for metric in METRICS:
            assert scores.macro(metric) == pytest.approx(getattr(scores, metric))
            assert scores.macro_interval(metric) == pytest.approx(scores.interval(metric))


def test_one_source_is_one_draw():
    scores = score(PREDICTIONS, REFERENCES, sources=["page"] * 4)
    assert scores.interval("chrf") == pytest.approx((scores.chrf, scores.chrf))
    free = score(PREDICTIONS, REFERENCES, sources=["", None, "a", "b"])
    assert free.interval("chrf") == score(PREDICTIONS, REFERENCES).interval("chrf")
    assert free.interval("chrf") != score(PREDICTIONS, REFERENCES, seed=1).interval("chrf")
    assert free.interval("chrf", 0.5).low > free.interval("chrf", 0.99).low


@pytest.mark.parametrize("mode", ["segmented", "paper"])
@pytest.mark.parametrize("metric", METRICS)
def test_two_systems(metric, mode):
    kw = {"mode": mode, "tasks": ["a", "b"] * 8}
    good, bad = (score(given * 4, REFERENCES * 4, **kw) for given in (PREDICTIONS, WORSE))
    forth, back = compare(bad, good, metric), compare(good, bad, metric)
    assert forth.difference == pytest.approx(getattr(good, metric) - getattr(bad, metric))
    assert forth.metric == metric and forth.interval.low <= forth.difference <= forth.interval.high
    assert back.difference == -forth.difference and back.p == pytest.approx(forth.p, abs=0.05)
    assert compare(good, good, metric).p == 1.0 and compare(good, good, metric).interval == (0, 0)
    if metric in ("chrf", "rouge1"):
        assert forth.p < 0.05 and (forth.interval.low > 0 or metric == "rouge1")


def test_systems_on_other_questions_are_not_compared():
    first = score(PREDICTIONS, REFERENCES)
    with pytest.raises(ConfigError, match="different questions"):
        compare(first, score(PREDICTIONS[::-1], REFERENCES[::-1]))
    with pytest.raises(ConfigError, match="different questions"):
        compare(first, score(PREDICTIONS, REFERENCES, sources=["a"] * 4))
    with pytest.raises(ConfigError, match="Not made alike: mode:segmented"):
        compare(first, score(PREDICTIONS, REFERENCES, mode="paper"))
    with pytest.raises(ConfigError, match="Unknown metric 'f1'"):
        compare(first, first, "f1")
    with pytest.raises(ConfigError, match="float is no Scores. Give those of"):
        compare(first, first.chrf)


def test_length_signature_and_leading_metric():
    scores = score(["กข", None], ["กขค", "ก"])
    assert scores.length == 2 and scores.metrics == METRICS and scores.cut_off is None
    assert scores.mode == "segmented" and scores.language == "th" and scores.leading == "rougeL"
    for part in (
        "mode:segmented|lang:th|seg:newmm pythainlp ",
        "|dict:",
        "|sacrebleu:",
        "|rouge_score:",
        "|nltk:",
    ):
        assert part in scores.signature
    assert score(["ก"], ["ก"], mode="paper").leading == "chrf"
    amharic = score(["ሰላም ለሁሉም"], ["ሰላም ለሁሉም"], "am")
    assert (
        amharic.leading == "chrf"
        and "seg:none (Unicode words" in amharic.signature
        and amharic.rouge1 == 1
    )


@pytest.mark.parametrize(
    ("language", "reference", "prediction"),
    [
        ("lo", "ຂ້ອຍຮັກປະເທດລາວ", "ຂ້ອຍມັກປະເທດລາວ"),
        ("km", "ខ្ញុំស្រឡាញ់ប្រទេសកម្ពុជា", "ខ្ញុំស្រឡាញ់\u200bប្រទេសថៃ"),
        ("my", "မြန်မာနိုင်ငံကိုချစ်တယ်", "မြန်မာနိုင်ငံကိုမုန်းတယ်"),
        ("sw", "Ninapenda nchi yangu sana", "Ninapenda mji wangu sana"),
    ],
)
def test_other_languages_are_scored_in_their_words(language, reference, prediction):
    scores = score([prediction], [reference], language)
    assert (
        0 < scores.rouge1 < 1
        and 0 < scores.squad_f1 < 100
        and 0 < scores.chrf < 100
        and 0 < scores.meteor < 1
    )
    assert scores.leading == "rougeL"


@pytest.mark.parametrize("mode", ["segmented", "paper"])
@pytest.mark.parametrize("language", ["th", "lo", "en", "am"])
def test_broken_characters_are_characters(language, mode):
    scores = score(["a\ud800b \x00 ก"], ["a\ud800b \x00 ก"], language, mode)
    assert scores.chrf == 100


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((["a"], ["a", "b"]), {}, "1 predictions for 2 references"),
        (([], []), {}, "None of 0 references has any text"),
        ((["a", "b"], [None, " "]), {}, "None of 2 references has any text"),
        ((["a"], ["a"]), {"mode": "Paper"}, "Unknown mode 'Paper'. Known: segmented, paper."),
        ((["a"], ["a"]), {"language": "Thaii"}, "Unknown language 'Thaii'. Did you mean 'Thai'"),
        ((["a"], ["a"]), {"tasks": ["a", "b"]}, "2 tasks for 1 references"),
        ((["a"], ["a"]), {"sources": []}, "0 sources for 1 references"),
        ((["a"], ["a"]), {"cut_off": [True, True]}, "2 cut_off for 1 references"),
        ((["a", 3], ["a", "b"]), {}, r"predictions\[1\] is int, not text"),
        ((["a"], [b"a"]), {}, r"references\[0\] is bytes, not text"),
        (("a", "a"), {}, "predictions is one text"),
    ],
)
def test_bad_input_is_one_line(args, kwargs, message):
    with pytest.raises(ConfigError, match=message) as caught:
        score(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_unknown_metrics_and_levels():
    scores = score(PREDICTIONS, REFERENCES)
    for ask in (scores.interval, scores.macro, scores.macro_interval):
        with pytest.raises(ConfigError, match="Unknown metric 'rouge3'. Known: bleu, chrf"):
            ask("rouge3")
    with pytest.raises(ConfigError, match="level=95"):
        scores.interval("chrf", 95)


def test_nothing_is_downloaded_and_nothing_heavy_loaded():
    code = (
        "import socket, sys, nltk, seedfree.evaluation.scores as s\n"
        "socket.socket.connect = None; nltk.data.path = []\n"
        "for mode in ('paper', 'segmented'): s.score(['ก. b. c'], ['ก d. e'], mode=mode)\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == ["False", "False"], done.stderr


FOLDER = Path(os.environ.get("SEEDFREE_THAIEVAL", "/nowhere"))
LIMITS = {"bleu": 0.001, "chrf": 0.001, "meteor": 0.002, "squad_f1": 0.01, "squad_em": 0.01}
PUBLISHED = {"BLEU": "bleu", "ChrF": "chrf", "f1": "squad_f1", "exact_match": "squad_em"}


@pytest.mark.skipif(
    not FOLDER.is_dir(), reason="SEEDFREE_THAIEVAL names no folder with published prediction files"
)
def test_the_published_scores_are_reproduced():
    csv.field_size_limit(10**7)
    published = json.loads((FOLDER / "published_scores.json").read_text("utf-8"))
    assert published
    for file in published:
        with gzip.open(FOLDER / file["file"], "rt", encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        scores = score(
            [row["prediction"] for row in rows], [row["answer"] for row in rows], mode="paper"
        )
        for name, entry in file["published"].items():
            numbers = entry if isinstance(entry, dict) else {name: entry}
            for metric, number in numbers.items():
                metric = PUBLISHED.get(metric, metric)
                if metric in METRICS:
                    assert getattr(scores, metric) == pytest.approx(
                        number, abs=LIMITS.get(metric, 0.006)
                    ), file["file"]


def test_one_number_for_a_list_is_told():
    with pytest.raises(ConfigError, match="cut_off is float"):
        score(["ก"], ["ข"], cut_off=0.3)
