from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedfree.errors import ConfigError
from seedfree.languages import Language, segment

SEGMENTERS = ["space", "newmm", "icu"]
LETTERS = st.characters(codec="utf-8") | st.sampled_from(
    "กขาำเแ๑ກາເໜໍໄកា្ខំ។ကာ်္ခ့၊၂ạ̈'’-.,0 \u200b\u200c\u200d\n"
)


def bare(text: str) -> str:
    return "".join(text.replace("\u200b", " ").split())


@pytest.mark.parametrize("segmenter", SEGMENTERS)
@pytest.mark.parametrize("text", ["", " \n\u200b\u3000"])
def test_nothing_gives_no_words(segmenter: str, text: str) -> None:
    assert segment(text, segmenter) == []


@pytest.mark.parametrize("segmenter", SEGMENTERS)
@given(text=st.text(LETTERS, max_size=60))
def test_words_put_together_are_the_text_without_white_space(segmenter: str, text: str) -> None:
    words = segment(text, segmenter)
    assert "".join(words) == bare(text)
    assert all(word == bare(word) for word in words)


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        ("th", "กรุงเทพเป็นเมืองหลวงของไทย", "กรุงเทพ|เป็น|เมืองหลวง|ของ|ไทย"),
        ("lo", "ວຽງຈັນເປັນເມືອງຫຼວງຂອງລາວ", "ວຽງຈັນ|ເປັນ|ເມືອງຫຼວງ|ຂອງ|ລາວ"),
        ("km", "ភ្នំពេញជារាជធានីនៃកម្ពុជា", "ភ្នំពេញ|ជា|រាជធានី|នៃ|កម្ពុជា"),
        ("km", "មានទូកចូលរួម៣៥០គ្រឿង", "មាន|ទូក|ចូលរួម|៣៥០|គ្រឿង"),
        ("my", "မန္တလေးမြို့သည် မြန်မာနိုင်ငံတွင် ရှိသည်။", "မန္တလေး|မြို့|သည်|မြန်မာနိုင်ငံ|တွင်|ရှိ|သည်|။"),
        ("vi", "Hà Nội, năm 2024.", "Hà|Nội|,|năm|2024|."),
        ("id", "Anak-anak bermain di Jum'at pagi", "Anak-anak|bermain|di|Jum'at|pagi"),
        ("tr", "Ankara'nın nüfusu 5,8 milyon.", "Ankara'nın|nüfusu|5,8|milyon|."),
        ("sw", "Ng'ombe wangapi?", "Ng'ombe|wangapi|?"),
    ],
)
def test_words_of_a_sentence(code: str, text: str, words: str) -> None:
    assert Language.load(code).segment(text) == words.split("|")


def test_words_unknown_to_the_dictionaries_are_not_cut_within_a_syllable() -> None:
    assert segment("မက်ဆေ့ချ်၊ တက္ကသိုလ်၊ နေရာ", "icu") == ["မက်", "ဆေ့ချ်", "၊", "တက္ကသိုလ်", "၊", "နေရာ"]


def test_an_accent_of_its_own_stays_with_its_letter() -> None:
    assert segment("e\u0323m o\u0302ng", "space") == ["e\u0323m", "o\u0302ng"]


def test_an_unknown_segmenter_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'mecab'.*space, newmm, icu"):
        segment("text", "mecab")


def test_nothing_is_made_in_the_home_of_the_user(tmp_path: Path) -> None:
    script = (
        "import os, sys; from seedfree.languages import Language; "
        "Language.load('th').segment('สวัสดี'); "
        "print('PYTHAINLP_READ_ONLY' in os.environ, os.listdir(sys.argv[1]))"
    )
    home = {**os.environ, "HOME": str(tmp_path)}
    home.pop("PYTHAINLP_DATA", None)
    command = [sys.executable, "-c", script, str(tmp_path)]
    printed = subprocess.run(command, env=home, check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "False []"
