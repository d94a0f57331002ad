"""Sends encoded rows to Cassandra: batches within the server's warning limits, a bounded window in flight, bounded retries.

A row counts as written when the server acknowledged it. Everything sent is idempotent (a retry carries the same primary
key), so a write that stopped anywhere can be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feastra_nb.errors import FeastraError, InvalidFrame, WriteIncomplete
from feastra_nb.storage.batches import Batches
from feastra_nb.storage.patience import Patience
from feastra_nb.storage.row_selection import refuse_large
from feastra_nb.storage.window import WriteResult, WriteWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    import numpy.typing as npt

    from feastra_nb.connection.cluster import Database
    from feastra_nb.storage.catalog import ViewEntry
    from feastra_nb.storage.rows import Rows


def write(
    db: Database,
    entry: ViewEntry,
    rows: Rows,
    ttl_s: npt.NDArray[np.int64],
    *,
    on_acknowledged: Callable[[int], object] | None = None,
) -> WriteResult:
    """Write rows into a view's table and return when all are acknowledged.

    Parameters
    ----------
    rows
        Their arrival is the moment when the batch that carries them is first sent, whatever ``arrived_us`` says.
    ttl_s
        Shape (n,), each row's time to live in seconds; 0 for none.
    on_acknowledged
        Called with the number of rows that were acknowledged since the last call, in this thread.

    Raises
    ------
    InvalidFrame
        A row is larger than servers take; nothing was written.
    WriteIncomplete
        Some rows could not be written; says how many were acknowledged.
    """
    return write_parts(db, entry, [(rows, ttl_s)], total=len(rows), on_acknowledged=on_acknowledged)


def write_parts(
    db: Database,
    entry: ViewEntry,
    parts: Iterable[tuple[Rows, npt.NDArray[np.int64]]],
    *,
    total: int | None = None,
    before: int = 0,
    keep_arrival: bool = False,
    on_acknowledged: Callable[[int], object] | None = None,
) -> WriteResult:
    """Write rows that come part by part, each taken while the one before is on its way; otherwise as `write`.

    Parameters
    ----------
    parts
        Rows, and each one's time to live in seconds.
    total
        How many rows there are, for the error's message; None where that is not known.
    before
        Rows of the same run that were acknowledged before, for the error's message.
    keep_arrival
        Write each row's own ``arrived_us``: of rows that arrived elsewhere, and are copied.
    """
    patience = Patience(db, entry)
    batches = patience.until_known(lambda: Batches(db, entry, keep_arrival=keep_arrival))
    with WriteWindow(db, on_acknowledged, patience) as window:
        return _written(window, batches, entry, parts, total=total, before=before)


def _written(
    window: WriteWindow,
    batches: Batches,
    entry: ViewEntry,
    parts: Iterable[tuple[Rows, npt.NDArray[np.int64]]],
    *,
    total: int | None,
    before: int,
) -> WriteResult:
    try:
        for rows, ttl_s in parts:
            refuse_large(rows, view=entry.view)
            for batch in batches.of(rows, ttl_s):
                window.send(batch)
        window.finish()
    except FeastraError as error:
        window.settle_all()
        acknowledged = before + window.result.rows
        if isinstance(error, InvalidFrame) and not acknowledged:
            raise
        raise _incomplete(entry, acknowledged, total, error) from error
    except BaseException:
        # Ctrl-C: what is in flight is waited for, so that the journal can say what was acknowledged.
        window.settle_all()
        raise
    return window.result


def _incomplete(entry: ViewEntry, acknowledged: int, total: int | None, error: FeastraError) -> WriteIncomplete:
    of_all = f" of {total:,}" if total is not None else ""
    return WriteIncomplete(
        f"writing view {entry.view!r} stopped after {acknowledged:,}{of_all} rows were acknowledged: {error.message}",
        hint=f"{error.hint or 'see the cause'}; writing the same rows again is safe",
        acknowledged=acknowledged,
        rows=total,
    )
