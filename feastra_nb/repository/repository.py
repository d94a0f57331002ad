"""The Feast side of a workspace: its RepoConfig, and the ordinary Feast repository that `ws.save` makes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.adapter.store_config import STORE_TYPE
from feastra_nb.connection.astra.access import TOKEN_USER, TOKEN_VARIABLE, access
from feastra_nb.connection.secrets import Secret, with_password
from feastra_nb.connection.targets import Astra, Hosts, Local
from feastra_nb.errors import CatalogConflict, ConfigurationError
from feastra_nb.folder_lock import locked
from feastra_nb.repository.definitions import FILE_NAME, definitions
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    from feastra_nb.connection.targets import Target
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.stores import Stores

ENGINE_TYPE = "feastra_nb.arrow_engine.ArrowComputeEngine"
# By its dotted path, as `feature_store.yaml` names it.
_SHARED_FILE = {"registry_store_type": "feastra_nb.registry_store.FeastraRegistryStore"}
PASSWORD_VARIABLE = "FEASTRA_PASSWORD"  # noqa: S105 - the name of a variable, not its value
REGISTRY_PASSWORD_VARIABLE = "FEASTRA_REGISTRY_PASSWORD"  # noqa: S105 - likewise, in a registry's URL


def online_store_options(target: Target, keyspace: str) -> dict[str, Any]:
    """Return the ``online_store`` block of a target; secrets stay wrapped."""
    if isinstance(target, Local):
        from feastra_nb.connection.local import start

        node = start(name=target.name, nodes=target.nodes, heap_mb=target.heap_mb)
        return {"hosts": list(node.hosts), "port": node.port, "create_keyspace": True}
    if isinstance(target, Astra):
        return _astra_options(target, keyspace)
    return _hosts_options(target)


def _only_read(target: Target) -> Target:
    return replace(target, create_keyspace=False, create_database=False) if isinstance(target, Astra) else target


def _astra_options(target: Astra, keyspace: str) -> dict[str, Any]:
    """Return how to reach a database: by the bundle that was given, or by id and region, for which one is in the cache."""
    opened = access(target, keyspace)
    login = {"username": opened.username, "password": opened.password, **_way(target)}
    if opened.database_id is None:
        return {"secure_bundle_path": str(opened.bundle), **login}
    astra = {"database": opened.database_id, "region": opened.region, "devops_url": opened.devops_url}
    return {"astra": {key: value for key, value in astra.items() if value is not None}, **login}


def _hosts_options(target: Hosts) -> dict[str, Any]:
    options: dict[str, Any] = {
        "hosts": list(target.hosts),
        "port": target.port,
        "username": target.username,
        "password": target.password,
        "ssl": target.ssl,
        "request_timeout": target.request_timeout_s,
        "replication": target.replication,
        "create_keyspace": target.create_keyspace,
    }
    if target.local_dc:
        options["load_balancing"] = {"local_dc": target.local_dc}
    options |= _way(target)
    return {name: value for name, value in options.items() if value is not None}


def _way(target: Hosts | Astra) -> dict[str, bool]:
    return {} if target.direct else {"direct": False}


def repo_config(
    target: Target,
    *,
    project: str,
    keyspace: str,
    directory: Path,
    registry: Any,
    consistency: str,
    offline: str | Mapping[str, Any],
    retain: str,
    read_only: bool = False,
    adopt_registry: bool = False,
) -> RepoConfig:
    """Return the Feast configuration of a workspace; a read-only one makes no keyspace."""
    from feast.repo_config import RegistryConfig, RepoConfig

    if registry is not None and not isinstance(registry, (str, os.PathLike, Mapping, RegistryConfig)):
        raise ConfigurationError(
            f"registry={registry!r} is not a registry", hint="a path, a URL, or a mapping with registry_type and path"
        )
    options = {
        "type": STORE_TYPE,
        "keyspace": keyspace,
        "retain": retain,
        "consistency": {"read": consistency, "write": consistency},
        **online_store_options(_only_read(target) if read_only else target, keyspace),
        **({"create_keyspace": False} if read_only else {}),
        **({"adopt_registry": True} if adopt_registry else {}),
    }
    with calling_feast("configuring Feast"):
        return RepoConfig(
            project=project,
            provider="local",
            registry=_registry(registry, directory),
            online_store=options,
            offline_store={"type": offline} if isinstance(offline, str) else dict(offline),
            batch_engine={"type": ENGINE_TYPE},
            entity_key_serialization_version=3,
            repo_path=directory,
        )


def _registry(registry: Any, directory: Path) -> Any:
    """Return the registry's configuration; a file on this machine gets a store that several processes may write to."""
    if registry is None:
        registry = directory / "registry.db"
    if isinstance(registry, os.PathLike):
        registry = os.fspath(registry)
    if isinstance(registry, str):
        return registry if "://" in registry else {"path": registry, **_SHARED_FILE}
    is_file = isinstance(registry, Mapping) and registry.get("registry_type", "file") == "file"
    return {**_SHARED_FILE, **registry} if is_file and "://" not in str(registry.get("path")) else registry


