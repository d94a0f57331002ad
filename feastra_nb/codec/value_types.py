"""How each Feast value type looks on the wire and in Arrow.

Most value types are *plain*: a number or a text, alone, in a list or in a set; `kind_of` describes those, and the codec
handles them with numpy. The others (maps, structs, nested collections, zoned timestamps) differ from row to row, so no
Arrow type of their own could hold them without loss: their columns carry Feast's serialized ``Value`` messages in the
extension type `FeastValue`, whose ``to_pylist()`` gives the same Python objects as Feast.

Source of the field numbers: ``feast/types/Value.proto``; they equal ``ValueType`` but for PDF and image bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

from feastra_nb.codec.wire_format import varint

Form = Literal["varint", "fixed", "text"]
Container = Literal["", "list", "set"]

NULL_SECONDS = -(2**63)  # Feast writes a missing timestamp so (feast.type_map.NULL_TIMESTAMP_INT_VALUE)

_TEXT_WIRE_TYPE = 2  # length-delimited, as lists and sets are
_ELEMENTS: dict[ValueType, tuple[Form, int, pa.DataType]] = {  # form, wire type, canonical Arrow type
    ValueType.BYTES: ("text", 2, pa.binary()),
    ValueType.STRING: ("text", 2, pa.string()),
    ValueType.INT32: ("varint", 0, pa.int32()),
    ValueType.INT64: ("varint", 0, pa.int64()),
    ValueType.DOUBLE: ("fixed", 1, pa.float64()),
    ValueType.FLOAT: ("fixed", 5, pa.float32()),
    ValueType.BOOL: ("varint", 0, pa.bool_()),
    ValueType.UNIX_TIMESTAMP: ("varint", 0, pa.timestamp("us", tz="UTC")),
    ValueType.UUID: ("text", 2, pa.string()),
    ValueType.TIME_UUID: ("text", 2, pa.string()),
    ValueType.DECIMAL: ("text", 2, pa.string()),
    # Feast infers JSON from large_string and STRING from string (feast.type_map.pa_to_feast_value_type).
    ValueType.JSON: ("text", 2, pa.large_string()),
    ValueType.PDF_BYTES: ("text", 2, pa.binary()),
    ValueType.IMAGE_BYTES: ("text", 2, pa.binary()),
}
_STORED_AS_BYTES = (ValueType.PDF_BYTES, ValueType.IMAGE_BYTES)
_UNPLAIN = (ValueType.MAP_LIST, ValueType.STRUCT_LIST, ValueType.VALUE_LIST, ValueType.VALUE_SET)


@dataclass(frozen=True, slots=True)
class Kind:
    """A plain value type: ``element`` alone or in a ``container``, under the bytes ``tag`` in ``feast.types.Value``."""

    element: ValueType
    form: Form
    container: Container
    tag: bytes
    arrow: pa.DataType


@cache
def kind_of(value_type: ValueType) -> Kind | None:
    """Describe a plain value type; ``None`` for the others.

    Examples
    --------
    >>> kind = kind_of(ValueType.INT64_LIST)
    >>> kind.element.name, kind.form, kind.container, kind.tag.hex()
    ('INT64', 'varint', 'list', '72')
    >>> kind_of(ValueType.MAP)
    """
    element, container = _element_of(value_type)
    if element is None:
        return None
    form, wire_type, arrow = _ELEMENTS[element]
    field = ValueType.BYTES.value if value_type in _STORED_AS_BYTES else value_type.value
    tag = varint(field << 3 | (_TEXT_WIRE_TYPE if container else wire_type))
    return Kind(element, form, container, tag, pa.list_(arrow) if container else arrow)


def _element_of(value_type: ValueType) -> tuple[ValueType | None, Container]:
    if value_type in _ELEMENTS:
        return value_type, ""
    stem, _, suffix = value_type.name.rpartition("_")
    if value_type in _UNPLAIN or suffix not in ("LIST", "SET"):
        return None, ""
    return ValueType[stem], "list" if suffix == "LIST" else "set"


def is_number(value_type: ValueType) -> bool:
    """Tell whether values are single numbers, booleans or timestamps."""
    kind = kind_of(value_type)
    return kind is not None and not kind.container and kind.form != "text"


def arrow_type(value_type: ValueType) -> pa.DataType:
    """Return the Arrow type that holds a Feast value type without loss.

    Scalars have the obvious one; ``UNIX_TIMESTAMP`` is in microseconds, UTC, though whole seconds are stored. Sets are
    lists of distinct sorted values. UUIDs and decimals are text, as in Feast's own Arrow mapping (a decimal's scale may
    differ from row to row); JSON is its text as ``large_string``, from which Feast infers JSON. Maps, structs, nested
    collections and zoned timestamps are `FeastValue`.

    Examples
    --------
    >>> arrow_type(ValueType.UNIX_TIMESTAMP_LIST)
    ListType(list<item: timestamp[us, tz=UTC]>)
    >>> arrow_type(ValueType.MAP)
    FeastValue(MAP)
    """
    kind = kind_of(value_type)
    if kind is not None:
        return kind.arrow
    return pa.null() if value_type is ValueType.NULL else FeastValue(value_type)


class FeastScalar(pa.ExtensionScalar):
    """One value of a `FeastValue` column."""

    def as_py(self, **_: Any) -> Any:
        """Return the Python object that Feast itself makes of the value: a dict, nested lists, a zoned datetime."""
        from feast.type_map import feast_value_type_to_python_type

        if self.value is None:
            return None
        return feast_value_type_to_python_type(Value.FromString(self.value.as_py()))


class FeastValue(pa.ExtensionType):
    """Arrow type of columns of serialized ``feast.types.Value`` messages of one value type.

    Parameters
    ----------
    value_type
        The Feast value type of the column.

    Examples
    --------
    >>> messages = pa.array([Value(int64_val=7).SerializeToString(), None], pa.large_binary())
    >>> pa.ExtensionArray.from_storage(FeastValue(ValueType.UNKNOWN), messages).to_pylist()
    [7, None]
    """

    def __init__(self, value_type: ValueType) -> None:
        self.value_type = value_type
        super().__init__(pa.large_binary(), "feastra.value")

    def __arrow_ext_serialize__(self) -> bytes:
        return str(self.value_type.name).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, _storage: pa.DataType, serialized: bytes) -> FeastValue:
        return cls(ValueType[serialized.decode()])

    def __hash__(self) -> int:
        return hash((FeastValue, self.value_type))

    def __arrow_ext_scalar_class__(self) -> type[FeastScalar]:
        return FeastScalar

    def __repr__(self) -> str:
        return f"FeastValue({self.value_type.name})"
