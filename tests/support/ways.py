"""Sees which way requests take: those of views that went through the driver."""

from contextlib import contextmanager

from cassandra.query import BatchStatement, BoundStatement


@contextmanager
def driver_requests(ws):
    """Yield the list of those requests that go through the driver meanwhile: batches, and statements on a view's own table."""
    sent = []

    def began(future):
        statement = future.query
        if isinstance(statement, BatchStatement):
            sent.append("a batch")
        elif isinstance(statement, BoundStatement):
            text = statement.prepared_statement.query_string
            if "event_us" in text:
                sent.append(text)

    ws.session.add_request_init_listener(began)
    try:
        yield sent
    finally:
        ws.session.remove_request_init_listener(began)
