"""From a data set to a model.

`exports.py` writes the files of other trainers, `mix.py` puts human rows beside synthetic ones, `card.py` describes a
model. To write another trainer, give a class the one method `train(dataset, out)`.
"""

__all__: list[str] = []
