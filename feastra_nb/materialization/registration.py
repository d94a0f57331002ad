"""Registers a frame's entity and feature view in Feast: checked first, then written."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_calls import calling_feast
from feastra_nb.adapter.feast_private import with_registry_of_its_own
from feastra_nb.adapter.objects import registry_identity, spec_of
from feastra_nb.connection.cluster import READ, quoted
from feastra_nb.errors import CatalogConflict, ConfigurationError, InvalidFrame, UnknownName, close_names
from feastra_nb.folder_lock import locked
from feastra_nb.materialization import offline_file
from feastra_nb.materialization.frames import CREATED, Columns, feast_type_name, refused_name
from feastra_nb.storage.retention import Retention
from feastra_nb.times import duration
from feastra_nb.user_warnings import warn_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    import pyarrow as pa
    from feast import Entity, FeatureStore, FeatureView
    from feast.value_type import ValueType

    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.stores import Stores


@dataclass(frozen=True, slots=True)
class FrameSpec:
    """What a caller of ``ws.materialize(df, …)`` says of the frame; the names are those of its parameters."""

    view: str
    keys: Sequence[str] | None
    timestamp: str
    created: str | None
    ttl: timedelta | None
    retain: str | None
    description: str
    tags: Mapping[str, str] | None
    owner: str

    @classmethod
    def of(cls, *, view: Any, ttl: Any, retain: Any, keys: Any, **rest: Any) -> FrameSpec:
        """Return what was said, read and judged by itself.

        Raises
        ------
        ConfigurationError
            A name, duration or text is not one.
        """
        if not view or not isinstance(view, str):
            raise ConfigurationError(
                "the feature view has no name", hint='ws.materialize(df, "plane_stats", keys=["tailnum"])'
            )
        reason = refused_name(view) or ("has an '@', which begins a version in Feast" if "@" in view else None)
        if reason:
            raise ConfigurationError(f"view name {view!r} {reason}", hint="choose another name")
        for name in ("description", "owner", "timestamp"):
            _refuse_unless_text(rest[name], name)
        if rest["created"] is not None:
            _refuse_unless_text(rest["created"], "created")
        tags = rest.pop("tags")
        if tags is not None:
            for key, value in _items(tags):
                _refuse_unless_text(key, "a key of tags")
                _refuse_unless_text(value, f"tags[{key!r}]")
        return cls(
            view=view,
            keys=_names_of(keys),
            ttl=None if ttl is None else duration(ttl, "ttl"),
            retain=None if retain is None else Retention.of(retain).text,
            tags=tags,
            **rest,
        )


def _items(tags: Any) -> Any:
    try:
        return dict(tags).items()
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"tags={tags!r} are not a dict", hint='tags={"team": "pricing"}') from exc


def _names_of(keys: Any) -> list[str] | None:
    if keys is None or isinstance(keys, str):
        return keys if keys is None else [keys]
    names = list(keys) if hasattr(keys, "__iter__") else [keys]
    for name in names:
        _refuse_unless_text(name, "a name in keys")
    if len(set(names)) != len(names):
        raise ConfigurationError(f"keys={names} names a column twice", hint="name each join key once")
    return names


def _refuse_unless_text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{name} is a {type(value).__name__}, not a text", hint=f"pass a string, not {value!r}"
        )
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ConfigurationError(f"{name}={value!r} is not valid Unicode", hint="leave the lone surrogate out") from exc


# --- judging ---------------------------------------------------------------------------------------------------------


def known_view(stores: Stores, spec: FrameSpec) -> FeatureView | None:
    """Return the registered view that a frame is added to; None for a new one.

    Raises
    ------
    ConfigurationError
        The name belongs to another kind of view, or the keys are missing or not the view's.
    """
    same = {view.name: view for view in stores.feast.list_all_feature_views() if view.name.lower() == spec.view.lower()}
    known = {view.name: view for view in stores.feast.list_feature_views()}.get(spec.view)
    if same and known is None:
        name, other = next(iter(same.items()))
        raise ConfigurationError(
            f"there is a {type(other).__name__} {name!r} already, so that no view can be {spec.view!r}",
            hint="choose another name; names that differ only in case are one name in Feast",
        )
    if known is not None:
        _refuse_foreign_columns(known, spec)
    elif spec.keys is None:
        raise ConfigurationError(
            f"view {spec.view!r} is new, so its join keys are needed",
            hint='keys=["tailnum"]: the columns that name an entity; keys=[] for features of no entity',
        )
    return known


def _refuse_foreign_columns(known: FeatureView, spec: FrameSpec) -> None:
    stored = [field.name for field in known.entity_columns]
    if spec.keys is not None and sorted(spec.keys) != sorted(stored):
        raise ConfigurationError(
            f"view {spec.view!r} has the join keys {', '.join(stored)}, not {', '.join(spec.keys)}",
            hint="ws.drop the view first, or choose another name",
        )
    if not known.online:
        raise ConfigurationError(
            f"view {spec.view!r} is not served online (online=False)",
            hint="set online=True in its definition and apply it",
        )
    source = known.batch_source
    made = source.created_timestamp_column
    if spec.created is not None and spec.created != made:
        raise ConfigurationError(
            f"view {spec.view!r} has the created column {made or 'none'}, not {spec.created}",
            hint="leave created= out, or ws.drop the view to begin anew",
        )
    if dict(source.field_mapping or {}):
        raise ConfigurationError(
            f"the source of view {spec.view!r} renames columns, so a DataFrame cannot be added to it",
            hint=f"add the rows to the source, then ws.materialize({spec.view!r})",
        )


@dataclass(frozen=True, slots=True, eq=False)
class KnownKeys:
    """What is known of join keys before a frame's own columns are asked.

    Parameters
    ----------
    types
        By join key: the view's own types, or those of the entities that other views share.
    entities
        By join key: the registered entity.
    """

    types: Mapping[str, ValueType]
    entities: Mapping[str, Entity]


def known_keys(stores: Stores, keys: Sequence[str], known: FeatureView | None) -> KnownKeys:
    """Return what the registry says of join keys."""
    from feast.value_type import ValueType

    registered = {entity.join_key: entity for entity in reversed(stores.feast.list_entities())}
    entities = {key: registered[key] for key in keys if key in registered}
    if known is not None:
        return KnownKeys({field.name: field.dtype.to_value_type() for field in known.entity_columns}, entities)
    types = {key: entity.value_type for key, entity in entities.items()}
    return KnownKeys({key: kind for key, kind in types.items() if kind is not ValueType.UNKNOWN}, entities)


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """What is to be registered of a frame.

    Parameters
    ----------
    known
        The view as it is registered; None for a new one.
    view, entities
        What it is to be.
    retain
        How much history it is to keep; None as before.
    entry
        What the online store's catalog knows of it.
    """

    known: FeatureView | None
    view: FeatureView
    entities: Sequence[Entity]
    retain: str | None
    entry: ViewEntry | None


def judge(
    stores: Stores,
    spec: FrameSpec,
    known: FeatureView | None,
    keys: KnownKeys,
    table: pa.Table,
    roles: Columns,
    path: Path,
) -> Registration:
    """Return what is to be registered of a frame; nothing is written.

    Raises
    ------
    CatalogConflict
        The online store holds the view with other keys, or for another registry.
    """
    from feast.feature_view import DUMMY_ENTITY_ID

    view, entities = _feast_objects(spec, known, keys, table, roles, path)
    config = stores.feast.config
    ttl_us = stores.online.served_ttl_us(view)
    wanted = spec_of(config.project, view, ttl_us=ttl_us)
    # Feast knows the keys among a view's fields only once it has applied it.
    inferred = {key: feast_dtype(table.schema.field(key).type).to_value_type() for key in roles.keys}
    join_keys = tuple((key, keys.types.get(key, inferred[key]).name) for key in roles.keys)
    wanted = replace(wanted, join_keys=join_keys or ((DUMMY_ENTITY_ID, "STRING"),))
    catalog = stores.online.catalog
    entry = catalog.check(wanted, registry=registry_identity(config), adopt=config.online_store.adopt_registry)
    return Registration(known, view, entities, spec.retain, entry)


def _feast_objects(
    spec: FrameSpec, known: FeatureView | None, keys: KnownKeys, table: pa.Table, roles: Columns, path: Path
) -> tuple[FeatureView, list[Entity]]:
    from feast import Entity, FeatureView, Field, FileSource
    from feast.data_format import ParquetFormat

    # The registered entity of a join key, so that views share it, or a new one.
    entities = [
        keys.entities.get(key)
        or Entity(name=key, join_keys=[key], value_type=feast_dtype(table.schema.field(key).type).to_value_type())
        for key in roles.keys
    ]
    fields = [
        Field(name=name, dtype=feast_dtype(table.schema.field(name).type)) for name in (*roles.keys, *roles.features)
    ]
    source = known.batch_source if known is not None else None
    if source is None:
        source = FileSource(
            name=source_name(spec.view),
            path=str(path),
            timestamp_field=roles.timestamp,
            created_timestamp_column=roles.created or CREATED,
            file_format=ParquetFormat(),
        )
    view = FeatureView(
        name=spec.view,
        entities=entities,
        schema=_keep_types(fields, known, table, path),
        source=source,
        ttl=_ttl(spec, known),
        description=spec.description or (known.description if known else ""),
        tags=dict(spec.tags) if spec.tags is not None else dict(known.tags) if known else {},
        owner=spec.owner or (known.owner if known else ""),
    )
    return view, entities


def source_name(view: str) -> str:
    """Return the name of the data source that a view made from frames has."""
    return f"{view} parquet"


def feast_dtype(kind: pa.DataType) -> Any:
    """Return the type in `feast.types` of a storable Arrow type."""
    import feast.types

    name = feast_type_name(kind) or "String"
    if name.startswith("Array("):
        return feast.types.Array(getattr(feast.types, name[len("Array(") : -1]))
    return getattr(feast.types, name)


def _keep_types(fields: list[Any], known: FeatureView | None, table: pa.Table, path: Path) -> list[Any]:
    """Return the fields with the registered type of each known name, but for features that have held nulls only until now."""
    if known is None:
        return fields
    registered = {field.name: field for field in known.schema}

    def kept(field: Any) -> bool:
        return field.name in registered and not _is_retyped(field.name, registered, table, path)

    return [registered[field.name] if kept(field) else field for field in fields]


def _is_retyped(name: str, registered: Mapping[str, Any], table: pa.Table, path: Path) -> bool:
    from feastra_nb.codec.columns import ready

    try:
        ready(table.column(name), registered[name].dtype.to_value_type(), name)
    except InvalidFrame:
        if offline_file.only_nulls(path, name):
            return True
        raise
    return False


def _ttl(spec: FrameSpec, known: FeatureView | None) -> timedelta:
    if spec.ttl is None:
        return (known.ttl if known is not None else None) or timedelta(0)
    return spec.ttl


# --- writing ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def changing_registry(stores: Stores) -> Iterator[FeatureStore]:
    """Yield a feature store to change the registry with, while no other process or thread changes it from here.

    Its copy of a registry file is its own and read anew: another thread that reads through the workspace would otherwise see
    half of a change, or drop it by reading the file again. A registry of another kind is the workspace's.
    """
    with locked(stores.directory):
        changing = stores.feast
        if hasattr(changing.registry, "cached_registry_proto"):
            changing = with_registry_of_its_own(changing)
        try:
            yield changing
        finally:
            stores.feast.refresh_registry()


def register(stores: Stores, wanted: Registration) -> FeatureView:
    """Apply entity and view to Feast where they are new or changed, and return the view as it is registered.

    What fails leaves the registry as it was.
    """
    known, view = wanted.known, wanted.view
    if known is None or _changed(known, view) or not _in_catalog(stores, view):
        _warn_of_former_life(stores, wanted)
        before = {entity.name for entity in stores.feast.list_entities()}
        try:
            with changing_registry(stores) as feast, calling_feast(f"registering view {view.name}"):
                feast.apply([*wanted.entities, view])
        except BaseException:
            _take_back(stores, wanted, before)
            raise
    if wanted.retain is not None:
        set_retention(stores, view.name, wanted.retain)
    return stores.view(view.name)


def set_retention(stores: Stores, view: str, retain: Any) -> None:
    """Set how much history a view keeps from now on.

    Raises
    ------
    ConfigurationError
        The retention cannot be read.
    UnknownName
        There is no view of that name.
    """
    kept = Retention.of(retain).text
    opened = stores.online
    entry = opened.entry(stores.view(view), reload=True)
    opened.catalog.change(stores.project, view, lambda old: replace(old or entry, retain=kept))
    opened.forget(view)


def _take_back(stores: Stores, wanted: Registration, entities: set[str]) -> None:
    """Undo what a failed apply has left: in memory for a registry file, in the database for a shared registry."""
    with contextlib.suppress(Exception), changing_registry(stores) as feast:
        registry, name = feast.registry, wanted.view.name
        if wanted.known is not None:
            if stores.view(name) != wanted.known:
                registry.apply_feature_view(wanted.known, stores.project)
            return
        if name in {view.name for view in stores.feast.list_feature_views()}:
            registry.delete_feature_view(name, stores.project)
            registry.delete_data_source(source_name(name), stores.project)
        for entity in stores.feast.list_entities():
            if entity.name not in entities:
                registry.delete_entity(entity.name, stores.project)


def _warn_of_former_life(stores: Stores, wanted: Registration) -> None:
    """Say that a view which is new to the registry takes up a table with rows: they are served beside the new ones."""
    entry = wanted.entry
    if wanted.known is not None or entry is None:
        return
    db = stores.online.db
    one_key = f"SELECT entity_key FROM {quoted(db.keyspace)}.{quoted(entry.table)} LIMIT 1"
    if not db.table_exists(entry.table) or db.execute(one_key, profile=READ).one() is None:
        return
    name = entry.view
    warn_user(
        f"view {name!r} is new in this folder, but keyspace {stores.keyspace!r} holds rows of it from before: they are served "
        f"too, and training does not see them. ws.drop({name!r}) before this call begins anew"
    )


def _changed(known: FeatureView, view: FeatureView) -> bool:
    return (
        {field.name: field.dtype for field in known.schema} != {field.name: field.dtype for field in view.schema}
        or (known.ttl or timedelta(0)) != (view.ttl or timedelta(0))
        or (known.description, known.tags, known.owner) != (view.description, view.tags, view.owner)
    )


def _in_catalog(stores: Stores, view: FeatureView) -> bool:
    """Tell whether the online store knows the view: a purged node or a fresh keyspace does not."""
    opened = stores.online
    entry = opened.catalog.load(stores.project, view.name)
    return entry is not None and opened.db.table_exists(entry.table)


def note_interval(stores: Stores, view: FeatureView, interval: tuple[datetime, datetime]) -> None:
    """Note the materialized interval in Feast's registry, where Feast's own incremental run looks for it."""
    with changing_registry(stores) as feast, calling_feast(f"noting what was materialized of view {view.name}"):
        feast.registry.apply_materialization(view, stores.project, *interval)


# --- dropping --------------------------------------------------------------------------------------------------------


def drop(stores: Stores, name: str) -> None:
    """Drop a view from wherever it is known: the registry, the online store, the parquet that was made for it here.

    Raises
    ------
    UnknownName
        Nothing knows a view of that name.
    CatalogConflict
        Only the online store knows it, for another registry.
    """
    with changing_registry(stores) as feast:
        registered = {view.name: view for view in feast.list_all_feature_views()}
        opened = stores.online
        stored = {entry.view: entry for entry in opened.catalog.views(stores.project)}
        path = offline_file.path_of(stores.directory, name)
        if name not in registered and name not in stored and not path.exists():
            raise UnknownName(f"there is no feature view {name!r}", hint=close_names(name, {*registered, *stored}))
        if name in registered:
            with calling_feast(f"dropping view {name}"):
                feast.apply([], objects_to_delete=_objects_of(stores, registered[name]), partial=False)
        elif name in stored:
            _refuse_foreign(stored[name], registry_identity(stores.feast.config))
        if name in stored:
            opened.catalog.drop(stores.project, name)
            opened.forget(name)
        path.unlink(missing_ok=True)


def _refuse_foreign(entry: ViewEntry, registry: str | None) -> None:
    if registry is not None and entry.registries and registry not in entry.registries:
        raise CatalogConflict(
            f"view {entry.view!r} of project {entry.project!r} belongs to another Feast registry: {', '.join(entry.registries)}",
            hint="drop it from there, or take it over first with fnb.connect(…, adopt_registry=True)",
        )


def _objects_of(stores: Stores, view: Any) -> list[Any]:
    """Return a view and what was registered for it alone: a later view may give the same key another type."""
    if stores.target is None:
        return [view]  # a repository's own definitions say what else there is
    others = [other for other in stores.feast.list_all_feature_views() if other.name != view.name]
    used = {name for other in others for name in getattr(other, "entities", ())}
    unused = [
        entity
        for entity in stores.feast.list_entities()
        if entity.name in getattr(view, "entities", ()) and entity.name not in used
    ]
    sources = [source for source in stores.feast.list_data_sources() if source.name == source_name(view.name)]
    return [view, *unused, *sources]
