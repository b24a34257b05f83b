"""Embedding similarity with a real encoder; BERTScore with a tiny model of random weights."""

import numpy as np
import pytest

from seedfree.diversity.encoders import USEEncoder
from seedfree.errors import ConfigError
from seedfree.evaluation.similarity import bert_score, embedding_similarity

RAIN = "วันนี้ฝนตกหนักมาก ถนนหลายสายมีน้ำท่วมขัง"
SAME = "วันนี้ฝนตกหนัก ถนนหลายสายน้ำท่วมขัง"
COOK = "ใส่น้ำตาลปี๊บกับน้ำปลาลงในครก แล้วตำเบา ๆ พอเข้ากัน"


@pytest.fixture(scope="module")
def encoder():
    return USEEncoder()


def test_closer_texts_are_more_similar(encoder):
    result = embedding_similarity(
        [RAIN, SAME, COOK, "", RAIN], [RAIN, RAIN, RAIN, RAIN, " "], encoder
    )
    assert result.values[0] == pytest.approx(1, abs=1e-6)
    assert 1 > result.values[1] > result.values[2] + 0.1
    assert list(result.values[3:]) == [0, 0]
    assert result.mean == pytest.approx(result.values.mean()) and result.n == 5
    assert result.interval.low <= result.mean <= result.interval.high
    assert result.encoder == encoder.identity


def test_vectors_of_any_length_and_sources():
    class Bare:
        def encode(self, texts):
            return np.array(
                [[3.0, 4.0] if text == "a" else [0.0, 5.0] for text in texts], np.float32
            )

    result = embedding_similarity(
        ["a", "a", "b", "b"], ["a", "b", "a", "b"], Bare(), sources=["x", "x", "y", "y"]
    )
    assert result.values == pytest.approx([1, 0.8, 0.8, 1])
    assert result.encoder == "Bare"
    assert result.interval == pytest.approx((0.9, 0.9))  # both sources have the same mean


def test_nothing_answered_needs_no_vectors():
    class Never:
        def encode(self, texts):
            raise AssertionError

    assert embedding_similarity(["", None, float("nan")], ["a"] * 3, Never()).mean == 0


@pytest.mark.parametrize("encoder", [None, "BAAI/bge-m3"])
def test_what_is_no_encoder_is_told(encoder):
    with pytest.raises(ConfigError, match="encoder is .*BGEM3Encoder"):
        embedding_similarity(["a"], ["a"], encoder)


@pytest.mark.parametrize(
    "measure", [lambda p, r: embedding_similarity(p, r, None), lambda p, r: bert_score(p, r, "m")]
)
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [([], [], "no predictions"), (["a"], [], "1 predictions and 0"), ([1], ["a"], "is int")],
)
def test_what_cannot_be_scored_is_said(measure, predictions, references, message):
    with pytest.raises(ConfigError, match=message):
        measure(predictions, references)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An XLM-R with a vocabulary of Thai characters, whose tokenizer has no longest text."""
    torch = pytest.importorskip("torch")
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("bert_score")
    folder = str(tmp_path_factory.mktemp("xlmr"))
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = [chr(i) for i in range(0x0E01, 0x0E5C)] + [" "]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {token: i for i, token in enumerate(special + letters)}, unk_token="<unk>"
        )
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    begin, pad, end, unknown = special
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=begin,
        cls_token=begin,
        eos_token=end,
        sep_token=end,
        pad_token=pad,
        unk_token=unknown,
    ).save_pretrained(folder)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(special + letters),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    transformers.XLMRobertaModel(config).save_pretrained(folder)
    return folder


def test_bert_score(model):
    result = bert_score([RAIN, SAME, COOK, ""], [RAIN, RAIN, RAIN, RAIN], model, device="cpu")
    assert result.values[0] == pytest.approx(1, abs=1e-5) and result.values[3] == 0
    assert 1 > result.values[1] > result.values[2] > 0
    assert result.f1 == pytest.approx(result.values.mean()) and result.n == 4
    assert 0 < result.precision < 1 and 0 < result.recall < 1
    assert result.interval.low <= result.f1 <= result.interval.high
    assert "_L2_" in result.signature and "no-idf" in result.signature


def test_bert_score_matches_tokens_greedily(model):
    """Against the definition, on the model's own vectors."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = (
        AutoTokenizer.from_pretrained(model),
        AutoModel.from_pretrained(model).eval(),
    )
    sides = []
    for text in (SAME, RAIN):
        with torch.no_grad():
            hidden = network(
                **tokenizer(text[:60], return_tensors="pt"), output_hidden_states=True
            ).hidden_states[1][0]
        # without the marks at both ends
        sides.append(torch.nn.functional.normalize(hidden[1:-1], dim=-1))
    cosines = sides[0] @ sides[1].T
    result = bert_score([SAME[:60]], [RAIN[:60]], model, layers=1, device="cpu")
    assert result.precision == pytest.approx(cosines.max(1).values.mean().item(), abs=1e-4)
    assert result.recall == pytest.approx(cosines.max(0).values.mean().item(), abs=1e-4)
    both = result.precision, result.recall
    assert result.f1 == pytest.approx(2 * both[0] * both[1] / sum(both), abs=1e-4)


def test_a_text_beyond_the_models_limit_is_cut(model):
    assert bert_score([RAIN * 40], [RAIN * 50], model, device="cpu").f1 == pytest.approx(
        1, abs=1e-4
    )


def test_bert_score_says_what_it_cannot_load(model, tmp_path):
    with pytest.raises(ConfigError, match="has 3 layers, not 9"):
        bert_score(["a"], ["b"], model, layers=9)
    with pytest.raises(ConfigError, match="cannot load") as caught:
        bert_score(["a"], ["b"], tmp_path)
    assert "\n" not in str(caught.value) and "['" not in str(caught.value)
