"""Sources of texts, one file each.

To write your own, copy `documents.py` (texts that are there already) or `written.py` (texts that
the run's LLM writes): a class with `contexts(topic)` that returns a list of `Context`.
`wikipedia.py` shows a source on the network. `formats/` reads PDF, Word, HTML and EPUB,
`sections.py` cuts texts for all of them, and `stream.py` mixes the sources of a run by their
shares.
"""

__all__: list[str] = []
