"""The Cassandra of the tests: its name, keyspace and settings, and workspaces on it."""

import os
from contextlib import ExitStack, contextmanager

import pytest

import feastra_nb as fnb
from feastra_nb.connection import local

NODE = f"tests-{os.getpid()}"  # of this run alone: two runs at a time do not meet
KEYSPACE = "tests"
# What only a node may do that is deleted when it stops: a change of the schema is not flushed to the disk (0.2 s each), and
# code is compiled quickly rather than well, for ten minutes. Hundreds of tables with a row each get no megabyte of heap each.
JVM_OPTIONS = "-Dcassandra.test.flush_local_schema_changes=false -XX:TieredStopAtLevel=1"
NODE_SETTINGS = {"memtable_allocation_type": "unslabbed_heap_buffers"}


def start_node(name, **options):
    """Start a node that is deleted when it stops; what it alone may do is said to no other's start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEASTRA_JVM_OPTIONS", JVM_OPTIONS)
        return local.start(name=name, progress=False, **options)


@contextmanager
def workspaces(**defaults):
    """Yield `fnb.connect` with defaults; all that it opened are closed at the end."""
    with ExitStack() as opened:
        yield lambda target=None, **options: opened.enter_context(fnb.connect(target, **{**defaults, **options}))
