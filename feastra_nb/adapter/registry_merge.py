"""A three-way merge of Feast's registry: what one process changed, put onto what others have written meanwhile.

Feast changes a copy of the whole registry in memory and writes it whole, so that a process which read before another's write
would undo it. Here each object (an entity, a view, …) is taken from the side that changed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from feast.protos.feast.core.Registry_pb2 import Registry

from feastra_nb.errors import CatalogConflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

# What no two writes have in common, and whose later or first value is as good: never a conflict.
_LATER = ("last_updated_timestamp", "current_version_number")
_THEIRS = ("created_timestamp", "version_id")
_MINE = ("state",)
_VIEWS = ("feature_views", "stream_feature_views", "on_demand_feature_views", "label_views")


def merged(base: Registry, mine: Registry, theirs: Registry) -> Registry:
    """Return the registry with both sides' changes since ``base``.

    Parameters
    ----------
    base
        What this process has read.
    mine
        The same, as this process has changed it.
    theirs
        What is stored now.

    Raises
    ------
    CatalogConflict
        Both changed one object, in different ways.
    """
    both = Registry()
    both.CopyFrom(theirs)
    for name, field in Registry.DESCRIPTOR.fields_by_name.items():
        if field.message_type is not None and _is_repeated(field):
            three = (getattr(side, name) for side in (base, mine, theirs))
            _fill(getattr(both, name), _merged_objects(name, *(_by_key(objects, _key) for objects in three)))
    three = (side.feature_view_version_history.records for side in (base, mine, theirs))
    records = _with_changes(*(_by_key(side, _version_key) for side in three))
    both.ClearField("feature_view_version_history")
    if records:
        _fill(both.feature_view_version_history.records, records)
    three = (side.infra.infra_objects for side in (base, mine, theirs))
    objects = _with_changes(*(_by_key(side, _bytes) for side in three))
    both.ClearField("infra")
    if objects:
        _fill(both.infra.infra_objects, objects)
    return both


def _fill(container: Any, objects: list[Message]) -> None:
    copies = [type(each).FromString(each.SerializeToString()) for each in objects]
    del container[:]
    container.extend(copies)


def _by_key(objects: Any, key: Callable[[Any], Any]) -> dict[Any, Message]:
    return {key(each): each for each in objects}


def _key(each: Any) -> tuple[str, str]:
    spec = each.spec if "spec" in each.DESCRIPTOR.fields_by_name else each
    project = getattr(spec, "project", "")
    return project, getattr(spec, "name", project)


def _version_key(record: Any) -> tuple[str, str, int]:
    return record.project_id, record.feature_view_name, record.version_number


def _bytes(each: Message) -> bytes:
    return each.SerializeToString(deterministic=True)


def _with_changes(base: dict[Any, Message], mine: dict[Any, Message], theirs: dict[Any, Message]) -> list[Message]:
    """Return their objects, with those that I added and without those that I removed."""
    kept = [each for key, each in theirs.items() if key in mine or key not in base]
    return kept + [each for key, each in mine.items() if key not in base and key not in theirs]


def _merged_objects(
    name: str, base: dict[Any, Message], mine: dict[Any, Message], theirs: dict[Any, Message]
) -> list[Message]:
    both = []
    for key in dict.fromkeys((*theirs, *mine)):
        what = f"{name.removesuffix('s').replace('_', ' ')} {key[1]!r}"
        old, my, their = base.get(key), mine.get(key), theirs.get(key)
        if my is None:
            # Dropped here. A view stays dropped; anything else that others have changed is in use there.
            if old is None or (name not in _VIEWS and their != old):
                both.append(their)
        elif their is None:
            if old is None or my != old:
                # Dropped there, changed here: an entity or a source is needed again, a view would lack its table.
                if old is not None and name in _VIEWS:
                    raise _conflict(what, "dropped")
                both.append(my)
        else:
            both.append(_merged_message(old, my, their, what))
    return [each for each in both if each is not None]


def _merged_message(old: Message | None, my: Message, their: Message, what: str) -> Message:
    if my in (their, old):
        return their
    if their == old:
        return my
    both = type(their)()
    both.CopyFrom(their)
    for field in my.DESCRIPTOR.fields:
        _merge_field(both, field, old, my, what)
    return both


def _merge_field(both: Any, field: Any, old: Any, my: Any, what: str) -> None:
    """Bring one field of mine into ``both``, which is a copy of theirs."""
    name = field.name
    value, theirs = getattr(my, name), getattr(both, name)
    before = None if old is None else getattr(old, name)
    if value in (theirs, before) or name in _THEIRS or (name == "project_uuid" and old is None):
        return  # two that first use a project each draw it a number
    if name == "materialization_intervals":
        _fill(theirs, _with_changes(*(_by_key(side or (), _bytes) for side in (before, value, theirs))))
    elif name in _LATER:
        if _order(value) > _order(theirs):
            _take(both, field, my)
    elif theirs == before or name in _MINE:
        _take(both, field, my)
    elif field.message_type is not None and not _is_repeated(field):
        theirs.CopyFrom(_merged_message(before, value, theirs, what))
    else:
        raise _conflict(what, "changed")


def _take(both: Any, field: Any, my: Any) -> None:
    """Set one field as mine has it."""
    part = type(my)()
    part.CopyFrom(my)
    for other in my.DESCRIPTOR.fields:
        if other.name != field.name:
            part.ClearField(other.name)
    both.ClearField(field.name)
    both.MergeFrom(part)


def _is_repeated(field: Any) -> bool:
    """Tell whether a field is a list or a map; older releases of protobuf have only its label."""
    repeated = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _order(value: Any) -> Any:
    return (value.seconds, value.nanos) if hasattr(value, "nanos") else value


def _conflict(what: str, verb: str) -> CatalogConflict:
    return CatalogConflict(
        f"{what} was {verb} by another process at the same time, in another way; nothing was written",
        hint="repeat the call: it begins from what is registered now",
    )
