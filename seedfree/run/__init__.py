"""What happens when a pipeline runs.

`execution.py` is the loop: it plans (`planning.py`), works on jobs (`jobs.py`), selects and
publishes (`publishing.py`). `folder.py` reads what a run leaves, `settings.py` is what it was made
with. `estimate.py` says what a run will cost and whether the model is good enough, `progress.py`
how far it is.
"""

__all__: list[str] = []
