"""A process that compares one view by a scan and says how much memory it took: ``python -m benchmarks.peak_scan``."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.peak import peak_mb


def main() -> None:
    """Compare a view of a repository and print one line of JSON."""
    repo, view = sys.argv[1:]
    import feastra_nb as fnb

    with fnb.connect(repo=repo) as ws:
        ws.view(view)
        before_mb = peak_mb()
        began_s = time.perf_counter()
        report = ws.skew(view)
        seconds = time.perf_counter() - began_s
        after_mb = peak_mb()
        if not report.ok:
            sys.exit(repr(report))
    found = {
        "cells": report.compared, "cells_per_s": report.compared / seconds,
        "before_mb": before_mb, "peak_mb": after_mb, "extra_mb": after_mb - before_mb,
    }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
