"""Language models, one file each.

To add a backend with an HTTP interface, copy `openai_compatible.py`: `request(prompt)` gives the
HTTP request, `reply(status, headers, body)` reads the answer, and the engine does the rest
(sending, keeping, retrying). For anything else copy `function.py`: one method, `generate(prompt)`.

Give the class an `identity`, a sentence of `terms` for the data-set card (it stands in `prices.py`,
where it is looked up for old rows) and a `price` in USD per million tokens. If something can be
missing, a `ready()` says so before anything is paid for. Add the backend to the list in
`tests/contracts/test_generator.py`, which checks what every backend must do.

The other files serve them: `wire.py` what backends share, `grammar.py` and `llamacpp_process.py`
the embedded llama.cpp, `prices.py` what tokens cost and what the terms are.
"""

__all__: list[str] = []
