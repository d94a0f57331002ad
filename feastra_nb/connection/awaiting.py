"""Awaits the driver's futures: its event thread hands the answer to the asyncio loop, so no thread waits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


async def answer_of(future: Any) -> Any:
    """Return what a driver's ``ResponseFuture`` answers first, as its ``ResultSet``; raises what the driver raises.

    Sent to two nodes, a request may be answered twice, and the driver calls back for both.
    """
    from cassandra.cluster import ResultSet

    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def answered(rows: list[Any] | None) -> None:
        _settle(loop, answer, ResultSet(future, rows))

    def failed(error: Exception) -> None:
        _settle(loop, answer, error)

    future.add_callbacks(answered, failed)
    return await answer


def _settle(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Any], outcome: Any) -> None:
    def settle() -> None:
        if answer.done():  # the caller gave up, or has its answer
            return
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    # The caller may have closed its loop by now.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle)
