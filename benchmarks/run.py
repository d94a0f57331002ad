"""The command: ``python -m benchmarks.run [CASE …]`` measures, prints, and writes JSON and a chart."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import chart, report, targets
from benchmarks.bench import SIZES, Bench
from benchmarks.cases import CASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Figure

RESULTS = Path(__file__).parent / "results"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    names = "\n".join(f"  {name:20}{case.title}" for name, case in CASES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        epilog=f"cases:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("case", nargs="*", help="what to measure; without any, all")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON and the chart")
    parser.add_argument("--node", help="a local Cassandra by name, instead of one of this run alone")
    found = parser.parse_args(arguments)
    unknown = [name for name in found.case if name not in CASES]
    if unknown:
        parser.error(f"there is no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    return found


def measure_cases(bench: Bench, names: Sequence[str]) -> tuple[dict[str, list[Figure]], list[str]]:
    """Run cases one after another, and print each as it ends; returns the figures, and the names of cases that failed."""
    found: dict[str, list[Figure]] = {}
    failed = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        began_s = time.monotonic()
        try:
            found[name] = CASES[name].run(bench)
        except Exception:  # noqa: BLE001 - the other cases have an hour's figures to lose
            traceback.print_exc()
            failed.append(name)
            continue
        print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
        print(report.case_text(f"\n{name}: {CASES[name].title}", found[name]), flush=True)
    return found, failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    warnings.simplefilter("ignore")
    asked = options(arguments)
    names = asked.case or [name for name in CASES if name != "growth" or SIZES[asked.size].growth]
    result: dict[str, Any] = {"began": report.now(), "size": asked.size, "machine": report.machine()}
    with Bench(SIZES[asked.size], asked.node) as bench:
        result["versions"] = report.versions(bench.cassandra_version)
        found, failed = measure_cases(bench, names)
        result["left_out"] = bench.left_out
    result["ended"] = report.now()
    result["cases"] = {
        name: {"title": CASES[name].title, "figures": [figure.to_dict() for figure in figures]}
        for name, figures in found.items()
    }
    result["targets"] = list(targets.reached(found))
    print("\n" + report.targets_text(result["targets"]))
    for name, reason in bench.left_out.items():
        print(f"\nleft out: {name}, because there is {reason}")
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / f"{asked.size}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    drawn = chart.draw(result, path.with_suffix(".png"))
    print(f"\nwritten: {path}{' and .png' if drawn else ''}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