@contextmanager
def prepared_directory(directory: Path) -> Iterator[None]:
    """Make the workspace's folder, private to git by a .gitignore of its own; a folder that was not there goes again on failure.

    Raises
    ------
    ConfigurationError
        It cannot be made or written to.
    """
    was_there = directory.exists()
    _prepare(directory)
    try:
        yield
    except BaseException:
        if not was_there:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _prepare(directory: Path) -> None:
    try:
        (directory / "offline").mkdir(parents=True, exist_ok=True)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# Made by feastra_nb: registry and offline data of a notebook.\n*\n")
    except OSError as exc:
        raise ConfigurationError(
            f"cannot write to {directory}: {exc}", hint="pass directory= of a folder that is writable"
        ) from exc


# --- save ------------------------------------------------------------------------------------------------------------


def save(feature_store: FeatureStore, target: Target, path: Path) -> Path:
    """Write ``feature_store.yaml``, without secrets, and the registry of an ordinary Feast repository.

    The offline data stay where they are: the registered sources name their absolute paths.

    Parameters
    ----------
    path
        Folder to make; it must not hold a ``feature_store.yaml`` yet.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigurationError
        There is a repository already, or the folder cannot be written to.
    """
    import yaml

    path = path.absolute()
    if (path / "feature_store.yaml").exists():
        raise ConfigurationError(f"{path} holds a feature_store.yaml already", hint="choose another folder")
    config = feature_store.config
    with _writing(path):
        (path / "data").mkdir(parents=True, exist_ok=True)
        registry = _save_registry(feature_store, path)
        text = yaml.safe_dump(_yaml_of(config, target, registry), sort_keys=False)
        (path / "feature_store.yaml").write_text(_HEADER + text)
        (path / ".gitignore").write_text("__pycache__/\n.lock\n")
    return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigurationError(
            f"cannot write {path}: {exc}", hint="is the folder writable, and the disk not full?"
        ) from exc


_HEADER = f"""\
# Made by feastra_nb: an ordinary Feast repository. `feast apply`,
# `feast materialize-incremental`, `feast serve` and all else work here; they need
# `pip install feastra-nb`. Secrets are not in here: a password is read from
# ${PASSWORD_VARIABLE}, a token of Astra from ${TOKEN_VARIABLE},
# the password in a registry's URL from ${REGISTRY_PASSWORD_VARIABLE}.
"""


def _save_registry(feature_store: FeatureStore, path: Path) -> Any:
    """Copy a file registry, and its parquet files by their absolute paths; any other registry is shared as it is."""
    registry = feature_store.config.registry
    source = Path(feature_store.config.repo_path or ".") / registry.path
    if not source.is_file():
        shared = {key: _public_url(value) for key, value in registry.model_dump().items() if value is not None}
        return {**shared, **_SERVING}
    shutil.copyfile(source, path / "data" / "registry.db")
    return {"path": "data/registry.db", **_SHARED_FILE, **_SERVING}


# While a run writes, and after one that was killed, feature servers go on with what was written before.
_SERVING = {"serve_features_while_materializing": True}


def _yaml_of(config: RepoConfig, target: Target, registry: Any) -> dict[str, Any]:
    online = {**config.online_config} if hasattr(config, "online_config") else {}
    variable = (
        TOKEN_VARIABLE if isinstance(target, Astra) and online.get("username") == TOKEN_USER else PASSWORD_VARIABLE
    )
    online = {key: _public(key, value, variable) for key, value in online.items()}
    if isinstance(target, Local) and target.nodes == 1:
        # Ports of a local node are its own affair: the saved repository finds or starts it.
        for key in ("hosts", "port", "create_keyspace"):
            online.pop(key, None)
        online["local"] = True if target.name == Local().name else target.name
    offline = config.offline_config if hasattr(config, "offline_config") else {"type": "duckdb"}
    return {
        "project": config.project,
        "provider": "local",
        "registry": registry,
        "online_store": online,
        "offline_store": dict(offline),
        "batch_engine": {"type": ENGINE_TYPE},
        "entity_key_serialization_version": 3,
    }


def _public(key: str, value: Any, variable: str) -> Any:
    if isinstance(value, Secret) or key == "password":
        return f"${{{variable}}}"
    return os.fspath(value) if isinstance(value, Path) else value


def _public_url(value: Any) -> Any:
    return with_password(value, f"${{{REGISTRY_PASSWORD_VARIABLE}}}") if isinstance(value, str) else value


def save_workspace(stores: Stores, path: Path) -> Path:
    """Write a Feast repository of the workspace with its definitions, and let its registry share the tables."""
    if stores.target is None:
        raise ConfigurationError(f"this workspace is a Feast repository already: {stores.directory}")
    with locked(stores.directory):
        folder = save(stores.feast, stores.target, path)
        _save_definitions(stores.feast, folder)
    identity = str(folder / "data" / "registry.db")
    opened = stores.online
    for entry in opened.catalog.views(stores.project):
        opened.catalog.change(stores.project, entry.view, partial(_shared_with, identity))
    return folder


def _save_definitions(feature_store: FeatureStore, folder: Path) -> None:
    made = definitions(feature_store)
    with _writing(folder):
        (folder / FILE_NAME).write_text(made.text, "utf-8")
    if made.left_out:
        warn_user(
            f"{FILE_NAME} holds no definition of {', '.join(made.left_out)}: write it there before you run `feast apply`, "
            "which refuses until then"
        )


def _shared_with(registry: str, entry: ViewEntry | None) -> ViewEntry:
    if entry is None:
        raise CatalogConflict("the view was dropped while it was saved", hint="save again")
    return replace(entry, registries=tuple(dict.fromkeys((*entry.registries, registry))))
