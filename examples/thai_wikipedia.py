"""Thai rows from a wiki and the embedded model.

    python examples/thai_wikipedia.py http://127.0.0.1:8099/api.php

Any MediaWiki with the TextExtracts extension will do. For Wikipedia itself leave the address out
and name a contact.
"""

import argparse
import collections
import sys

import seedfree as sf


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("api_url", nargs="?", help="api.php of the wiki (default: Thai Wikipedia)")
    parser.add_argument("--contact", help="your e-mail address or URL, for Wikipedia's operators")
    parser.add_argument("--size", type=int, default=12)
    parser.add_argument("--out", default="runs/thai-wikipedia")
    options = parser.parse_args()
    wiki = sf.WikipediaSource(
        contact=options.contact,
        api_url=options.api_url,
        max_chars=600,  # a small model reads no further
        random_fallback=True,
        requests_per_minute=None if options.api_url else 180,
    )
    pipeline = sf.Pipeline(
        language="th",
        generator=sf.LlamaCppGenerator(max_chars=300, temperature=0.7),
        contexts=[wiki],
        tasks=[sf.ClosedQA(), sf.Summarization()],
        diversity=sf.SemanticDiversityFilter(encoder=sf.USEEncoder()),
    )
    run = pipeline.run(size=options.size, out=options.out, concurrency=4)
    pages = collections.Counter(
        (row.source.title, row.source.url, row.source.revision) for row in run.dataset
    )
    for (title, url, revision), rows in pages.items():
        sys.stdout.write(f"{rows} rows from {title} {url} revision {revision}\n")
    sys.stdout.write(f"{run!r}\n")
    return 0 if run.status == "complete" else 1


if __name__ == "__main__":
    sys.exit(main())
