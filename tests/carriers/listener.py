"""Where an operator's events arrive: a real HTTP server that keeps what it was sent."""

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Listener:
    """`answers` are the statuses it gives, in order; then 200."""

    def __init__(self) -> None:
        self.arrived: queue.Queue = queue.Queue()
        self.answers: list[int] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.arrived.put((dict(self.headers), body))
                self.send_response(listener.answers.pop(0) if listener.answers else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self):
        return self.arrived.get(timeout=20)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
