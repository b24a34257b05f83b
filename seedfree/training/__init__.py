"""From a data set to a model.

`config.py` holds every setting, `render.py` makes tokens and labels of rows, `base.py` checks and
loads a base model, `footprint.py` says what it will take, `trainer.py` trains, `model.py` is what
comes out; `exports.py` writes the files of other trainers, `mix.py` puts human rows beside
synthetic ones, `card.py` describes a model. To write another trainer, give a class the one method
`train(dataset, out)`.
"""

__all__: list[str] = []
