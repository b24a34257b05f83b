"""From a data set to a model.

`config.py` holds every setting. `data.py` checks and splits the rows, and mixes synthetic with
human ones; `render.py` makes tokens and labels of them. `base_model.py` finds and loads a base
model, `footprint.py` says what a training will take, `trainer.py` plans and runs it, `sft.py` is
TRL's part of it, and `folder.py` is what it leaves on disk. `model.py` is what comes out, and
`generator.py` lets it answer like any other LLM. `exports.py` writes the files of other trainers.

To write another trainer, give a class the one method `train(dataset, out)` of `protocols.Trainer`.
The data set is a `Dataset`, and `tests/contracts/test_trainer.py` says what is expected of it.
"""

__all__: list[str] = []
