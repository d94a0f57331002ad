"""Reading fast answers as Feast's own code would: response, keys, names."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, RepeatedValue, Value
from feast.types import Int64
from feast.utils import _populate_response_from_feature_data
from hypothesis import given
from hypothesis import strategies as st

from feastra_nb.adapter.feast_rows import ViewRequest, _features, key_bytes, keys_of
from feastra_nb.adapter.response import answered, fill, split
from feastra_nb.errors import CatalogConflict
from feastra_nb.storage.reader import _blobs

NAMES = ["a", "b", "c"]

values = st.one_of(
    st.just(Value()),
    st.floats(allow_nan=False).map(lambda one: Value(double_val=one)),
    st.integers(-(2**63), 2**63 - 1).map(lambda one: Value(int64_val=one)),
    st.text(max_size=300).map(lambda one: Value(string_val=one)),
    st.lists(st.floats(allow_nan=False), max_size=60).map(lambda some: Value(double_list_val=DoubleList(val=some))),
)
rows = st.one_of(
    st.none(), st.tuples(st.integers(-(10**15), 4 * 10**15), st.lists(values, min_size=1, max_size=len(NAMES) + 1))
)


@given(
    st.lists(rows, max_size=6),
    st.randoms(use_true_random=False),
    st.permutations(range(len(NAMES))),
    st.booleans(),
    st.booleans(),
)
def test_a_response_is_what_feast_would_have_made_of_the_same_rows(stored, random, positions, full, versions):
    table = SimpleNamespace(
        name="view",
        current_version_number=3,
        projection=SimpleNamespace(name="view", name_alias="alias", name_to_use=lambda: "alias"),
    )
    length = len(stored) * 2
    places = random.sample(range(length), length)
    indexes = [sorted(places[2 * number : 2 * number + 2]) for number in range(len(stored))]
    keys = [b""] * length
    for number, destinations in enumerate(indexes):
        for place in destinations:
            keys[place] = bytes([number])
    answers = [
        (bytes([number]), row[0], RepeatedValue(val=row[1]).SerializeToString())
        for number, row in enumerate(stored)
        if row is not None
    ]

    ours, theirs = GetOnlineFeaturesResponse(), GetOnlineFeaturesResponse()
    wanted = ViewRequest(table, NAMES, keys)
    fill(ours, wanted, answered(answers, keys), positions, full_feature_names=full, version_metadata=versions)
    asked = list(zip(NAMES, positions, strict=True))
    as_feast = [(None, None) if row is None else _features(*row, asked) for row in stored]
    _populate_response_from_feature_data(NAMES, as_feast, indexes, theirs, full, table, length, versions)

    assert ours == theirs


@pytest.mark.parametrize("payload", ["0a", "0a05", "0a0220", "1200", "0a00ff", "0affffffffffffffffffff7f", "0a80"])
def test_a_payload_of_something_else_is_refused(payload):
    with pytest.raises(CatalogConflict, match="not a list of values"):
        split(bytes.fromhex(payload))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_keys_of_one_integer_are_those_of_feast(numbers):
    values = [Value(int64_val=number) for number in numbers]
    assert keys_of({"id": values}) == [key_bytes(EntityKey(join_keys=["id"], entity_values=[one])) for one in values]


@pytest.mark.parametrize(
    "entities",
    [
        [{"id": Value(string_val="x")}, {"id": Value(string_val="")}],
        [{"id": Value(int32_val=7)}],
        [{"b": Value(int64_val=1), "a": Value(string_val="x")}],
        [{"id": Value(int64_val=1)}, {"id": Value(int32_val=1)}],
    ],
)
def test_other_keys_are_those_of_feast(entities):
    expected = [key_bytes(EntityKey(join_keys=one.keys(), entity_values=one.values())) for one in entities]
    assert keys_of({name: [one[name] for one in entities] for name in entities[0]}) == expected


def test_a_list_of_blobs_is_bound_as_the_driver_binds_it():
    from cassandra.cqltypes import BytesType, ListType

    blobs = [b"", b"x", b"y" * 300]
    assert _blobs(blobs) == ListType.apply_parameters([BytesType]).to_binary(blobs, 4)


def test_a_request_builds_only_the_views_it_names():
    from feastra_nb.retrieval.request import references, requested

    built = []

    def view_of(name, _project, *_allow_cache):
        built.append(name)
        return FeatureView(name=name, entities=[entity], schema=[key, Field(name="a", dtype=Int64)], source=source)

    key, entity = Field(name="id", dtype=Int64), Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
    source = FileSource(name="s", path="s.parquet", timestamp_field="event_timestamp")
    store = SimpleNamespace(registry=SimpleNamespace(get_any_feature_view=view_of), project="p")

    assert references(store, ["one", "two:a"]) == ["one:a", "two:a"]
    assert built == ["one", "two"]
    built.clear()
    request = requested(store, ["one", "two:a"], full_feature_names=True)
    assert [(one.label, one.features) for one in request.views] == [("one", ("a",)), ("two", ("a",))]
    assert not request.on_demand
    assert built == ["one", "two"]
