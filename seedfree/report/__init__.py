"""One HTML file that shows a whole run: what it made, what it lost and why, and every row.

`page.py` puts the sections together and fills `page.html`, `style.css` and `browser.js`.
`diagnosis.py` says what is weak, `trace.py` and `embeddings.py` read what a run keeps beside its
rows, `charts.py` draws. To add a section, write a function in `page.py` that returns escaped HTML.

A run stands below this room and calls it, so a report reads it as the `Reported` of `given.py`.
"""

from __future__ import annotations

__all__: list[str] = []
