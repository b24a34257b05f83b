"""Near-duplicates, one file a filter: in meaning `semantic.py`, in wording `lexical.py`.

What `semantic.py` stands on, in the order in which a row goes through it: vectors of texts
(`encoders.py`, `http_encoder.py`), kept on disk (`store.py`); the decision over rows in order
(`index.py`); the search for the nearest (`search.py`) among rows of length 1 (`vectors.py`).

`calibration.py` finds a threshold and says whether an encoder is fit for a language, `sweep.py`
what other thresholds would have kept. `contamination.py` looks for a benchmark's questions with the
same search, and with `shingles.py` for copied words.

To add a filter copy `lexical.py`: a dataclass with `select(items) -> Selection`. To add an encoder
copy one of `encoders.py`: `encode(texts)` gives unit rows, `identity` names its vectors.
"""

__all__: list[str] = []
