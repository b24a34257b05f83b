"""Texts to words, by mode: as the paper's scorer cut them, or into the language's words.

Two texts that look alike must count as alike, so mode `"segmented"` normalizes them first. The
paper's scorer took texts as they were.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from seedfree._files import absent
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.languages.segment import import_pythainlp, segment
from seedfree.text import INVISIBLE, clean, one_case
from seedfree.text.typed import one_typing

__all__ = [
    "Cutter",
    "as_texts",
    "content",
    "normalize",
    "paired_texts",
    "paper_cutter",
    "segmented_cutter",
]

_CODE = re.compile(r"[a-z]{2,3}")
_PACKAGES = {"newmm": "pythainlp", "icu": "icu4py"}


@dataclass(frozen=True)
class Cutter:
    """How the texts of one scoring are cut.

    Attributes:
        cut: Text to its words, one space between, lines kept.
        clean: Done to a text before anything counts its words or characters.
        language: The code.
        known: Whether the language has a segmenter of its own.
        signature: What cut the words: segmenter, its version, its dictionary.
    """

    cut: Callable[[str], str]
    clean: Callable[[str], str]
    language: str
    known: bool
    signature: str


def segmented_cutter(language: str | Language) -> Cutter:
    """Cuts every line with the language's own segmenter, or without one by Unicode's rules (ICU).

    Raises:
        ConfigError: Neither a ready-made language nor a code of two or three letters, or a
            segmenter that is not known.
    """
    code, own = _code_and_segmenter(language)
    segmenter = own or "icu"

    def cut(text: str) -> str:
        return "\n".join(" ".join(segment(line, segmenter)) for line in text.splitlines())

    cut("a")  # An unknown name, or a package that is missing, before any text is read.
    signature = _described(segmenter)
    if not own:
        signature = f"none (Unicode words: {signature})"
    return Cutter(cut, normalize, code, bool(own), signature + "|norm:nfc")


def paper_cutter(language: str | Language) -> Cutter:
    """Cuts the whole text with PyThaiNLP's newmm, whatever the language."""
    code, _ = _code_and_segmenter(language)

    def cut(text: str) -> str:
        import_pythainlp()
        from pythainlp.tokenize import word_tokenize

        # Not `segment`, which cuts between spaces: the paper's scorer gave newmm the whole text.
        words = word_tokenize(text, engine="newmm", keep_whitespace=False, join_broken_num=True)
        return " ".join(" ".join(words).split())

    return Cutter(cut, str, code, True, _described("newmm"))


def _code_and_segmenter(language: str | Language) -> tuple[str, str]:
    """Returns both as the language has them.

    `"th-TH"` is `"th"`. A code without a language file has no segmenter.
    """
    if isinstance(language, Language):
        return language.code, language.segmenter
    try:
        known = Language.load(str(language))
    except ConfigError:
        code = re.split("[-_]", str(language).strip().lower())[0]
        if not _CODE.fullmatch(code):
            raise
        try:
            known = Language.load(code)
        except ConfigError:
            return code, ""
    return known.code, known.segmenter


@cache
def _described(segmenter: str) -> str:
    package = _PACKAGES.get(segmenter)
    if package is None:
        return segmenter
    described = f"{segmenter} {package} {metadata.version(package)}"
    if segmenter != "newmm":
        return described
    import_pythainlp()
    from pythainlp.corpus import thai_words

    # newmm cuts into the words of this dictionary, so another one gives other scores.
    words = sorted(thai_words())
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()
    return f"{described}|dict:{len(words)} words {digest[:8]}"


def normalize(text: str) -> str:
    """Returns NFC without unseen characters, with the letters of each script typed one way.

    To normalize again changes nothing. `text.fold` shares the ways of typing and removes case,
    digits and punctuation marks too, which are part of what is scored here. A zero-width space
    marks a word's end for writers of Khmer, Lao and Burmese, but not for all of them, nor for
    models. It is removed, so that a text with and without it has the same words.
    """
    return one_typing(unicodedata.normalize("NFC", text.translate(INVISIBLE)))


def content(cut: str) -> list[list[str]]:
    """Returns the words of each line in lower case, without punctuation.

    A text of punctuation alone keeps it, since it would have no words at all.
    """
    lines = [one_case(line).split() for line in cut.splitlines()]
    # newmm's dictionary has the labels and abbreviations "ก." and "พ.ศ." as words with their full
    # stop.
    words = [[word.rstrip(".") for word in line if any(map(str.isalnum, word))] for line in lines]
    return words if any(words) else lines


def as_texts(given: Sequence[str | None], name: str) -> list[str]:
    """Returns the texts, with None and NaN, as tables have for an empty cell, as empty ones.

    Raises:
        ConfigError: One text alone, or something that is not text. `name` says of what.
    """
    if isinstance(given, str):
        raise ConfigError(f"{name} is one text", hint="Give a list of texts.")
    texts = []
    for i, value in enumerate(given):
        text = "" if absent(value) else value
        if not isinstance(text, str):
            raise ConfigError(
                f"{name}[{i}] is {type(text).__name__}, not text", hint="Give a list of texts."
            )
        texts.append(clean(text))
    return texts


def paired_texts(
    predictions: Sequence[str | None], references: Sequence[str | None]
) -> tuple[list[str], list[str]]:
    """Returns both as `as_texts` does.

    Raises:
        ConfigError: As in `as_texts`, no rows, or unequal lengths.
    """
    answers, wanted = as_texts(predictions, "predictions"), as_texts(references, "references")
    if len(answers) != len(wanted):
        raise ConfigError(f"{len(answers)} predictions and {len(wanted)} references")
    if not answers:
        raise ConfigError("There are no predictions to score")
    return answers, wanted
