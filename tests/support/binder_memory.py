"""How much memory the processes of an image take together, while something runs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psutil
import pytest

EVERY_S = 0.5
PARTS = {
    "jupyter-lab": "JupyterLab", "ipykernel_launcher": "kernel", "CassandraDaemon": "Cassandra",
    "connection.local.watchdog": "watchdog",
}  # fmt: skip


@contextmanager
def sampled(image):
    """Yield a list that fills, twice a second, with what each part of the image takes, in bytes."""
    if not psutil.LINUX:
        pytest.skip("only Linux tells the proportional share of memory (PSS)")
    samples, done = [], threading.Event()

    def look():
        while not done.wait(EVERY_S):
            samples.append(pss_by_part(image.processes()))

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield samples
        finally:
            done.set()
        looking.result()


def pss_by_part(processes) -> dict[str, int]:
    """Return the summed PSS of processes, in bytes: memory that several share counts once."""
    taken = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):  # it has just ended
            part, size = part_of(process), process.memory_full_info().pss
            taken[part] = taken.get(part, 0) + size
    return taken


def part_of(process) -> str:
    command = " ".join(process.cmdline())
    return next((part for mark, part in PARTS.items() if mark in command), "other")


def peak(samples) -> dict[str, int]:
    """Return the sample with the largest sum."""
    return max(samples, key=lambda sample: sum(sample.values()))


def told(sample) -> str:
    """Return a sample as a line of text."""
    parts = ", ".join(f"{part} {size / 1e6:.0f}" for part, size in sorted(sample.items()))
    return f"{sum(sample.values()) / 1e6:.0f} MB: {parts}"
