"""Stands in for a model in the notebooks, which so need no key and no network.

Its answers are kept in `recorded.json`; a large language model wrote them. An answer is found by
what the request is about and by the fields that it asks for. In your own work a generator such as
`sf.ClaudeGenerator()` takes its place.
"""

import json
from pathlib import Path

import seedfree as sf

KEPT = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))


def recorded(prompt: sf.Prompt) -> str:
    assert prompt.json_schema is not None
    wanted = set(prompt.json_schema["properties"])
    for kept in KEPT:
        if kept["about"] in prompt.user.lower():
            for reply in kept["replies"]:
                if set(reply) == wanted:
                    return json.dumps(reply, ensure_ascii=False)
    raise LookupError(f"no answer is kept for a request for {', '.join(sorted(wanted))}")
