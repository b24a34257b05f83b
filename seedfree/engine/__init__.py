"""How one request is asked, kept and paid for once (docs/durability.md).

A request goes through `session.py` (one way to ask), `limits.py` (how much may be under way),
`ledger.py` (the durable record) and `http.py` (the one place where faults are classified), which
stands on `connections.py` (sockets and bodies), `keys.py` (secrets) and `places.py` (URLs).
`schema.py` holds what a provider takes of a JSON schema, and reads the replies. `loop.py` is the
background event loop, its threads and its clock, and `pool.py` runs work side by side. On these
stand `batch.py` (`generate_all`) and `salvage.py` (what a damaged ledger still holds).
"""

__all__: list[str] = []
