"""Feast's file registry, safe among processes: replaced as a whole, under a lock, with what others wrote meanwhile.

Feast's own store rewrites the file in place: a reader beside it finds half a file, a full disk leaves nothing, and of two
writers the later one undoes the earlier. In ``feature_store.yaml``::

    registry:
      path: data/registry.db
      registry_store_type: feastra_nb.registry_store.FeastraRegistryStore
"""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry

from feastra_nb.adapter.registry_merge import merged
from feastra_nb.errors import ConfigurationError
from feastra_nb.folder_lock import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from feast.repo_config import RegistryConfig

# States of the file that are kept to compare with: Feast holds one copy, and a thread may be reading another.
_KEPT = 8


class FeastraRegistryStore(FileRegistryStore):
    """A registry in a file that several processes may change at a time.

    Writers take turns by the folder's lock. Each puts what it has changed onto what is stored by then; where both changed the
    same object in different ways, the later one is refused.
    """

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        super().__init__(registry_config, repo_path)
        self._path = Path(os.path.realpath(self._filepath))  # what a link leads to is replaced, not the link
        self._filepath: Any = _Watched(self)  # Feast's registry looks at this for changes
        self._states: dict[str, bytes] = {"": b""}
        self._latest = Registry()
        self.read_state: tuple[int, ...] = ()  # of the file that was read or written last

    def get_registry_proto(self) -> Registry:
        """Return the registry as it is stored.

        Raises
        ------
        FileNotFoundError
            There is none yet, which Feast expects.
        """
        stored = self._stored()
        if stored is None:
            raise FileNotFoundError(f"there is no registry {self._path}")
        registry = Registry.FromString(stored)
        self._keep(registry, stored)
        return registry

    def update_registry_proto(self, registry_proto: Registry) -> None:
        """Store what was changed in a registry, and bring into it what others have stored meanwhile.

        What cannot be stored is taken back in memory too, so that both are the same again.

        Raises
        ------
        CatalogConflict
            Another process changed the same object in another way.
        ConfigurationError
            The folder cannot be written to, or the disk is full; the file is as it was.
        """
        with locked(self._path.parent):
            stored = self._stored()
            try:
                self._write(registry_proto, stored)
            except BaseException:
                registry_proto.ParseFromString(stored or b"")
                registry_proto.version_id = str(uuid.uuid4())  # Feast's caches know the state taken back by the old one
                self._keep(registry_proto, stored or b"")
                raise

    def _write(self, registry: Registry, stored: bytes | None) -> None:
        base = self._states.get(registry.version_id, b"")
        if stored is not None and stored != base:
            registry.CopyFrom(merged(Registry.FromString(base), registry, Registry.FromString(stored)))
        _forget_old_intervals(registry)
        registry.version_id = str(uuid.uuid4())
        registry.last_updated.GetCurrentTime()
        fresh = registry.SerializeToString()
        _replace(self._path, fresh)
        self.read_state = _state_of(self._path.stat())
        self._keep(registry, fresh)

    def teardown(self) -> None:
        """Delete the file."""
        with locked(self._path.parent):
            self._path.unlink(missing_ok=True)

    def is_changing(self) -> bool:
        """Whether Feast's copy holds changes that are not stored yet."""
        base = Registry.FromString(self._states.get(self._latest.version_id, b""))
        base.version_id = self._latest.version_id
        return self._latest != base

    def _stored(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                self.read_state = _state_of(os.fstat(file.fileno()))
                return file.read()
        except FileNotFoundError:
            return None

    def _keep(self, registry: Registry, stored: bytes) -> None:
        self._latest = registry
        self._states.pop(registry.version_id, None)
        self._states[registry.version_id] = stored
        while len(self._states) > _KEPT:
            del self._states[next(key for key in self._states if key)]


# Each small write adds an interval to its view, and every listing of views parses them all: 0.1 s with ten thousand.
MOST_INTERVALS, KEPT_INTERVALS = 200, 100


def _forget_old_intervals(registry: Registry) -> None:
    """Keep the newest of very many materialized intervals: Feast asks for the latest end only, and our journal has them all."""
    for view in (*registry.feature_views, *registry.stream_feature_views):
        intervals = view.meta.materialization_intervals
        if len(intervals) > MOST_INTERVALS:
            kept = sorted(intervals, key=lambda each: each.end_time.ToNanoseconds())[-KEPT_INTERVALS:]
            del intervals[:]
            intervals.extend(kept)


class _Watched:
    """What Feast's registry asks whether the file was changed, before it uses its copy.

    It says no while that copy is being changed: Feast would drop the half-made change for what another process has stored.
    The writing brings both together.
    """

    def __init__(self, store: FeastraRegistryStore) -> None:
        self._store = store
        self._changes = 0

    def exists(self) -> bool:
        return self._store._path.exists()  # noqa: SLF001 - one thing in two classes, as Feast has it

    def stat(self) -> SimpleNamespace:
        """Return a number that grows while the file is not the one that was read; its time cannot tell two quick changes apart."""
        state = _state_of(self._store._path.stat())  # noqa: SLF001
        if state != self._store.read_state and not self._store.is_changing():
            self._changes += 1
        return SimpleNamespace(st_mtime=self._changes)

    def __str__(self) -> str:
        return str(self._store._path)  # noqa: SLF001


def _state_of(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def _replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another, so that whoever reads gets either, whole."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                if path.exists():
                    os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigurationError(
            f"cannot write the registry {path}: {exc}",
            hint="is the disk full, or the folder read-only? The registry is as it was.",
        ) from exc
