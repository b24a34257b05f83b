"""Brings what the pages link to outside `docs/` into the site.

A link such as `../examples/own_task.py` works where the repository is read, and here too.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parent.parent
_OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([^)#\s]+)")
# Pages of their own, by their names in the repository.
_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def on_files(files: Files, config: Any) -> Files:
    """Adds the files that pages link to."""
    linked = set(_PAGES)
    for page in list(files.documentation_pages()):
        linked |= {name for name in _outside(page.content_string) if (_ROOT / name).is_file()}
    for name in sorted(linked):
        content = (_ROOT / name).read_text("utf-8")
        if name.endswith(".md"):
            # In the repository they stand above the pages that they link to.
            content = content.replace("](docs/", "](")
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Points links that lead out of `docs/` to the files that were added."""
    up = "../" * page.file.src_uri.count("/")

    def inside(match: re.Match[str]) -> str:
        found = files.get_file_from_path(match[2])
        return f"]({up}{match[2]}" if found else match[0]

    return _OUTSIDE.sub(inside, markdown)


def _outside(markdown: str) -> set[str]:
    return {match[2] for match in _OUTSIDE.finditer(markdown)}
