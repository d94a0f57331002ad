"""Builds Feast's response from stored payloads without a Python object per value.

A payload is a ``RepeatedValue``, and a feature of the response a ``FeatureVector``: both hold their values as field 1, so
that the bytes of one are cut and joined to the bytes of the other, and protobuf parses the whole column at once.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from google.protobuf.timestamp_pb2 import Timestamp

from feastra_nb.codec.wire_format import Bytes, MalformedBytes, varint, varint_at
from feastra_nb.errors import CatalogConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from feastra_nb.adapter.feast_rows import ViewRequest

    # Key, event time in microseconds and payload of a stored row.
    Row: TypeAlias = tuple[bytes, int, bytes]

_VALUE, _STATUSES, _TIMESTAMP = b"\x0a", b"\x12", b"\x1a"  # fields 1, 2 and 3 of a FeatureVector, length-delimited
_RESULT = b"\x12"  # field 2 of a GetOnlineFeaturesResponse: a FeatureVector
_NULL = _VALUE + b"\x00"
_PRESENT, _NOT_FOUND = bytes([FieldStatus.PRESENT]), bytes([FieldStatus.NOT_FOUND])
_ABSENT: tuple[bytes, list[bytes]] = (_TIMESTAMP + b"\x00", [])
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
            try:
                size, begin = varint_at(payload, at + 1)
            except MalformedBytes as error:
                raise not_a_payload(f"byte {at} of {end} begins none") from error
        if payload[at] != _VALUE[0] or begin + size > end:
            raise not_a_payload(f"byte {at} of {end} begins none")
        cells.append(payload[at : begin + size])
        at = begin + size
    return cells


def not_a_payload(reason: str) -> CatalogConflict:
    """Return the error for bytes that are not a ``RepeatedValue``."""
    return CatalogConflict(
        f"a stored payload is not a list of values: {reason}", hint="another program wrote into this table"
    )


class Answered(Protocol):
    """Rows that were read, for the n keys that were asked."""

    widest: int
    """The most values that a row has."""
    times: bytes
    """n event timestamps, as a `FeatureVector` holds them."""

    def column(self, position: int) -> tuple[bytes, bytes | None]:
        """Return the n values of a position, as a `FeatureVector` holds them, and their n statuses; None: all are present."""


def answered(rows: Sequence[Row], keys: Sequence[bytes]) -> Answered:
    """Return what was read for some keys; each with a row at most, in any order, and keys may repeat."""
    if len(rows) >= MANY and len({len(row[2]) for row in rows}) == 1:
        payloads = np.frombuffer(b"".join([row[2] for row in rows]), dtype=np.uint8).reshape(len(rows), -1)
        layout = _common_layout(payloads)
        place = {row[0]: number for number, row in enumerate(rows)}
        which = [place.get(key, -1) for key in keys]
        if layout is not None and -1 not in which:
            return _Alike([row[1] for row in rows], payloads, which, layout)
    return _Different(rows, keys)


MANY = 16  # rows from which on numpy's constant part pays


class _Different:
    """Cuts and joins row by row."""

    def __init__(self, rows: Sequence[Row], keys: Sequence[bytes]) -> None:
        of_key = {key: (_timestamp(event_us), split(payload)) for key, event_us, payload in rows}
        self.widest = max((len(cells) for _time, cells in of_key.values()), default=0)
        answers = [of_key.get(key, _ABSENT) for key in keys]
        self.times = b"".join([time for time, _cells in answers])
        self._cells = [cells for _time, cells in answers]
        self._narrowest = min(map(len, self._cells), default=0)

    def column(self, position: int) -> tuple[bytes, bytes | None]:
        if position < self._narrowest:
            return b"".join([cells[position] for cells in self._cells]), None
        values = [cells[position] if position < len(cells) else _NULL for cells in self._cells]
        statuses = [_PRESENT if position < len(cells) else _NOT_FOUND for cells in self._cells]
        return b"".join(values), b"".join(statuses)


class _Alike:
    """Cuts columns out of rows whose values all lie at the same places, as numbers without nulls do.

    Parameters
    ----------
    event_us
        Of each row.
    payloads
        A row each.
    which
        For each of the n keys the number of its row.
    layout
        Where each value of a row begins, and the last one ends.
    """

    def __init__(self, event_us: Sequence[int], payloads: Bytes, which: Sequence[int], layout: Sequence[int]) -> None:
        stamps = [_timestamp(each) for each in event_us]
        self.times = b"".join([stamps[number] for number in which])
        self.widest = len(layout) - 1
        self._bytes = payloads[np.array(which)]
        self._layout = layout

    def column(self, position: int) -> tuple[bytes, bytes | None]:
        n = len(self._bytes)
        if position >= self.widest:
            return _NULL * n, _NOT_FOUND * n
        return self._bytes[:, self._layout[position] : self._layout[position + 1]].tobytes(), None


def _common_layout(payloads: Bytes) -> list[int] | None:
    """Return where values begin and end in every one of these payloads, a row each; None where they differ in that."""
    cells = split(payloads[0].tobytes())
    ends = np.cumsum([len(cell) for cell in cells]).tolist()
    begins = [0, *ends[:-1]]
    # The same tags and lengths at the same places.
    heads = [at for begin, cell in zip(begins, cells, strict=True) for at in range(begin, begin + _head_bytes(cell))]
    of_all = payloads[:, heads]
    return [*begins, payloads.shape[1]] if (of_all == of_all[0]).all() else None


def _head_bytes(cell: bytes) -> int:
    """Return how many bytes of a value are its tag and length."""
    at = 1
    while cell[at] >= _SHORT:
        at += 1
    return at + 1


def fill(
    response: Any,
    wanted: ViewRequest,
    answers: Answered,
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
        For each of the request's keys.
    positions
        Of each asked feature.
    """
    _describe(response.metadata, wanted, full_feature_names=full_feature_names, version_metadata=version_metadata)
    length = len(wanted.keys)
    statuses_head = _STATUSES + varint(length)
    all_present = b"".join([statuses_head, _PRESENT * length, answers.times])
    missing = 0
    results: list[bytes] = []
    for position in positions:
        values, statuses = answers.column(position)
        end = all_present
        if statuses is not None:
            end = b"".join([statuses_head, statuses, answers.times])
            missing += statuses.count(_NOT_FOUND)
        results += (_RESULT, _size(len(values) + len(end)), values, end)
    response.MergeFromString(b"".join(results))
    _count_features()(wanted.table.name, len(positions) * length - missing, missing)


_size = lru_cache(4096)(varint)  # of a feature: few lengths, again and again


@lru_cache(4096)  # rows that were written together often have one event time
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


@cache
def _count_features() -> Callable[[str, int, int], object]:
    """Return what tells Feast's metrics of a view's features that are present and missing; they are there where its server is."""
    try:
        from feast.metrics import track_feature_statuses
    except ImportError:
        return lambda _view, _present, _missing: None
    track: Callable[[str, int, int], object] = track_feature_statuses
    return track
