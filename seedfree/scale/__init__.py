"""Filters, encoders and near-duplicates on many machines, by Ray, from Parquet to Parquet.

One file a stage: `filtering.py`, `encoding.py`, `selecting.py`. Each cuts rows into parts
(`parts.py`) and has workers do a part at a time (`work.py`). Near-duplicates are decided by the
driver alone, with the index of `seedfree/diversity/`; workers do its search for the nearest
(`search.py`).

Workers hold no key, ask no model and write nothing but results.

To add a stage copy `encoding.py`: a function that claims its folder, and a class with `ready` and
`do`.
"""

from seedfree.scale.encoding import encode_rows
from seedfree.scale.filtering import filter_rows
from seedfree.scale.selecting import select_rows

__all__ = ["encode_rows", "filter_rows", "select_rows"]
