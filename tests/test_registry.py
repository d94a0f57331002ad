"""Feast's registry file among processes and threads, and on a full disk."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

import feastra_nb as fnb
from conftest import KEYSPACE, NODE, NODE_SETTINGS
from feastra_nb.errors import CatalogConflict, ConfigurationError

NOW = pd.Timestamp.now(tz="UTC").floor("us")
FRAME = pd.DataFrame({"driver": [1, 2], "event_timestamp": [NOW, NOW], "x": [1.0, 2.0]})

# What each child begins with: a workspace of the test's node, project and folder, and a frame.
CHILD = """
import sys, time
from pathlib import Path
import pandas as pd
import feastra_nb as fnb
project, folder, mine = sys.argv[1:4]
ws = fnb.connect(fnb.Local(name={node!r}), project=project, keyspace={keyspace!r}, directory=folder, retain="all")
frame = pd.DataFrame({{"driver": [1, 2], "event_timestamp": [pd.Timestamp.now(tz="UTC")] * 2, "x": [1.0, 2.0]}})
""".format(node=NODE, keyspace=KEYSPACE)

WRITER = """
Path(folder, "ready" + mine).touch()
while not Path(folder, "go").exists():
    time.sleep(0.01)
for number in range(3):
    ws.materialize(frame, f"view_{mine}_{number}", keys=["driver"], progress=False)
    print("done", f"view_{mine}_{number}")
"""

READER = """
seen = set()
Path(folder, "ready" + mine).touch()
while not Path(folder, "stop").exists():
    now = set(ws.views()["view"])
    assert seen <= now, f"{seen - now} went"
    for view in now:
        ws.view(view)
    seen = now
print("done", len(seen))
"""


def child(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


def ended(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.split("\n")


def wait_for(paths):
    until = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < until, "the children did not start"
        time.sleep(0.02)


def test_what_four_processes_register_at_once_is_all_there(open_workspace, project):
    ws = open_workspace(retain="all")
    folder = ws.directory
    reader = child(READER, project, folder, "reader")
    writers = [child(WRITER, project, folder, number) for number in range(4)]
    wait_for([folder / f"ready{name}" for name in ("reader", *range(4))])
    (folder / "go").touch()
    said = [line.split()[1] for writer in writers for line in ended(writer) if line]
    (folder / "stop").touch()
    ended(reader)
    assert len(said) == 12
    assert set(ws.views()["view"]) == set(said)
    for view in said:
        assert ws.online(f"{view}:x", {"driver": [1, 2]})["x"].tolist() == [1.0, 2.0]
        assert ws.view(view).materialization_intervals
