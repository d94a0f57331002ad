"""Names the cells that differ between Feast's table and our log, for people to read. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type

from feastra_nb.adapter.feast_cells import NO_US
from feastra_nb.migration.comparison import MS_US, Ours, compare, values_of
from feastra_nb.times import instant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pandas as pd

    from feastra_nb.migration.comparison import Compared
    from feastra_nb.migration.translation import Entities, Terms
    from feastra_nb.storage.rows import Rows

DIFFERS, MISSING_HERE, MISSING_THERE, EVENT_TIME = "differs", "missing_in_feastra", "missing_in_feast", "event_time"


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell that differs, or one entity that a side lacks.

    Parameters
    ----------
    view, key, entity
        Where: the key in hex, and its values by join key.
    feature
        The feature; None for an entity that a side lacks, or whose event times differ.
    kind
        ``"differs"``, ``"missing_in_feastra"``, ``"missing_in_feast"``, ``"event_time"``.
    feast, feastra
        The values.
    feast_event, feastra_event
        The newest event times.
    """

    view: str
    key: str
    entity: str
    feature: str | None
    kind: str
    feast: Any = None
    feastra: Any = None
    feast_event: datetime | None = None
    feastra_event: datetime | None = None


def frame_of(differences: Sequence[Difference]) -> pd.DataFrame:
    """Return differences as a DataFrame, a row each."""
    import pandas as pd

    names = list(Difference.__dataclass_fields__)
    return pd.DataFrame([asdict(difference) for difference in differences], columns=names)


def differences_of(
    entities: Entities, ours: Ours, compared: Compared, history: Rows, terms: Terms
) -> tuple[list[Difference], int]:
    """Return the differences of some entities, and how many of these are no damage.

    An entity of which our log holds a newer event than Feast's table, and Feast's event as well, with Feast's values, is not
    damaged: a late row has overwritten the newer one in Feast's table, which our log does not let happen.
    """
    found: list[Difference] = []
    overwritten = 0
    stored = values_of(ours.payload, len(terms.slots))
    for row in np.flatnonzero(compared.is_wrong).tolist():
        if _is_superseded(entities, ours, compared, row):
            continue
        if _is_overwritten(entities, ours, compared, history, terms, row):
            overwritten += 1
            continue
        found += _of_entity(entities, ours, compared, terms, stored, row)
    return found, overwritten


def missing_in_feast(terms: Terms, keys: Sequence[bytes]) -> list[Difference]:
    """Return the differences of entities that Feast's table does not hold."""
    view = terms.entry.view
    return [Difference(view, key.hex(), shown_entity(key), None, MISSING_THERE) for key in keys]


def shown_entity(key: bytes) -> str:
    """Return an entity key's values as text."""
    proto = deserialize_entity_key(key, 3)
    values = (getattr(value, str(value.WhichOneof("val"))) for value in proto.entity_values)
    return ", ".join(f"{name}={value!r}" for name, value in zip(proto.join_keys, values, strict=True))


def _is_superseded(entities: Entities, ours: Ours, compared: Compared, row: int) -> bool:
    """Tell whether a key of version 2 is older than its like in version 3, which is what Feast serves."""
    return bool(entities.is_old[row] and ours.event_us[row] > compared.feast_us[row])


def _is_overwritten(entities: Entities, ours: Ours, compared: Compared, history: Rows, terms: Terms, row: int) -> bool:
    feast_us, written_us = int(compared.feast_us[row]), int(entities.found.written_us()[:, row].max(initial=NO_US))
    if not (ours.event_us[row] // MS_US > feast_us // MS_US and ours.arrived_us[row] < written_us):
        return False
    mine = np.array([key == entities.keys[row].as_py() for key in history.entity_key.to_pylist()], dtype=bool)
    for place in np.flatnonzero(mine & (history.event_us // MS_US == feast_us // MS_US)):
        version = history.take(np.array([place]))
        same = compare(
            entities.take(np.array([row])),
            Ours(version.features, version.event_us, version.arrived_us),
            terms,
            t0_us=int(np.iinfo(np.int64).max),
            now_us=feast_us,
        )
        if not same.is_wrong.any():
            return True
    return False


def _of_entity(
    entities: Entities, ours: Ours, compared: Compared, terms: Terms, stored: Sequence[Any], row: int
) -> list[Difference]:
    key = entities.keys[row].as_py()
    where = (terms.entry.view, key.hex(), shown_entity(key))
    events: dict[str, Any] = {
        "feast_event": _instant(compared.feast_us[row]),
        "feastra_event": _instant(ours.event_us[row]),
    }
    if compared.is_moved[row]:
        return [Difference(*where, None, EVENT_TIME, **events)]
    found = []
    for index, name in enumerate(entities.found.features):
        theirs = entities.found.values(name)[row].as_py()
        if compared.is_missing[row]:
            if theirs is not None:
                found.append(Difference(*where, name, MISSING_HERE, _shown(theirs), None, **events))
        elif compared.differs[name][row]:
            mine = stored[terms.slots.index(index)][row].as_py()
            found.append(Difference(*where, name, DIFFERS, _shown(theirs or b""), _shown(mine), **events))
    return found


def _instant(event_us: Any) -> datetime | None:
    return None if event_us == NO_US else instant(int(event_us))


def _shown(content: bytes) -> Any:
    return feast_value_type_to_python_type(Value.FromString(content)) if content else None
