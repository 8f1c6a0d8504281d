"""The secure port: TLS with a client certificate, which waitress cannot do."""

import logging
import socket
import ssl
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

log = logging.getLogger(__name__)
_PATIENCE_S = 30


class SecureServer(ThreadedWSGIServer):
    """Shakes hands in the connection's own thread, so that a silent client holds up nobody."""

    def __init__(self, host: str, port: int, app: Any, context: ssl.SSLContext) -> None:
        super().__init__(host, port, app, _QuietHandler)
        self._tls = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        raw: socket.socket = request
        raw.settimeout(_PATIENCE_S)
        with self._tls.wrap_socket(raw, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handshake that failed or a client that left: no news."""
        log.debug("a secure connection failed", exc_info=True)


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Not one line a request."""
