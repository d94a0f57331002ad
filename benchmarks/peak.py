"""A process that materializes one view and says how much memory it took at most: ``python -m benchmarks.peak``."""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import datetime
from pathlib import Path


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB.

    Linux counts what the parent held before this program replaced it into ``ru_maxrss``; ``VmHWM`` begins with the program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(one for one in status.read_text(encoding="ascii").splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Materialize what the arguments name and print one line of JSON."""
    host, port, keyspace, directory, view, start, end = sys.argv[1:]
    import feastra_nb as fnb

    with fnb.connect(fnb.Hosts([host], port=int(port)), project="ours", keyspace=keyspace, directory=directory) as ws:
        ws.store.entry(ws.feast.config, ws.view(view))
        before_mb = peak_mb()
        began_s = time.perf_counter()
        first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
        done = ws.materialize(view, start=first, end=last, progress=False)
        seconds = time.perf_counter() - began_s
    found = {"rows": done.rows, "rows_per_s": done.rows / seconds, "before_mb": before_mb, "peak_mb": peak_mb()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
