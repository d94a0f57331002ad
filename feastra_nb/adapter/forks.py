"""Makes Feast's registry usable in a forked child, where a lock that another thread held would never be freed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.adapter.feast_private import renew_registry_lock
from feastra_nb.connection.forks import renew_in_child

if TYPE_CHECKING:
    from feast import FeatureStore


class ForkedRegistry:
    """Gives a store's registry, in each forked child, a lock that nobody holds.

    Parameters
    ----------
    store
        The Feast feature store; its registry is looked at when the process forks.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        renew_in_child(self)

    def after_fork(self) -> None:
        """Replace the lock: a child has none of the threads that could hold it."""
        renew_registry_lock(self._store)
