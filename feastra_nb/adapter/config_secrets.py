"""Keeps the secrets of a configuration out of what Feast shows of it: of its ``online_store`` and of its registry's URL.

Feast's `RepoConfig` holds on to the raw mapping of the yaml beside the configuration made from it, and ``repr`` of a
`FeatureStore` prints both. A `Secret` in our own class alone would therefore hide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feast.repo_config import RegistryConfig

from feastra_nb.adapter.feast_private import hide_in_configuration
from feastra_nb.connection.secrets import Secret, secret_url

SECRET_KEYS = frozenset({"password", "token", "client_secret"})


def hidden(block: Any) -> Any:
    """Return a copy of a configuration block whose secrets are wrapped; anything that is not a mapping as it is.

    Examples
    --------
    >>> hidden({"username": "me", "password": "swordfish", "astra": {"token": "AstraCS:x"}})
    {'username': 'me', 'password': '***', 'astra': {'token': '***'}}
    """
    if not isinstance(block, Mapping):
        return block
    return {
        key: Secret(str(value) if not isinstance(value, str) else value)
        if key in SECRET_KEYS and value is not None
        else hidden(value)
        for key, value in block.items()
    }


def hidden_registry(registry: Any) -> Any:
    """Return a copy of a registry's configuration whose URLs show no password: a URL, a mapping, or Feast's object.

    Examples
    --------
    >>> hidden_registry({"registry_type": "sql", "path": "mysql://me:swordfish@db/feast"})
    {'registry_type': 'sql', 'path': 'mysql://me:***@db/feast'}
    """
    if isinstance(registry, Mapping):
        return {key: secret_url(value) for key, value in registry.items()}
    if isinstance(registry, RegistryConfig):
        return registry.model_copy(update={name: secret_url(value) for name, value in registry})
    return secret_url(registry)


def hide_in_repo_config(store_type: str) -> None:
    """Make every `RepoConfig` of an online store's type hold what it was made from with wrapped secrets."""

    def is_ours(block: Any) -> bool:
        return isinstance(block, Mapping) and block.get("type") == store_type

    hide_in_configuration(is_ours, hidden, hidden_registry)
