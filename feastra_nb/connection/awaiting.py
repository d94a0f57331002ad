"""The driver's futures, awaited: its event thread hands the answer to the asyncio loop, and no thread waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


async def rows_of(future: Any) -> list[Any]:
    """Return all rows of a driver's ``ResponseFuture``, further pages included; raises what the driver raises."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()
    rows: list[Any] = []

    def page(more: list[Any] | None) -> None:
        # Called by the driver once a page, in its event thread.
        rows.extend(more or ())
        if not future.has_more_pages:
            _settle(loop, answer, rows)
            return
        try:
            future.start_fetching_next_page()
        except Exception as error:  # noqa: BLE001 - raised here it would be lost, and the caller would wait for ever
            failed(error)

    def failed(error: Exception) -> None:
        _settle(loop, answer, error)

    future.add_callbacks(page, failed)
    return await answer


def _settle(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[Any]], outcome: list[Any] | Exception) -> None:
    def settle() -> None:
        if answer.done():  # the caller gave up
            return
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    # The caller may have closed its loop by now.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle)
