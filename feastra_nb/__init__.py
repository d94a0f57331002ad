"""A Feast feature store on Apache Cassandra or Astra DB, from a notebook.

>>> import feastra_nb as fnb
>>> ws = fnb.connect()  # doctest: +SKIP
>>> ws.materialize(df, "plane_stats", keys=["tailnum"])  # doctest: +SKIP
>>> ws.online("plane_stats:mean_delay", {"tailnum": ["N14228"]})  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feastra_nb.connection.targets import Astra, Hosts, Local
    from feastra_nb.errors import FeastraError
    from feastra_nb.notebook.magics import load_ipython_extension, unload_ipython_extension
    from feastra_nb.notebook.widgets import connect_form
    from feastra_nb.workspace import Workspace, connect

__version__ = "0.1.0"

__all__ = [
    "Astra",
    "FeastraError",
    "Hosts",
    "Local",
    "Workspace",
    "connect",
    "connect_form",
    "load_ipython_extension",
    "unload_ipython_extension",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

# Each public name is loaded from its module on first use: `import feastra_nb` itself stays light.
_HOMES = {
    "Astra": "connection.targets",
    "FeastraError": "errors",
    "Hosts": "connection.targets",
    "Local": "connection.targets",
    "Workspace": "workspace",
    "connect": "workspace",
    "connect_form": "notebook.widgets",
    "load_ipython_extension": "notebook.magics",
    "unload_ipython_extension": "notebook.magics",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
