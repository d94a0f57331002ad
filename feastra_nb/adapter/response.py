"""Builds Feast's response from stored payloads without a Python object per value.

A payload is a ``RepeatedValue``, and a feature of the response a ``FeatureVector``: both hold their values as field 1, so
that the bytes of one are cut and joined to the bytes of the other, and protobuf parses the whole column at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from google.protobuf.timestamp_pb2 import Timestamp

from feastra_nb.codec.wire_format import VARINT_MAX_BYTES, varint
from feastra_nb.errors import CatalogConflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feastra_nb.adapter.feast_rows import ViewRequest

# Event time in microseconds and the values, cut as `split` cuts them, of each asked key; None where it has no row.
Answers: TypeAlias = "Sequence[tuple[int, list[bytes]] | None]"

_VALUE, _STATUSES, _TIMESTAMP = b"\x0a", b"\x12", b"\x1a"  # fields 1, 2 and 3 of a FeatureVector, length-delimited
_NULL = _VALUE + b"\x00"
_PRESENT, _NOT_FOUND = bytes([FieldStatus.PRESENT]), bytes([FieldStatus.NOT_FOUND])
_SHORT = 0x80  # lengths below take one byte


def split(payload: bytes) -> list[bytes]:
    """Cut a payload into its values, each with its tag and length.

    Raises
    ------
    CatalogConflict
        The bytes are not a ``RepeatedValue``.

    Examples
    --------
    >>> [cell.hex() for cell in split(bytes.fromhex("0a0220070a00"))]
    ['0a022007', '0a00']
    """
    cells = []
    at, end = 0, len(payload)
    while at < end:
        size, begin = (payload[at + 1], at + 2) if at + 1 < end else (end, end)
        if size >= _SHORT:
            size, begin = _length(payload, at + 1)
        if payload[at] != _VALUE[0] or begin + size > end:
            raise CatalogConflict(
                f"a stored payload is not a list of values: byte {at} of {end} begins none",
                hint="another program wrote into this table",
            )
        cells.append(payload[at : begin + size])
        at = begin + size
    return cells


def _length(payload: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    for after, byte in enumerate(payload[at : at + VARINT_MAX_BYTES], at + 1):
        size |= (byte & (_SHORT - 1)) << shift
        shift += 7
        if byte < _SHORT:
            return size, after
    return len(payload), len(payload)  # cut off: longer than what is there


def fill(
    response: Any,
    wanted: ViewRequest,
    answers: Answers,
    positions: Sequence[int],
    *,
    full_feature_names: bool,
    version_metadata: bool,
) -> None:
    """Put a view's answers into Feast's response, as Feast's own `_populate_response_from_feature_data` does.

    Parameters
    ----------
    response
        A ``GetOnlineFeaturesResponse``.
    answers
        Of each of the view's distinct entities.
    positions
        Of each asked feature.
    """
    _describe(response.metadata, wanted, full_feature_names=full_feature_names, version_metadata=version_metadata)
    rows: list[tuple[bytes, list[bytes]]] = [(_TIMESTAMP + b"\x00", [])] * wanted.length
    for answer, destinations in zip(answers, wanted.indexes, strict=True):
        if answer is not None:
            row = (_timestamp(answer[0]), answer[1])
            for place in destinations:
                rows[place] = row
    times = b"".join([time for time, _cells in rows])
    missing = 0
    for position in positions:
        cells = [row[position] if position < len(row) else None for _time, row in rows]
        statuses = b"".join([_NOT_FOUND if cell is None else _PRESENT for cell in cells])
        values = b"".join([_NULL if cell is None else cell for cell in cells])
        missing += cells.count(None)
        column = b"".join([values, _STATUSES, varint(len(statuses)), statuses, times])
        response.results.add().MergeFromString(column)
    _count(wanted.table.name, len(positions) * wanted.length - missing, missing)


def _timestamp(event_us: int) -> bytes:
    seconds, micros = divmod(event_us, 1_000_000)
    content = Timestamp(seconds=seconds, nanos=micros * 1_000).SerializeToString()
    return _TIMESTAMP + varint(len(content)) + content


def _describe(metadata: Any, wanted: ViewRequest, *, full_feature_names: bool, version_metadata: bool) -> None:
    projection = wanted.table.projection
    prefix = f"{projection.name_to_use()}__" if full_feature_names else ""
    metadata.feature_names.val.extend([prefix + name for name in wanted.features])
    if version_metadata:
        name = projection.name_alias or projection.name
        if all(known.name != name for known in metadata.feature_view_metadata):
            version = getattr(wanted.table, "current_version_number", 0) or 0
            metadata.feature_view_metadata.add(name=name, version=version)


def _count(view: str, present: int, missing: int) -> None:
    """Tell Feast's metrics, which are there where its server is installed."""
    try:
        from feast.metrics import track_feature_statuses
    except ImportError:
        return
    track_feature_statuses(view, present, missing)
