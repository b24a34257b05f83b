"""Belebele: 900 questions on the same passages in 122 languages (arXiv 2308.16884)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seedfree.errors import ConfigError
from seedfree.evaluation.loading import hub_rows, missing, read_rows, text_of, unique
from seedfree.languages import Language
from seedfree.records import Prompt, Question

__all__ = ["Belebele"]

_HUB = "facebook/belebele"
# Columns: the card of facebook/belebele on the Hugging Face hub. `correct_answer_num` counts from
# 1; `dialect` is the FLORES-200 code; `link` and `question_number` name the passage's page and the
# question on it.
_CHOICES = ("mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4")
_NEEDED = ("link", "question_number", "flores_passage", "question", *_CHOICES, "correct_answer_num")
_CODES = {
    "en": "eng_Latn",
    "id": "ind_Latn",
    "km": "khm_Khmr",
    "lo": "lao_Laoo",
    "my": "mya_Mymr",
    "sw": "swh_Latn",
    "th": "tha_Thai",
    "tr": "tur_Latn",
    "vi": "vie_Latn",
}
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
    the question and the choices, all in the language and with its own labels.

    Args:
        language: One of the ready-made languages.
        path: A file as on the hub (`tha_Thai.jsonl`), or a folder of them. `None` for the hub.

    Raises:
        ConfigError: Belebele is not set up for the language.
    """

    def __init__(self, language: str | Language, path: str | Path | None = None) -> None:
        pack = Language.load(language)
        if pack.code not in _CODES:
            hint = f"It is for {', '.join(_CODES)}."
            raise ConfigError(f"Belebele is not set up for {pack.name}", hint=hint)
        self.name, self.language, self.path = f"belebele-{pack.code}", pack.code, path
        self._pack, self._code = pack, _CODES[pack.code]

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
        return Prompt(f"{_ORDERS[self.language]}\n\n{question.context}\n\n{asked}")

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
