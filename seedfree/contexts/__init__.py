"""Sources of texts, one file each.

To write your own, copy `documents.py` (texts that are there already) or `written.py` (texts that
the run's LLM writes): a class with `contexts(topic)` that returns a list of `Context`.
`wikipedia.py` shows a source on the network, and `dump.py` the same texts without one: its formats
stand in `dump_files.py`, what is searched in `dump_index.py`. `formats/` reads PDF, Word, HTML,
EPUB and wikitext, `sections.py` cuts texts for all of them, and `stream.py` mixes the sources of a
run by their shares.
"""

__all__: list[str] = []
