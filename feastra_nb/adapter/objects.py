"""Reads what the online store needs from Feast's objects: a view's specification, a registry's identity, its plan."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from feast.infra.infra_object import InfraObject
from feast.protos.feast.core.InfraObject_pb2 import InfraObject as InfraObjectProto

from feastra_nb.connection.secrets import with_password
from feastra_nb.storage.catalog import ViewSpec

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.repo_config import RepoConfig
    from feast.value_type import ValueType


def spec_of(project: str, table: FeatureView, *, ttl_us: int | None) -> ViewSpec:
    """Return what the catalog must follow of a feature view that the store holds to a ttl."""
    keys = tuple((field.name, field.dtype.to_value_type().name) for field in getattr(table, "entity_columns", ()))
    types = {field.name: field.dtype.to_value_type().name for field in table.features}
    features = tuple((name, types[name]) for name in feature_names(table))
    return ViewSpec(project, table.name, features, keys, ttl_us)


def key_fields(view: Any) -> list[tuple[str, ValueType]]:
    """Return the join keys of a view and their types; of a view without entities Feast's constant key, whose value is ""."""
    from feast.feature_view import DUMMY_ENTITY_ID
    from feast.value_type import ValueType

    fields = [(str(field.name), field.dtype.to_value_type()) for field in view.entity_columns]
    return fields or [(DUMMY_ENTITY_ID, ValueType.STRING)]


def has_entities(view: Any) -> bool:
    """Tell whether a view has join keys of its own."""
    from feast.feature_view import DUMMY_ENTITY_ID

    return [name for name, _type in key_fields(view)] != [DUMMY_ENTITY_ID]


def with_constant_key(table: pa.Table, view: Any) -> pa.Table:
    """Return a view's rows with Feast's constant key where the view has no entities and the rows do not have it yet."""
    from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

    if has_entities(view) or DUMMY_ENTITY_ID in table.column_names:
        return table
    return table.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * table.num_rows, pa.string()))


def feature_names(table: FeatureView) -> list[str]:
    """Return the names of a view's features; stream views out of a registry list their join keys among them."""
    keys = {field.name for field in getattr(table, "entity_columns", ())}
    return [field.name for field in table.features if field.name not in keys]


def registry_identity(config: RepoConfig) -> str | None:
    """Return where the registry of a configuration lives, without credentials; None where it has none.

    Two registries that write the same tables would undo each other's changes, so the catalog remembers whose a view is.
    """
    registry = config.registry
    path = getattr(registry, "path", None)
    if not path:
        return None
    if "://" in path:
        return re.sub(r"//[^/@]*@", "//", with_password(path, ""))
    return str((Path(config.repo_path or ".") / path).absolute())


class FeastraTable(InfraObject):
    """One feature view's table, as ``feast plan`` lists it; `FeastraOnlineStore.update` is what makes and drops it."""

    def __init__(self, project: str, view: str) -> None:
        super().__init__(f"{project}/{view}")
        self.project = project
        self.view = view

    def to_infra_object_proto(self) -> InfraObjectProto:
        """Return the protobuf that the registry stores."""
        return InfraObjectProto(
            infra_object_class_type="feastra_nb.adapter.objects.FeastraTable",
            custom_infra=InfraObjectProto.CustomInfra(field=self.to_proto()),
        )

    def to_proto(self) -> bytes:
        """Return the bytes inside `to_infra_object_proto`."""
        return json.dumps([self.project, self.view]).encode()

    @staticmethod
    def from_infra_object_proto(infra_object_proto: InfraObjectProto) -> Any:
        """Return the table of a stored protobuf."""
        return FeastraTable(*json.loads(infra_object_proto.custom_infra.field))

    def update(self) -> None:
        """Do nothing: the online store's own update has made the table."""

    def teardown(self) -> None:
        """Do nothing: the online store's own update has dropped the table."""
