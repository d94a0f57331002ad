"""Places of keys on the ring: Cassandra's Murmur3 hash of many keys at once. No I/O.

Cassandra's variant takes the bytes behind the last whole block as signed; the format is that of
``org.apache.cassandra.utils.MurmurHash.hash3_x64_128``, of which the first half is the token.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feastra_nb.codec.wire_format import content

_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_MIX1, _MIX2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_FIVE, _ADD1, _ADD2 = np.uint64(5), np.uint64(0x52DCE729), np.uint64(0x38495AB5)
_BLOCK = 16  # bytes
_LEAST, _MOST = -(2**63), 2**63 - 1

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


def tokens_of(keys: pa.Array) -> Ints:
    """Return the token of each key, shape (n,).

    Examples
    --------
    >>> tokens_of(pa.array([b"", b"abc", b"a key of more than one block"])).tolist()
    [0, -5434086359492102041, 1771422016880284862]
    """
    strings = keys.cast(pa.large_binary())
    offsets, data = content(strings)
    lengths = np.diff(offsets)
    tokens = np.empty(len(lengths), dtype=np.int64)
    for length in np.flatnonzero(np.bincount(lengths)):
        of_length = np.flatnonzero(lengths == length)
        tokens[of_length] = _of_one_length(data, offsets[of_length], int(length))
    return np.where(tokens == _LEAST, _MOST, tokens)


def _of_one_length(data: npt.NDArray[np.uint8], starts: Ints, length: int) -> Ints:
    one = two = np.zeros(len(starts), dtype=np.uint64)
    blocks, tail = divmod(length, _BLOCK)
    if blocks:
        words: Words = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    for block in range(blocks):
        first, second = (words[starts + block * _BLOCK + half] for half in (0, 8))
        one = _rotated(one ^ _first(first), 27) + two
        one = one * _FIVE + _ADD1
        two = _rotated(two ^ _second(second), 31) + one
        two = two * _FIVE + _ADD2
    signed = data.view(np.int8)
    rest = [signed[starts + blocks * _BLOCK + place].astype(np.int64).view(np.uint64) for place in range(tail)]
    if tail > 8:  # noqa: PLR2004 - bytes of a word
        two = two ^ _second(_word(rest[8:]))
    if tail:
        one = one ^ _first(_word(rest[:8]))
    size = np.uint64(length)
    one, two = one ^ size, two ^ size
    one = one + two
    two = two + one
    return np.asarray((_mixed(one) + _mixed(two)).view(np.int64))


def _word(rest: list[Words]) -> Words:
    word = np.zeros(len(rest[0]), dtype=np.uint64)
    for place, byte in enumerate(rest):
        word = word ^ (byte << np.uint64(8 * place))
    return word


def _first(word: Words) -> Words:
    return _rotated(word * _C1, 31) * _C2


def _second(word: Words) -> Words:
    return _rotated(word * _C2, 33) * _C1


def _rotated(word: Words, bits: int) -> Words:
    return np.asarray(word << np.uint64(bits) | word >> np.uint64(64 - bits))


def _mixed(word: Words) -> Words:
    for factor in (_MIX1, _MIX2):
        word = (word ^ word >> np.uint64(33)) * factor
    return np.asarray(word ^ word >> np.uint64(33))
