"""Models that recognise a language or an encoding, each loaded once in a process.

py3langid knows 140 languages. myanmartools tells Zawgyi, an encoding of Burmese on Unicode's code
points, from Unicode. Both have their model in their wheel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

__all__ = ["identifier", "zawgyi_probability"]


def _loaded_once(load: Callable[[], Any]) -> Callable[[], Any]:
    lock, kept = Lock(), cache(load)

    def model() -> Any:
        # `cache` alone would let every thread of the first rows load a model of its own.
        with lock:
            return kept()

    return model


@_loaded_once
def identifier() -> Any:
    """Returns py3langid's identifier, whose probabilities of a text add up to 1."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def zawgyi_probability(text: str) -> float:
    """Returns how probably a text is in Zawgyi, 0 to 1; `-inf` without a Burmese letter."""
    return float(_zawgyi_detector().get_zawgyi_probability(text))


@_loaded_once
def _zawgyi_detector() -> Any:
    from myanmartools import ZawgyiDetector

    with warnings.catch_warnings():
        # It reads its model through a function of importlib.resources that Python 3.11 and 3.12
        # call deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        return ZawgyiDetector()
