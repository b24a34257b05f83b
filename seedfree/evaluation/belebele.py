"""Belebele: 900 questions on the same passages in 122 languages (arXiv 2308.16884)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError
from seedfree.evaluation.loading import hub_rows, missing, read_rows, text_of, unique
from seedfree.languages import Language, language_or_bare
from seedfree.records import Prompt, Question

__all__ = ["Belebele"]

_HUB = "facebook/belebele"
# Columns: the card of facebook/belebele on the Hugging Face hub. `correct_answer_num` counts from
# 1; `dialect` is the FLORES-200 code; `link` and `question_number` name the passage's page and the
# question on it.
_CHOICES = ("mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4")
_NEEDED = ("link", "question_number", "flores_passage", "question", *_CHOICES, "correct_answer_num")
# The FLORES-200 codes of the data set's card. Of a language in two scripts the usual one is first.
_FLORES = """
    acm_Arab afr_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab
    asm_Beng azj_Latn bam_Latn ben_Beng ben_Latn bod_Tibt bul_Cyrl cat_Latn ceb_Latn ces_Latn
    ckb_Arab dan_Latn deu_Latn ell_Grek eng_Latn est_Latn eus_Latn fin_Latn fra_Latn fuv_Latn
    gaz_Latn grn_Latn guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hin_Latn hrv_Latn hun_Latn
    hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn jpn_Jpan kac_Latn kan_Knda
    kat_Geor kaz_Cyrl kea_Latn khk_Cyrl khm_Khmr kin_Latn kir_Cyrl kor_Hang lao_Laoo lin_Latn
    lit_Latn lug_Latn luo_Latn lvs_Latn mal_Mlym mar_Deva mkd_Cyrl mlt_Latn mri_Latn mya_Mymr
    nld_Latn nob_Latn npi_Deva npi_Latn nso_Latn nya_Latn ory_Orya pan_Guru pbt_Arab pes_Arab
    plt_Latn pol_Latn por_Latn ron_Latn rus_Cyrl shn_Mymr sin_Sinh sin_Latn slk_Latn slv_Latn
    sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn
    tam_Taml tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tsn_Latn tso_Latn tur_Latn ukr_Cyrl
    urd_Arab urd_Latn uzn_Latn vie_Latn war_Latn wol_Latn xho_Latn yor_Latn zho_Hans zho_Hant
    zsm_Latn zul_Latn
""".split()
# ISO 639-1 codes, and the ISO 639-3 code in FLORES-200.
_THREE_LETTERS = dict(
    pair.split(":")
    for pair in """
    af:afr am:amh ar:arb as:asm az:azj bg:bul bm:bam bn:ben bo:bod ca:cat cs:ces da:dan de:deu
    el:ell en:eng es:spa et:est eu:eus fa:pes ff:fuv fi:fin fr:fra gn:grn gu:guj ha:hau he:heb
    hi:hin hr:hrv ht:hat hu:hun hy:hye id:ind ig:ibo it:ita ja:jpn jv:jav ka:kat kk:kaz km:khm
    kn:kan ko:kor ky:kir lg:lug ln:lin lo:lao lt:lit lv:lvs mg:plt mi:mri mk:mkd ml:mal mn:khk
    mr:mar ms:zsm mt:mlt my:mya nb:nob ne:npi nl:nld no:nob ny:nya om:gaz or:ory pa:pan pl:pol
    ps:pbt pt:por ro:ron ru:rus rw:kin sd:snd si:sin sk:slk sl:slv sn:sna so:som sq:als sr:srp
    ss:ssw st:sot su:sun sv:swe sw:swh ta:tam te:tel tg:tgk th:tha ti:tir tl:tgl tn:tsn tr:tur
    ts:tso uk:ukr ur:urd uz:uzn vi:vie wo:wol xh:xho yo:yor zh:zho zu:zul
