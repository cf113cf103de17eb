"""Runs Autobahn's fuzzing client against one echo server: what `wstest -m fuzzingclient` does, and no more.

Usage: fuzz.py SUITE_FOLDER WS_URL REPORT_FOLDER [CASE_PATTERN...]

SUITE_FOLDER is what prepare.py filled. The results are REPORT_FOLDER/index.json and one JSON file a case; judging
them is the caller's part. Exits 1 when the server could not be reached or a case went missing.
"""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    suite, url, reports = sys.argv[1:4]
    patterns = sys.argv[4:] or ["*"]
    sys.path.insert(0, suite)
    import txaio

    txaio.use_twisted()
    from twisted.internet import reactor

    from autobahntestsuite import fuzzing

    factory = fuzzing.FuzzingClientFactory(
        {"servers": [{"agent": "ringway", "url": url}], "cases": patterns, "exclude-cases": [], "outdir": reports}
    )
    reactor.run()
    results = json.loads((Path(reports) / "index.json").read_text()).get("ringway", {})
    missing = [case for case in factory.specCases if case not in results]
    if missing:
        sys.exit(f"no result for {len(missing)} of {len(factory.specCases)} cases: {' '.join(missing)}")


if __name__ == "__main__":
    main()
