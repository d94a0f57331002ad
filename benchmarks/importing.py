"""How long an import takes, in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.measure import Figure

if TYPE_CHECKING:
    from benchmarks.bench import Bench

PROGRAMS = {
    "import_s": "import feastra_nb",
    "load_ext_s": "shell.run_line_magic('load_ext', 'feastra_nb')",
}
# IPython is there before any extension is loaded, so its own import is not the extension's cost.
FRAME = """
import time
{before}
began_s = time.perf_counter()
{program}
print(time.perf_counter() - began_s)
"""
SHELL = "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()"


def importing(bench: Bench) -> list[Figure]:
    """Import the package, and load the notebook extension, each time in a process of its own."""
    return [
        Figure(peers.OURS, metric, tuple(_seconds(metric, program) for _ in range(bench.size.imports)))
        for metric, program in PROGRAMS.items()
    ]


def _seconds(metric: str, program: str) -> float:
    code = FRAME.format(before=SHELL if metric == "load_ext_s" else "", program=program)
    command = [sys.executable, "-W", "ignore", "-c", code]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own code
    return float(answer.stdout.split()[-1])
