"""Repositories whose online store is Feast's own, on the node of the tests."""

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cassandra.cluster import NoHostAvailable
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64, String
from feast.value_type import ValueType as Kind  # noqa: F401 - of the tests

FEATURES = {"trips": Int64, "rating": Float64, "city": String}


def block(node, keyspace, kind="cassandra"):
    """The ``online_store`` block of Feast's own store on a node."""
    return {
        "type": kind, "hosts": list(node.hosts), "port": node.port, "keyspace": keyspace,
        "username": node.username, "password": node.password.reveal(),
    }  # fmt: skip


def driver_view(
    folder, *, name="drivers", ttl=None, features=FEATURES, online=True, key="driver", kind=ValueType.INT64
):
    """A view of three features; its offline file need not be there."""
    entity = Entity(name=key, join_keys=[key], value_type=kind)
    source = FileSource(
        name=f"{name}_file", path=str(Path(folder) / f"{name}.parquet"), timestamp_field="event_timestamp"
    )
    schema = [Field(name=key, dtype={ValueType.INT64: Int64, ValueType.STRING: String}[kind])]
    schema += [Field(name=feature, dtype=dtype) for feature, dtype in features.items()]
    return [
        entity,
        FeatureView(name=name, entities=[entity], ttl=ttl or timedelta(0), schema=schema, source=source, online=online),
    ]


def feast_store(folder, online, project, objects, **options):
    """A Feast feature store with some objects applied."""
    config = {
        "project": project, "provider": "local", "registry": str(Path(folder) / "registry.db"), "repo_path": Path(folder),
        "offline_store": {"type": "duckdb"}, "entity_key_serialization_version": 3, **options,
    }  # fmt: skip
    store = FeatureStore(config=RepoConfig(online_store=online, **config))
    patiently(lambda: store.apply(objects))
    return store


def patiently(work):
    """Do what Feast's own store connects for: its driver bears two seconds for the schema, of a node with hundreds of tables."""
    for _ in range(4):
        with suppress(NoHostAvailable):
            return work()
    return work()


def value(content):
    """Feast's protobuf of a Python value."""
    if content is None:
        return Value()
    return Value(**{{int: "int64_val", float: "double_val", str: "string_val"}[type(content)]: content})


def entity_key(number, name="driver"):
    return EntityKey(join_keys=[name], entity_values=[value(number)])


def write(store, view, rows):
    """Let Feast's own store write ``{key: (event, {feature: value})}``, or a list of such pairs."""
    rows = rows.items() if isinstance(rows, dict) else rows
    data = [
        (
            entity_key(number, _key_of(store, view)),
            {name: value(content) for name, content in features.items()},
            event,
            None,
        )
        for number, (event, features) in rows
    ]
    table = store.get_feature_view(view)
    store._get_provider().online_store.online_write_batch(store.config, table, data, None)


def _key_of(store, view):
    return store.get_feature_view(view).entity_columns[0].name


def serve(store, view, keys, features=FEATURES):
    """What `get_online_features` answers, by key."""
    name = _key_of(store, view)
    answer = store.get_online_features([f"{view}:{feature}" for feature in features], [{name: key} for key in keys])
    columns = answer.to_dict()
    return {key: tuple(columns[feature][row] for feature in features) for row, key in enumerate(keys)}


def old_key(number, name="driver"):
    """The hex of a key in version 2, as Feast before 0.50 wrote it."""
    return serialize_entity_key(entity_key(number, name), 2).hex()


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)
