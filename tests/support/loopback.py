"""HTTP servers of the tests, on loopback."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """A handler that logs nothing; ``answer`` answers every GET and POST."""

    def answer(self):
        raise NotImplementedError

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def reply(self, status, content=b"", headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # callers that come at once; the default of five refuses some


@contextmanager
def serving(handler, context=None):
    """Serve until the end, over TLS where there is a context; yield the port."""
    server = _Server(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
