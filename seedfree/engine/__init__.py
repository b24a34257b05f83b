"""The engine: sends prompts, keeps every reply, and answers from what it kept.

In the order of import: `clock` (time, injectable), `ledger` (the durable record), `transport` (HTTP and the
one place where faults are classified), `limits` (how much may be under way), `runner` (one request until it is
settled), `session` (what components see), `loop` (the background event loop), `batch` (`generate_all`).
"""

__all__: list[str] = []
