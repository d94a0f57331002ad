"""Tokens are those that Cassandra's driver computes."""

import os

import pyarrow as pa
from cassandra.metadata import Murmur3Token
from hypothesis import given
from hypothesis import strategies as st

from feastra_nb.storage.tokens import tokens_of


@given(st.lists(st.binary(max_size=70), max_size=20))
def test_tokens_are_those_of_the_driver(keys):
    assert tokens_of(pa.array(keys, pa.binary())).tolist() == [Murmur3Token.hash_fn(key) for key in keys]


def test_tokens_of_a_part_of_an_array_are_those_of_its_keys():
    keys = [os.urandom(length) for length in range(60)]
    part = pa.array(keys, pa.large_binary()).slice(7, 40)
    assert tokens_of(part).tolist() == [Murmur3Token.hash_fn(key) for key in keys[7:47]]
    assert tokens_of(pa.array([], pa.binary())).tolist() == []