""".split()
)
_ORDERS = {
    "en": "Read the passage and answer the question. "
    "Reply with the letter of the right choice only.",
    "id": "Bacalah teks berikut, lalu jawab pertanyaannya. "
    "Jawab hanya dengan huruf pilihan yang benar.",
    "km": "សូមអានអត្ថបទខាងក្រោម ហើយឆ្លើយសំណួរ។ ឆ្លើយតែអក្សរនៃជម្រើសដែលត្រឹមត្រូវប៉ុណ្ណោះ។",
    "lo": "ອ່ານຂໍ້ຄວາມຕໍ່ໄປນີ້ ແລ້ວຕອບຄຳຖາມ. ຕອບສະເພາະຕົວອັກສອນຂອງຕົວເລືອກທີ່ຖືກຕ້ອງ.",
    "my": "အောက်ပါစာပိုဒ်ကို ဖတ်ပြီး မေးခွန်းကို ဖြေပါ။ မှန်ကန်သော ရွေးချယ်စရာ၏ အက္ခရာကိုသာ ဖြေပါ။",
    "sw": "Soma kifungu kifuatacho, kisha ujibu swali. Jibu kwa herufi ya chaguo sahihi pekee.",
    "th": "อ่านข้อความต่อไปนี้แล้วตอบคำถาม ตอบเฉพาะตัวอักษรของตัวเลือกที่ถูกต้อง",
    "tr": "Aşağıdaki metni okuyun ve soruyu yanıtlayın. Yalnızca doğru seçeneğin harfini yazın.",
    "vi": "Hãy đọc đoạn văn sau rồi trả lời câu hỏi. Chỉ trả lời bằng chữ cái của đáp án đúng.",
}


class Belebele:
    """Reading comprehension with four choices, the same questions in every language.

    It is measured by answer accuracy. The questions are asked zero-shot: the order, the passage,
    the question and the choices. In the ready-made languages all are in the language, with its own
    labels; in others the order is English and the labels are letters from A.

    Args:
        language: A `Language`, or a code: ISO 639-1 or 639-3, or of FLORES-200 (`"hin_Latn"`).
        path: A file as on the hub (`tha_Thai.jsonl`), or a folder of them. `None` for the hub.

    Raises:
        ConfigError: Belebele is not in the language.
    """

    def __init__(self, language: str | Language, path: str | Path | None = None) -> None:
        code = language.code if isinstance(language, Language) else str(language)
        pack = language
        if not isinstance(pack, Language):
            pack = language_or_bare(code.partition("_")[0])
        if pack.code in _ORDERS:
            code = pack.code
        self._code = _flores(code, pack.script)
        # A scorer that has the code alone must know the labels.
        self._pack = pack if pack.code in _ORDERS else Language.load("en")
        self.name, self.language, self.path = f"belebele-{code}", code, path

    def questions(self) -> Sequence[Question]:
        """Returns the questions in the order of the file, and loads them once.

        Those of one passage have the same `source`.

        Raises:
            ConfigError: The file or the hub cannot be read, or a row is not as the hub has it.
        """
        return self._questions

    def prompt(self, question: Question) -> Prompt:
        labelled = zip(self._pack.labels, question.choices, strict=False)
        choices = "\n".join(f"{label}. {choice}" for label, choice in labelled)
        asked = self._pack.text(
            "multiple_choice_question", question=question.question, choices=choices
        )
        return Prompt(f"{_ORDERS[self._pack.code]}\n\n{question.context}\n\n{asked}")

    @functools.cached_property
    def _questions(self) -> tuple[Question, ...]:
        if self.path is None:
            where, rows = f"{_HUB} ({self._code})", hub_rows(_HUB, "test", self._code)
        else:
            path = self._file(Path(self.path).expanduser())
            where, rows = str(path), read_rows(path)
        if lacking := missing(rows, _NEEDED):
            hint = "Give a file as Belebele has it."
            raise ConfigError(f"{where} has no column {', '.join(lacking)}", hint=hint)
        # A file of several languages side by side is read too.
        rows = [row for row in rows if text_of(row.get("dialect")) in ("", self._code)]
        if not rows:
            raise ConfigError(f"{where} holds no rows in {self._code}")
        ids = unique(f"{text_of(row['link'])}#{text_of(row['question_number'])}" for row in rows)
        return tuple(self._question(id_, row, where) for id_, row in zip(ids, rows, strict=True))

    def _file(self, path: Path) -> Path:
        if not path.is_dir():
            return path
        # JSON first, plain or gzipped: Parquet needs a package more.
        for pattern in (f"{self._code}.json*", f"{self._code}.parquet"):
            if files := sorted(path.rglob(pattern)):
                return files[0]
        raise ConfigError(f"{path} holds no {self._code}.jsonl")

    def _question(self, id_: str, row: Mapping[str, Any], where: str) -> Question:
        choices = tuple(text_of(row[name]) for name in _CHOICES)
        right = text_of(row["correct_answer_num"])
        if right not in ("1", "2", "3", "4") or not all(choices):
            message = f"{where}, question {id_}: it has not four choices, one of them right"
            raise ConfigError(message)
        return Question(
            id=id_,
            task="multiple_choice",
            question=text_of(row["question"]),
            answer=choices[int(right) - 1],
            context=text_of(row["flores_passage"]),
            choices=choices,
            source=text_of(row["link"]),
            # That of the whole data set, by its card; the rows name none.
            license="CC-BY-SA-4.0",
        )


def _flores(code: str, script: str) -> str:
    """Returns the FLORES-200 code of a language's rows.

    Raises:
        ConfigError: There are none.
    """
    if code in _FLORES:
        return code
    codes = [each for each in _FLORES if each.startswith(f"{_THREE_LETTERS.get(code, code)}_")]
    if script == "Latin":
        codes = [each for each in codes if each.endswith("_Latn")] or codes
    if not codes:
        hint = "Give a code of ISO 639 or FLORES-200, such as th or tha_Thai."
        raise ConfigError(f"Belebele is not in the language {code}", hint=hint)
    return codes[0]
