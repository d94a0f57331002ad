"""Picks the entities that requests read: given or sampled from the store, in sequence or by a skewed distribution."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feastra_nb import codec
from feastra_nb.connection.cluster import READ, quoted
from feastra_nb.connection.driver_errors import map_driver_errors
from feastra_nb.errors import ConfigurationError, close_names
from feastra_nb.storage.scanning import MAX_TOKEN, MIN_TOKEN, TOKEN_RANGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from feastra_nb.connection.cluster import Database
    from feastra_nb.retrieval.request import Requested
    from feastra_nb.storage.catalog import ViewEntry

    Int64s = npt.NDArray[np.int64]

SAMPLED_KEYS = 10_000  # entities read from the store where the caller names none
UNIFORM, ZIPF = "uniform", "zipf"
PICKS = (UNIFORM, ZIPF)
# The exponent of YCSB's "zipfian" (Cooper et al., SoCC 2010): a few entities get most of the requests, as in real traffic.
ZIPF_EXPONENT = 0.99
ZIPF_BATCHES = 2_000  # different requests before they repeat


def batches(keys: int, size: int, *, pick: str = UNIFORM, seed: int = 0) -> Int64s:
    """Return the entities of each request as row numbers, shape (requests, size); none repeats within a request.

    Parameters
    ----------
    keys
        How many entities there are; at least ``size``.
    size
        Entities of a request.
    pick
        ``"uniform"``: requests walk through the entities, so that no cache answers for the store. ``"zipf"``: the k-th
        entity is asked for in proportion to k^-0.99.
    seed
        Of the random picks.

    Raises
    ------
    ConfigurationError
        ``pick`` is unknown.

    Examples
    --------
    >>> batches(5, 2).tolist()
    [[0, 1], [2, 3]]
    >>> batches(1_000, 10, pick="zipf").shape
    (2000, 10)
    """
    if pick not in PICKS:
        raise ConfigurationError(f"keys={pick!r} is not a way to pick entities", hint=close_names(str(pick), PICKS))
    if pick == UNIFORM:
        requests = keys // size
        return np.arange(requests * size).reshape(requests, size)
    rng = np.random.default_rng(seed)
    weights = -ZIPF_EXPONENT * np.log(np.arange(1, keys + 1))
    # Which entity is popular has nothing to do with where it lies.
    order = rng.permutation(keys)
    return np.stack([order[_weighted(rng, weights, size)] for _ in range(ZIPF_BATCHES)])


def _weighted(rng: np.random.Generator, log_weights: npt.NDArray[np.float64], size: int) -> Int64s:
    """Draw without repeats in proportion to weights: the largest of log-weights plus Gumbel noise (Vieira, 2014)."""
    noisy = log_weights + rng.gumbel(size=len(log_weights))
    return np.argpartition(-noisy, size - 1)[:size]


def sampled(db: Database, entry: ViewEntry, view_request: Requested) -> pa.Table:
    """Return up to 10,000 entities of a view, as many from each range of tokens: a fair sample without reading all."""
    # Even ranges, not the ring's: a large cluster's are thousands.
    cuts = [*range(MIN_TOKEN, MAX_TOKEN, 2**64 // TOKEN_RANGES), MAX_TOKEN]
    cql = (
        f"SELECT DISTINCT entity_key FROM {quoted(db.keyspace)}.{quoted(entry.table)} "
        f"WHERE token(entity_key) > ? AND token(entity_key) <= ? LIMIT {-(-SAMPLED_KEYS // TOKEN_RANGES)}"
    )
    with map_driver_errors(f"sampling entities of view {entry.view}"):
        statement = db.prepare(cql, READ)
        futures = [
            db.session.execute_async(statement.bind(bounds), execution_profile=READ) for bounds in pairwise(cuts)
        ]
        blobs = [key for future in futures for (key,) in future.result()]
    return key_table(blobs, view_request)


def key_table(blobs: Sequence[bytes], view_request: Requested) -> pa.Table:
    """Return the join keys that encoded entity keys stand for."""
    stored = [name for name, _shown, _type in view_request.keys]
    columns = codec.decode_entity_keys(blobs, stored, [kind for _stored, _shown, kind in view_request.keys])
    return pa.table(dict(zip([shown for _stored, shown, _type in view_request.keys], columns, strict=True)))
