"""Vectors that Feast computes ahead for a `FeatureService` with ``precompute_online=True``.

Feast keeps them in a view that it makes up (no registry knows it), one protobuf an entity. It fills them itself on Redis
only; where an entity has none, this store reads the service's views instead, which is one round trip here.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from feast import FeatureService, FeatureView, Field
from feast.types import Bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feast.protos.feast.types.Value_pb2 import Value

PREFIX = "__precomputed__"  # Feast's, of the names of the views it makes up
FEATURE = "vector"
_MISSING = "pre-computed vectors could not be read"  # of Feast's message where an entity has no vector


def vector_view(service: str) -> FeatureView:
    """Return the view that holds a service's vectors, as Feast makes it up."""
    return FeatureView(name=PREFIX + service, entities=[], schema=[Field(name=FEATURE, dtype=Bytes)], source=None)


def is_vector_view(name: str) -> bool:
    """Tell whether a view is one that Feast made up.

    Examples
    --------
    >>> is_vector_view("__precomputed__model_v1"), is_vector_view("drivers")
    (True, False)
    """
    return name.startswith(PREFIX)


def service_of(name: str) -> str:
    """Return the service of a view of vectors."""
    return name.removeprefix(PREFIX)


def vectors(rows: Sequence[tuple[Any, dict[str, Value] | None]]) -> list[bytes | None]:
    """Return the vector of each row that was read, None where there is none."""
    found = [values.get(FEATURE) if values else None for _event, values in rows]
    return [value.bytes_val if value is not None and value.HasField("bytes_val") else None for value in found]


def lacks_vectors(error: RuntimeError) -> bool:
    """Tell whether this is Feast's error for a service whose vectors are not all there."""
    return type(error) is RuntimeError and _MISSING in str(error)


def without_vectors(features: Any) -> Any:
    """Return what was asked so that its views are read: a copy of the service that has no vectors."""
    if not isinstance(features, FeatureService):
        return features
    plain = copy.copy(features)
    plain.precompute_online = False
    return plain
