"""The engine: sends prompts, keeps every reply, and answers from what it kept (docs/durability.md).

In the order of import: `clock` (time, injectable), `schema` (what a provider takes of a JSON
schema), `loop` (the background event loop, threads), `transport` (HTTP and the one place where
faults are classified), `entries` (a row of the ledger on disk), `ledger` (the durable record),
`limits` (how much may be under way), `backend` (what HTTP generators share), `runner` (one request
until it is settled), `salvage` (what a damaged ledger still holds), `session` (what components
see), `batch` (`generate_all`).
"""

__all__: list[str] = []
