"""Readers of document formats, one file each: bytes in, a title and blocks of text out.

To add one, copy `docx.py`. Its packages belong to the extra `documents` and are imported when a
file of the format is read. Nothing in a file is run, and nothing is fetched.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from seedfree.contexts.sections import Block
from seedfree.errors import ConfigError

__all__ = ["Parsed", "damaged", "encrypted", "real_title"]


class Parsed(NamedTuple):
    """What a file holds.

    Attributes:
        title: That the file says of itself, empty where it says none.
        url: The address that a web page says it has.
        unread: What of it cannot be read as text, in a few words.
    """

    title: str
    blocks: list[Block]
    url: str = ""
    unread: str = ""


# What programs write where nobody gave a title.
_NO_TITLE = re.compile(
    r"(?:microsoft (?:word|powerpoint|excel|publisher) - .*|.*\.(?:docx?|pptx?|xlsx?|odt|rtf|pdf"
    r"|indd|pmd|qxd|tex|dvi|ps|pub|cdr|ai|html?|txt|epub)|untitled\W*(?:document|page)?\W*\d*"
    r"|(?:word )?document\W*\d*|doc\W*\d+|powerpoint presentation|presentation\W*\d*|slide \d+"
    r"|\W*anonymous\W*|unspecified|unknown|(?:no )?title|index)",
    re.IGNORECASE,
)


def real_title(text: str | None) -> str:
    """Returns a title from a file's metadata, or nothing for what a program put there."""
    line = " ".join((text or "").split())
    return "" if _NO_TITLE.fullmatch(line) else line


def damaged(name: str, what: str) -> ConfigError:
    """Makes the error for a file that is not what its name says."""
    return ConfigError(f"{name}: not {what} that can be read", hint="Mend or remove the file.")


def encrypted(name: str) -> ConfigError:
    """Makes the error for a file that only a password or a licence opens."""
    return ConfigError(f"{name} is encrypted", hint="Save it without a password, or remove it.")
