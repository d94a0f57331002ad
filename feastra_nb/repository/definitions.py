"""The registry in Python: the file of definitions that `ws.save` writes, so that ``feast apply`` finds what is registered.

``feast apply`` deletes what is in the registry and in no Python file of the repository, online tables included: a repository
without this file would lose everything to its first ``feast apply``.
"""

from __future__ import annotations

import ast
import inspect
import json
import keyword
import re
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from textwrap import indent
from typing import TYPE_CHECKING, Any

from feastra_nb.adapter.feast_calls import calling_feast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource
    from feast.feature_view_projection import FeatureViewProjection

FILE_NAME = "feature_definitions.py"
LINE_WIDTH = 100  # what is longer stands on several lines

_HEAD = """\
# Made by feastra_nb: what was registered when this repository was saved. Change it here, then run `feast apply`,
# which deletes, online too, what is registered and no longer written here.
"""
_TYPES = (
    "Array", "Bool", "Bytes", "Decimal", "Float32", "Float64", "ImageBytes", "Int32", "Int64", "Json", "Map", "PdfBytes",
    "ScalarMap", "Set", "String", "Struct", "TimeUuid", "UnixTimestamp", "Uuid", "ZonedTimestamp",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Definitions:
    """The registry in Python.

    Parameters
    ----------
    text
        The file.
    left_out
        What is registered and could not be written, in words. The file raises then, so that no ``feast apply`` deletes it.
    """

    text: str
    left_out: tuple[str, ...]


def definitions(feature_store: FeatureStore) -> Definitions:
    """Return what is registered as Python that makes the same: entities, file and push sources, feature views and services.

    Each statement is run, and what it makes compared with what is registered; what differs is left out.
    """
    script = _Script()
    with calling_feast("reading the registry"):
        for kind, registered in _registered(feature_store):
            script.add(kind, registered)
    text = "\n\n".join([*script.statements, *_refusal(script.left_out)])
    return Definitions(f"{_HEAD}{_imports(text)}\n\n{text}\n", tuple(script.left_out))


def _registered(feature_store: FeatureStore) -> Iterator[tuple[str, Any]]:
    """Yield all that ``feast apply`` may delete, what others are made of first."""
    from feast import PushSource
    from feast.feature_view import DUMMY_ENTITY_NAME

    yield from (("entity", each) for each in feature_store.list_entities() if each.name != DUMMY_ENTITY_NAME)
    sources = sorted(feature_store.list_data_sources(), key=lambda source: isinstance(source, PushSource))
    yield from (("data source", each) for each in sources)
    yield from (("feature view", each) for each in feature_store.list_feature_views())
    yield from (("on-demand feature view", each) for each in feature_store.list_on_demand_feature_views())
    yield from (("stream feature view", each) for each in feature_store.list_stream_feature_views())
    yield from (("label view", each) for each in feature_store.list_label_views())
    yield from (("feature service", each) for each in feature_store.list_feature_services())
    yield from (("permission", each) for each in feature_store.list_permissions())


def _refusal(left_out: Sequence[str]) -> list[str]:
    if not left_out:
        return []
    message = (
        f"{', '.join(left_out)}: registered, but not written here. Define it here and delete this line; "
        "without it `feast apply` would delete what is not here"
    )
    return [f"raise NotImplementedError({_code(message)})"]


def _imports(text: str) -> str:
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    modules: dict[str, list[str]] = {}
    for name, (module, _object) in sorted(_vocabulary().items()):
        if name in used:
            modules.setdefault(module, []).append(name)
    lines = {module: f"from {module} import {', '.join(names)}" for module, names in sorted(modules.items())}
    standard = [lines.pop("datetime") + "\n"] if "datetime" in lines else []
    return "\n".join([*standard, *lines.values()])


@cache
def _vocabulary() -> Mapping[str, tuple[str, Any]]:
    """Return what the statements are written with: by name the module that has it, and itself."""
    import feast
    from feast import types
    from feast.data_format import ParquetFormat

    made_of = ("Entity", "FeatureService", "FeatureView", "Field", "FileSource", "PushSource", "ValueType")
    return {
        "timedelta": ("datetime", timedelta),
        "ParquetFormat": ("feast.data_format", ParquetFormat),
        **{name: ("feast", getattr(feast, name)) for name in made_of},
        **{name: ("feast.types", getattr(types, name)) for name in _TYPES},
    }


@dataclass(slots=True)
class _Script:
    """Statements that were run, and by name what they made."""

    statements: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    variables: dict[tuple[type, str], str] = field(default_factory=dict)
    namespace: dict[str, Any] = field(
        default_factory=lambda: {name: made for name, (_module, made) in _vocabulary().items()}
    )

    def add(self, kind: str, registered: Any) -> None:
        """Write the statement that makes an object; leave the object out where there is none, or it makes another."""
        name = self._free_name(registered.name, kind)
        try:
            statement = f"{name} = {_WRITERS[type(registered).__name__](registered, self)}"
            made = dict(self.namespace)
            exec(statement, made)  # noqa: S102 - text of our own: checked names, and literals
            same = _declared(made[name]) == _declared(registered)
        except Exception:  # noqa: BLE001 - whatever Feast raises: the object is named, and not lost
            same = False
        if not same:
            self.left_out.append(f"{kind} {registered.name!r}")
            return
        self.statements.append(statement)
        self.namespace[name] = made[name]
        self.variables[type(registered), registered.name] = name

    def variable(self, kind: type, name: str) -> _Code:
        """Return the variable of an object; KeyError where it was left out."""
        return _Code(self.variables[kind, name])

    def _free_name(self, wanted: str, kind: str) -> str:
        name = re.sub(r"\W", "_", wanted, flags=re.ASCII)
        if not name.isidentifier() or keyword.iskeyword(name):
            name = f"_{name}"
        while name in self.namespace:
            name = f"{name}_{kind.rsplit(maxsplit=1)[-1]}"
        return name


def _declared(made: Any) -> Any:
    """Return the protobuf of an object without what Feast adds to it when it is registered, and takes away."""
    proto = made.to_proto()
    spec = getattr(proto, "spec", proto)
    _clear_registration(spec)
    return spec


def _clear_registration(message: Any) -> None:
    """Clear project, times, and the entity that Feast makes up for a view without one, and hides in its lists."""
    from feast.feature_view import DUMMY_ENTITY_NAME
    from google.protobuf.message import Message

    for part, value in message.ListFields():
        if part.name in {"meta", "project"} or (part.name == "entities" and list(value) == [DUMMY_ENTITY_NAME]):
            message.ClearField(part.name)
        elif part.name in {"batch_source", "stream_source", "features"}:
            for each in [value] if isinstance(value, Message) else value:
                _clear_registration(each)


# --- what each object is made by ---------------------------------------------------------------------------------------


def _entity(entity: Entity, script: _Script) -> str:  # noqa: ARG001 - every writer takes them
    value_type = _Code(f"ValueType.{entity.value_type.name}")
    return _call(
        "Entity", {"name": entity.name, "join_keys": [entity.join_key], "value_type": value_type, **_about(entity)}
    )


def _file_source(source: FileSource, script: _Script) -> str:  # noqa: ARG001
    file_format = source.file_format
    arguments = {
        "name": source.name,
        "path": source.path,
        "file_format": None if file_format is None else _Code(f"{type(file_format).__name__}()"),
        "timestamp_field": source.timestamp_field,
        "created_timestamp_column": source.created_timestamp_column,
        "field_mapping": dict(source.field_mapping),
        "s3_endpoint_override": source.s3_endpoint_override,
    }
    return _call("FileSource", {**arguments, **_about(source)})


def _push_source(source: PushSource, script: _Script) -> str:
    batch = source.batch_source
    variable = None if batch is None else script.variable(type(batch), batch.name)
    return _call("PushSource", {"name": source.name, "batch_source": variable, **_about(source)})


def _feature_view(view: FeatureView, script: _Script) -> str:
    from feast import Entity
    from feast.feature_view import DUMMY_ENTITY_NAME

    source = view.stream_source or view.batch_source
    arguments = {
        "name": view.name,
        "entities": [script.variable(Entity, name) for name in view.entities if name != DUMMY_ENTITY_NAME],
        "ttl": view.ttl,
        "schema": [*view.entity_columns, *view.features],
        "source": script.variable(type(source), source.name),
        **{name: getattr(view, name) for name in ("online", "offline", "enabled", "org", "version")},
    }
    return _call("FeatureView", {**arguments, **_about(view)})


def _feature_service(service: FeatureService, script: _Script) -> str:
    views = [_projected(projection, script) for projection in service.feature_view_projections]
    arguments = {"name": service.name, "features": views, "precompute_online": service.precompute_online}
    return _call("FeatureService", {**arguments, **_about(service)})


def _projected(projection: FeatureViewProjection, script: _Script) -> _Code:
    from feast import FeatureView

    code = script.variable(FeatureView, projection.name)
    names = [feature.name for feature in projection.features]
    if names != [feature.name for feature in script.namespace[code].features]:
        code = _Code(f"{code}[{_code(names)}]")
    if projection.name_alias:
        code = _Code(f"{code}.with_name({_code(projection.name_alias)})")
    if projection.join_key_map:
        code = _Code(f"{code}.with_join_key_map({_code(dict(projection.join_key_map))})")
    return code


_WRITERS: Mapping[str, Callable[[Any, _Script], str]] = {
    "Entity": _entity,
    "FileSource": _file_source,
    "PushSource": _push_source,
    "FeatureView": _feature_view,
    "FeatureService": _feature_service,
}


def _about(made: Any) -> dict[str, Any]:
    return {"description": made.description, "tags": dict(made.tags), "owner": made.owner}


# --- Python ------------------------------------------------------------------------------------------------------------


class _Code(str):
    """What stands in the text as it is."""

    __slots__ = ()


def _call(name: str, arguments: Mapping[str, Any]) -> _Code:
    """Return a call without the arguments that have their defaults.

    Examples
    --------
    >>> _call("Entity", {"name": "driver", "join_keys": ["driver"], "description": "", "tags": {}})
    'Entity(name="driver", join_keys=["driver"])'
    """
    defaults = {each.name: each.default for each in inspect.signature(_vocabulary()[name][1]).parameters.values()}
    given = {key: value for key, value in arguments.items() if not _is_default(value, defaults[key])}
    return _Code(f"{name}{_lines('(', [f'{key}={_code(value)}' for key, value in given.items()], ')')}")


def _is_default(value: Any, default: Any) -> bool:
    # Feast makes an empty list, dict or text of None.
    return bool(value == default or (default is None and not value and value is not False))


def _code(value: Any) -> str:
    """Return a value as Python.

    Examples
    --------
    >>> _code({"team": "the best", "ttl": timedelta(hours=36), "sizes": [1, None]})
    '{"team": "the best", "ttl": timedelta(days=1, seconds=43200), "sizes": [1, None]}'
    """
    from feast import Field

    writers: dict[type, Callable[[Any], str]] = {
        _Code: str,
        str: lambda text: json.dumps(text, ensure_ascii=False),  # as Python writes it, in double quotes
        timedelta: lambda time: repr(time).removeprefix("datetime."),
        list: lambda values: _lines("[", [_code(each) for each in values], "]"),
        dict: lambda values: _lines("{", [f"{_code(key)}: {_code(each)}" for key, each in values.items()], "}"),
        Field: _field,
    }
    return writers.get(type(value), repr)(value)


def _lines(opening: str, parts: Sequence[str], closing: str) -> str:
    line = f"{opening}{', '.join(parts)}{closing}"
    if len(line) <= LINE_WIDTH and "\n" not in line:
        return line
    return f"{opening}\n{indent(''.join(f'{part},{chr(10)}' for part in parts), '    ')}{closing}"


def _field(made: Field) -> _Code:
    vector = {name: getattr(made, name) for name in ("vector_index", "vector_length", "vector_search_metric")}
    about = {"description": made.description, "tags": dict(made.tags)}
    return _call("Field", {"name": made.name, "dtype": _dtype(made.dtype), **about, **vector})


def _dtype(dtype: Any) -> _Code:
    if hasattr(dtype, "base_type"):
        return _Code(f"{type(dtype).__name__}({_dtype(dtype.base_type)})")
    if hasattr(dtype, "fields"):
        return _Code(f"Struct({_code({name: _dtype(each) for name, each in dtype.fields.items()})})")
    return _Code(str(dtype))
