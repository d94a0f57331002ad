"""Keeps the secrets of an ``online_store`` block out of what Feast shows of its configuration.

Feast's `RepoConfig` holds on to the raw mapping of the yaml beside the configuration made from it, and ``repr`` of a
`FeatureStore` prints both. A `Secret` in our own class alone would therefore hide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feast.repo_config import RepoConfig

from feastra_nb.connection.secrets import Secret

SECRET_KEYS = frozenset({"password", "token", "client_secret"})


def hidden(block: Any) -> Any:
    """Return a copy of a configuration block whose secrets are wrapped; anything that is no mapping as it is.

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


def hide_in_repo_config(store_type: str) -> None:
    """Make every `RepoConfig` of an online store's type hold its raw ``online_store`` block with wrapped secrets.

    Feast has no hook between reading the yaml and keeping the mapping, hence the wrapped ``__setattr__``. Feast imports the
    store's module while it validates, before it sets the attribute, so that even the first configuration is caught.
    """
    plain = RepoConfig.__setattr__

    def guarded(self: RepoConfig, name: str, value: Any) -> None:
        if name == "online_config" and isinstance(value, Mapping) and value.get("type") == store_type:
            value = hidden(value)
        plain(self, name, value)

    RepoConfig.__setattr__ = guarded
