"""Fetches answers page by page, each page with its own request.

The driver fetches a page with the future of the page before. Sent to two nodes, that one may be answered a second time,
late, and its rows would be taken for those of the next page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from feastra_nb.connection.cluster import Database


def pages(db: Database, request: Any, answer: Any, *, profile: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the pages of an answer to a request, each valid until the next is asked for."""
    while True:
        page, state = answer.current_rows, answer.paging_state
        yield page
        # The driver's timer keeps a request, and with it the rows, for as long as it might have timed out.
        page.clear()
        if state is None:
            return
        answer = db.send(request, profile, paging_state=state).result()


def all_rows(db: Database, request: Any, *, profile: str) -> Iterator[tuple[Any, ...]]:
    """Send a request and yield its rows, a page in memory at a time."""
    for page in pages(db, request, db.send(request, profile).result(), profile=profile):
        yield from page
