"""A router that forwards TLS connections by the name they ask for, without opening them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress

HELLO_BYTES = 16_384  # at most, of the record that a client begins with
SERVER_NAME = 0


def server_name(record: bytes) -> str | None:
    """Return the server name of a ClientHello (RFC 8446 §4.1.2, RFC 6066 §3); None where there is none."""
    at = 5 + 4 + 2 + 32  # record, handshake, version, random
    at += 1 + record[at]  # session
    at += 2 + int.from_bytes(record[at : at + 2], "big")  # cipher suites
    at += 1 + record[at]  # compression
    end = at + 2 + int.from_bytes(record[at : at + 2], "big")
    at += 2
    while at < end:
        kind, length = int.from_bytes(record[at : at + 2], "big"), int.from_bytes(record[at + 2 : at + 4], "big")
        if kind == SERVER_NAME:
            return record[at + 4 + 5 : at + 4 + length].decode()
        at += 4 + length
    return None


@contextmanager
def router(nodes):
    """Forward connections that ask for a name to the (host, port) that it has in ``nodes``; yield the router's port."""
    loop = asyncio.new_event_loop()
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        head = await reader.readexactly(5)
        record = head + await reader.readexactly(min(int.from_bytes(head[3:5], "big"), HELLO_BYTES))
        node = nodes.get(server_name(record))
        if node is None:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection(*node)
        there_writer.write(record)
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    async def begin():
        return await asyncio.start_server(_quiet(serve), "127.0.0.1", 0)

    server = loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        for task in list(tasks):
            loop.call_soon_threadsafe(task.cancel)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def _quiet(serve):
    async def served(reader, writer):
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)

    return served


async def _pump(reader, writer):
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
