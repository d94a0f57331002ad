"""Converts Arrow columns to the bytes stored in Cassandra and back: the only door to the stored format. No I/O.

- ``entity_key`` is Feast's entity key, serialization version 3: `encode_entity_keys`, `decode_entity_keys`.
- ``features`` is a payload: a serialized ``feast.types.RepeatedValue``, one ``Value`` a feature by position:
  `encode_payloads`, `decode_payloads`.
"""

from __future__ import annotations

from feastra_nb.codec.entity_keys import decode_entity_keys, encode_entity_keys
from feastra_nb.codec.payloads import UnknownPositions, decode_payloads, encode_payloads, value_counts
from feastra_nb.codec.value_types import FeastValue, arrow_type

__all__ = [
    "FeastValue",
    "UnknownPositions",
    "arrow_type",
    "decode_entity_keys",
    "decode_payloads",
    "encode_entity_keys",
    "encode_payloads",
    "value_counts",
]
