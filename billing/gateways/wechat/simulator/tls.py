"""The secure port: TLS with a client certificate, which waitress cannot do."""

import logging
import socket
import ssl

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

log = logging.getLogger(__name__)
_PATIENCE_S = 30


class SecureServer(ThreadedWSGIServer):
    """Shakes hands in the connection's own thread, so that a silent client holds up nobody."""

    def __init__(self, host: str, port: int, app: Flask, context: ssl.SSLContext) -> None:
        super().__init__(host, port, app, _QuietHandler)
        self._tls = context

    def finish_request(self, request: object, client_address: object) -> None:
        if not isinstance(request, socket.socket):
            raise TypeError("a connection is wanted")
        request.settimeout(_PATIENCE_S)
        with self._tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that failed or a client that left: no news."""
        log.debug("a secure connection failed", exc_info=True)


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Not one line a request."""
