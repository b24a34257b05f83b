"""How a text ends in the middle."""

from __future__ import annotations

import re

from seedfree.languages import Language

__all__ = ["cut_off"]

# Vowels written before their consonant, and signs that stack the next one: no word ends in them.
_HALF = tuple("เแโใไເແໂໃໄ\u17d2\u1039")
_OPEN_END = re.compile(r"[,;:(\[{“«「、،၊]\Z|\s[-–—&/+=]\Z")
# Something must follow these words. Those that also end questions or other words count after white
# space alone.
_DANGLING = {
    "th": r"(?:และ|ซึ่ง|ได้แก่|เช่น|เพื่อ|เนื่องจาก|\s(?:หรือ|เพราะ|แต่|โดย|ที่|ว่า|คือ|ของ|ใน))",
    "lo": r"(?:ແລະ|ເຊິ່ງ|ໄດ້ແກ່|ເຊັ່ນ|\s(?:ຫຼື|ແຕ່|ທີ່|ໂດຍ))",
    "km": r"(?:និង|ដូចជា|\s(?:ឬ|ប៉ុន្តែ|ដែល))",
    "my": r"(?:နှင့်|သို့မဟုတ်)",
    "vi": r"\b(?:và|hoặc|của|nhưng|các|những|là)",
    "id": r"\b(?:dan|atau|yang|dengan|dari|untuk|tetapi|sebuah|adalah)",
    "tr": r"\b(?:ve|veya|ile|ama)",
    "sw": r"\b(?:na|au|ya|wa|kwa|lakini)",
    "en": r"\b(?:and|or|the|a|an|of|with|to|but|that|which|from)",
}
_PAIRS = {")": "(", "]": "[", "}": "{", "”": "“", "»": "«", "」": "「", "』": "『", "）": "（"}
_BRACKET = re.compile(f"[{re.escape(''.join(_PAIRS.values()))}]")
_LABEL = re.compile(r"^\s*\(?\w{1,3}\)", re.MULTILINE)
_TAIL = 120
_STOPS = re.compile(r"[.!?…။។][\"'”’»)*_]*(?:\s|\Z)")
_LIST_ITEM = re.compile(r"\s*(?:[-*•·|#>]|\(?\w{1,3}[.)])")
# Scripts whose sentences end with a sign. Thai and Lao have none.
_STOPPED_SCRIPTS = frozenset({"Latin", "Cyrillic", "Greek", "Myanmar", "Khmer"})
_PROSE = 120


def cut_off(text: str, language: Language) -> str | None:
    """Names how a text ends in the middle."""
    text = text.rstrip()
    if text.endswith(_HALF):
        return "half a syllable"
    if _OPEN_END.search(text):
        return "open punctuation"
    dangling = _DANGLING.get(language.code)
    if dangling and re.search(dangling + r"\Z", text.casefold()):
        return "conjunction"
    if _leaves_bracket_open(text):
        return "unclosed bracket"
    if language.script in _STOPPED_SCRIPTS and _lacks_full_stop(text):
        return "no full stop"
    return None


def _leaves_bracket_open(text: str) -> bool:
    """Finds a bracket near the end that nothing closes."""
    tail = text[-_TAIL:]
    if not _BRACKET.search(tail):
        return False
    # Labels such as `a)` close nothing. Read backwards, each bracket must have met its partner.
    awaited: list[str] = []
    for char in reversed(_LABEL.sub(" ", tail)):
        if char in _PAIRS:
            awaited.append(_PAIRS[char])
        elif char in _PAIRS.values():
            if char not in awaited:
                return True
            awaited.remove(char)
    return False


def _lacks_full_stop(text: str) -> bool:
    """Finds a last line of prose that does not end like the sentences before it."""
    line = text.rsplit("\n", 1)[-1]
    is_prose = len(line) >= _PROSE and not _LIST_ITEM.match(line) and _STOPS.search(line)
    return bool(is_prose) and text[-1:].isalpha()
