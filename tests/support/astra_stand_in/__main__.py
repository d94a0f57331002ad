"""``python -m astra_stand_in`` in ``tests/support/``: Astra on this machine until Ctrl-C, for a notebook without an account."""

import os
import tempfile
import threading
from pathlib import Path

from astra_stand_in.database import KEYSPACE
from astra_stand_in.database import database as running
from astra_stand_in.devops import TOKEN, database, devops


def main() -> None:
    """Start it, say how to connect, and wait."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(f"astra-stand-in-{os.getpid()}", Path(folder)) as here,
        devops() as api,
    ):
        api.add(database(1, "features", keyspaces=(KEYSPACE, "models")))
        api.bundles["us-east1"] = here.bundle
        print(f"export ASTRA_DEVOPS_URL={api.url} ASTRA_DB_ID=features ASTRA_DB_KEYSPACE={KEYSPACE}")
        print(f"export ASTRA_DB_APPLICATION_TOKEN={TOKEN}")
        print("python -c 'import feastra_nb as fnb; print(fnb.connect(project=\"demo\").status())'")
        threading.Event().wait()


if __name__ == "__main__":
    main()
