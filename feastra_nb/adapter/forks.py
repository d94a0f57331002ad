"""Feast in a forked child: its registry's lock, which another thread may hold at that moment, and nobody frees there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast import FeatureStore


def renew_registry_lock(store: FeatureStore) -> None:
    """Give the registry a lock that nobody holds; for a forked child, which has none of the threads that could hold it."""
    if hasattr(store.registry, "_refresh_lock"):
        store.registry._refresh_lock = threading.Lock()  # noqa: SLF001 - Feast has no way to fork
