"""What happens when a pipeline runs.

`execution.py` is the loop: it plans (`planning.py`), asks, filters, selects and publishes (`publishing.py`). The folder
that it leaves, and its settings, are `folder.py`. `estimate.py` says what a run will cost and whether the model is good
enough; `progress.py` shows how far it is.
"""

__all__: list[str] = []
