"""Files that are zip archives of XML: DOCX and EPUB."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from seedfree.contexts.formats import damaged, encrypted
from seedfree.errors import ConfigError, missing_extra

if TYPE_CHECKING:
    from lxml.etree import _Element

__all__ = ["Archive"]

# Bytes that an archive may unpack to, as much as a file may have.
_LARGEST = 2**30
# And a part that is read: a tree of XML takes many times as much memory.
_LARGEST_PART = 2**27
# How old Office files begin, and those with a password.
_COMPOUND = b"\xd0\xcf\x11\xe0"


class Archive:
    """An archive whose parts are read by their names in it, and never written to disk.

    Args:
        name: Of the file, for errors.
        what: It should be, with its article.

    Raises:
        ConfigError: It is none, or unpacks to more than 1 GiB.
    """

    def __init__(self, data: bytes, name: str, what: str) -> None:
        self._name, self._what = name, what
        if data.startswith(_COMPOUND):
            raise encrypted(name)
        try:
            # NotImplementedError: a version or a compression of zip that Python does not read.
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise damaged(name, what) from error
        # What is read of a part ends at the size that it declares.
        if sum(part.file_size for part in self._zip.infolist()) > _LARGEST:
            raise ConfigError(
                f"{name} unpacks to more than 1 GiB", hint="Divide it, or take its pictures out."
            )
        self.names = frozenset(self._zip.namelist())
        for part in self._zip.infolist():
            if part.filename.endswith("ml") and part.file_size > _LARGEST_PART:
                raise ConfigError(
                    f"{name} holds {part.filename} of more than 128 MiB", hint="Divide it."
                )

    def read(self, part: str) -> bytes:
        """Returns a part's bytes; none for a part that is not there.

        Raises:
            ConfigError: It is damaged or encrypted.
        """
        if part not in self.names:
            return b""
        if self._zip.getinfo(part).flag_bits & 1:
            raise encrypted(self._name)
        try:
            return self._zip.read(part)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, zlib.error) as error:
            raise damaged(self._name, self._what) from error

    def xml(self, part: str) -> _Element | None:
        """Returns the root of a part of XML; nothing where there is none."""
        return xml(self.read(part))


def xml(data: bytes) -> Any:
    """Reads XML, as well as can be. Entities stay unresolved, and nothing is loaded."""
    try:
        from lxml import etree
    except ImportError as error:
        raise missing_extra("lxml", "documents") from error

    parser = etree.XMLParser(
        recover=True,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
