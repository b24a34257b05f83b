"""Language models, one file each.

To add a backend with an HTTP interface, copy `openai_compatible.py`: `request(prompt)` gives the
HTTP request, `reply(status, headers, body)` reads the answer, and the engine does the rest
(sending, keeping, retrying). For anything else copy `function.py`: one method, `generate(prompt)`.
Give the class an `identity`, a sentence of `terms` for the data-set card, a `price` (USD per
million tokens) and, where something can be missing, a `ready()` that says so before anything is
paid for. `tests/contracts/test_generator.py` holds what every backend must do: add yours to its
list.
"""

__all__: list[str] = []
