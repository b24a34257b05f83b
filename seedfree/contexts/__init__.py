"""Where texts come from: one file a source.

To write your own, copy `documents.py` (texts that are there already) or `written.py` (texts that
the run's LLM writes): a class with `contexts(topic)` that returns a list of `Context`.
`wikipedia.py` shows a source on the network. `mediawiki.py` and `sections.py` are what they stand
on, `stream.py` mixes them by share.
"""

__all__: list[str] = []
