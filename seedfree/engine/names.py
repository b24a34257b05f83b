"""Names under which components are recorded, and how records of earlier versions are read."""

from __future__ import annotations

import re

__all__ = ["component_name", "upgraded"]

# Up to 0.1.0 what was recorded held the path of a component's class:
# `{"kind": "seedfree.contexts.wikipedia.WikipediaSource"`.
_PATH = re.compile(r'(?<="kind": ")[^"\\.]+\.[^"\\]+(?=")')


def component_name(kind: type) -> str:
    """Returns the name under which a component's class is recorded.

    It is the class's own name, wherever its code lies. That of a class which is not seedfree's
    begins with `own:`.
    """
    return _name_of_path(f"{kind.__module__}.{kind.__qualname__}")


def upgraded(text: str) -> str:
    """Returns recorded settings, or a key that holds some, as this version would record them.

    Every class has the name that `component_name` gives it.
    """
    # Hardly any key holds settings, and every key of a run passes through here.
    if '"kind": "' not in text:
        return text
    return _PATH.sub(lambda path: _name_of_path(path[0]), text)


def _name_of_path(path: str) -> str:
    first, *_, name = path.split(".")
    if not (first.isidentifier() and name.isidentifier()):  # some setting that is called "kind"
        return path
    return name if first == "seedfree" else f"own:{name}"
