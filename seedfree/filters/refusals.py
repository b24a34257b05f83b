"""A model that speaks of itself or declines."""

from __future__ import annotations

import re

from seedfree.languages import Language
from seedfree.text import fold

__all__ = ["refuses", "speaks_as_model"]

# A model that speaks of itself, in the languages that come with the library, as folded text has it.
_SELF = re.compile(
    r"as an? (?:ai|artificial intelligence|large language|language)"
    r" (?:language )?(?:model|assistant)"
    r"|ฐานะ(?:ที่เป็น)?\s*(?:แบบจำลองภาษา|โมเดลภาษา|ปัญญาประดิษฐ์|ผู้ช่วย\s*ai|ai\b)"
    r"|(?:ฉัน|ผม|ดิฉัน)เป็น(?:เพียง)?\s*(?:แบบจำลองภาษา|โมเดลภาษา|ปัญญาประดิษฐ์|ai\b)"
    r"|ຖານະ(?:ທີ່ເປັນ)?\s*(?:ແບບຈຳລອງພາສາ|ໂມເດວພາສາ|ປັນຍາປະດິດ|ai\b)"
    r"|ក្នុងនាម(?:ខ្ញុំ)?ជា\s*(?:ម៉ូដែលភាសា|បញ្ញាសិប្បនិម្មិត|ai\b)"
    r"|(?:ai|ဘာသာစကား)\s*မော်ဒယ်\s*(?:တစ်ခု)?\s*(?:အနေနဲ့|အနေဖြင့်|ဖြစ်)"
    r"|(?:là|tư cách) (?:là )?một (?:mô hình ngôn ngữ|trí tuệ nhân tạo|trợ lý ai)"
    r"|sebagai (?:sebuah )?(?:model bahasa|asisten ai|kecerdasan buatan)"
    r"|yapay zek[aâ] (?:dil )?(?:modeli|asistani) olarak"
    r"|kama (?:modeli ya lugha|akili bandia|msaidizi wa ai)"
)


def speaks_as_model(text: str) -> bool:
    """Finds a model that speaks of itself, but for what is quoted."""
    folded = fold(text)
    itself = _SELF.search(folded)
    return itself is not None and not _in_quotes(folded, itself.start())


_REFUSALS = (
    "as an ai language model", "as an ai assistant", "as a language model",
    "as a large language model", "i'm sorry, but i", "i am sorry, but i", "sorry, but i can't",
    "sorry, i can't", "i cannot assist", "i can't assist", "i can't help with",
    "i cannot help with", "i cannot fulfill", "i can't fulfill", "i'm unable to", "i am unable to",
    "i cannot provide", "i can't provide",
)  # fmt: skip
# Room for an apology before the phrase.
_OPENING = 40


def refuses(text: str, language: Language) -> bool:
    """Finds a refusal at the start, or one that is a third of the text.

    One that is quoted or stands further inside does not count: a good answer may speak of refusals.
    """
    folded = fold(text)
    for phrase in map(fold, (*language.refusals, *_REFUSALS)):
        at = folded.find(phrase) if phrase else -1
        if at < 0 or _in_quotes(folded, at):
            continue
        if at <= _OPENING or 3 * len(phrase) >= len(folded):
            return True
    return False


def _in_quotes(folded: str, position: int) -> bool:
    # Folding has made all double quotes the same, so an odd number of them leaves one open.
    return folded.count('"', 0, position) % 2 == 1
