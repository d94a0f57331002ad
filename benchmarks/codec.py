"""How fast columns become stored bytes and back, beside Feast's own conversion; asserts nothing.

Run: ``python benchmarks/codec.py [--json FILE]``. Rows are encoded as a materialization would send them; Feast's side
does what its materialization does on the same column (``to_numpy``, ``python_values_to_proto_values``,
``SerializeToString``), on fewer rows, and is compared per row.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import RepeatedValue
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType

from feastra_nb.codec import decode_entity_keys, decode_payloads, encode_entity_keys, encode_payloads

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 100_000
FEAST_ROWS = 5_000
REPEATS = 3
Frame = tuple[list[pa.Array], list[ValueType]]


@dataclass(frozen=True)
class Line:
    """One measured case: microseconds a row (best of the repeats)."""

    case: str
    encode_us: float
    decode_us: float
    feast_encode_us: float
    feast_decode_us: float


def frames() -> dict[str, Frame]:
    """Make the cases: name to columns and value types."""
    chance = np.random.default_rng(7)
    nulls = chance.random(ROWS) < 0.1

    def doubles(*, null: bool) -> pa.Array:
        return pa.array(chance.normal(size=ROWS), mask=nulls if null else None)

    integers = pa.array(chance.integers(-1000, 10**9, ROWS), mask=nulls)
    texts = pa.array([f"N{number:05d}" for number in chance.integers(0, 99_999, ROWS)], mask=nulls)
    instants = pa.array(chance.integers(0, 2 * 10**15, ROWS), pa.timestamp("us", tz="UTC"))
    vectors = pa.array(list(chance.normal(size=(ROWS, 16)).astype(np.float32)), pa.list_(pa.float32()))
    tags = pa.array([["a", "bc"]] * ROWS, pa.list_(pa.string()))
    mixed = [doubles(null=True), integers, texts, instants, pa.array(nulls)]
    kinds = [ValueType.DOUBLE, ValueType.INT64, ValueType.STRING, ValueType.UNIX_TIMESTAMP, ValueType.BOOL]
    return {
        "10 doubles": ([doubles(null=False) for _ in range(10)], [ValueType.DOUBLE] * 10),
        "10 doubles, a tenth null": ([doubles(null=True) for _ in range(10)], [ValueType.DOUBLE] * 10),
        "50 doubles": ([doubles(null=False) for _ in range(50)], [ValueType.DOUBLE] * 50),
        "10 mixed, some null": (mixed * 2, kinds * 2),
        "vector of 16, list of 2 texts": ([vectors, tags], [ValueType.FLOAT_LIST, ValueType.STRING_LIST]),
    }


def best_us(run: Callable[[], object], rows: int) -> float:
    """Return the best microseconds a row of some runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) / rows * 1e6


def feast_encode(columns: list[pa.Array], types: list[ValueType]) -> list[bytes]:
    """Encode rows as Feast converts them."""
    values = [
        python_values_to_proto_values(column.to_numpy(zero_copy_only=False), value_type)
        for column, value_type in zip(columns, types, strict=True)
    ]
    return [RepeatedValue(val=row).SerializeToString() for row in zip(*values, strict=True)]


def feast_decode(payloads: list[bytes]) -> list[list[object]]:
    """Decode rows as Feast converts them."""
    return [[feast_value_type_to_python_type(value) for value in RepeatedValue.FromString(p).val] for p in payloads]


def measure(case: str, frame: Frame) -> Line:
    """Measure the payloads of one case."""
    columns, types = frame
    payloads = encode_payloads(columns, types, ROWS)
    few = [column.slice(0, FEAST_ROWS) for column in columns]
    blobs = feast_encode(few, types)
    return Line(
        case,
        best_us(lambda: encode_payloads(columns, types, ROWS), ROWS),
        best_us(lambda: decode_payloads(payloads, range(len(types)), types), ROWS),
        best_us(lambda: feast_encode(few, types), FEAST_ROWS),
        best_us(lambda: feast_decode(blobs), FEAST_ROWS),
    )


def measure_keys() -> Line:
    """Measure entity keys of a text and a number."""
    names, types = ["tailnum", "origin"], [ValueType.STRING, ValueType.INT64]
    columns = [pa.array([f"N{number:05d}" for number in range(ROWS)]), pa.array(np.arange(ROWS))]
    keys = encode_entity_keys(names, types, columns)

    def by_feast() -> list[bytes]:
        few = [column.slice(0, FEAST_ROWS).to_numpy(zero_copy_only=False) for column in columns]
        values = [python_values_to_proto_values(column, kind) for column, kind in zip(few, types, strict=True)]
        rows = zip(*values, strict=True)
        return [serialize_entity_key(EntityKey(join_keys=names, entity_values=row), 3) for row in rows]

    blobs = by_feast()
    return Line(
        "entity key: text and number",
        best_us(lambda: encode_entity_keys(names, types, columns), ROWS),
        best_us(lambda: decode_entity_keys(keys, names, types), ROWS),
        best_us(by_feast, FEAST_ROWS),
        best_us(lambda: [deserialize_entity_key(blob, 3) for blob in blobs], FEAST_ROWS),
    )


def main() -> None:
    """Measure all cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    lines = [measure(case, frame) for case, frame in frames().items()] + [measure_keys()]
    print(f"{'µs a row':32}{'encode':>8}{'Feast':>8}{'times':>7}{'decode':>10}{'Feast':>8}{'times':>7}")
    for line in lines:
        encode, decode = line.feast_encode_us / line.encode_us, line.feast_decode_us / line.decode_us
        print(
            f"{line.case:32}{line.encode_us:8.2f}{line.feast_encode_us:8.1f}{encode:7.0f}"
            f"{line.decode_us:10.2f}{line.feast_decode_us:8.1f}{decode:7.0f}"
        )
    if arguments.json:
        versions = {name: version(name) for name in ("feast", "pyarrow", "numpy", "protobuf")}
        machine = {"platform": platform.platform(), "python": platform.python_version(), "rows": ROWS}
        report = {"machine": machine, "versions": versions, "lines": [asdict(line) for line in lines]}
        arguments.json.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
