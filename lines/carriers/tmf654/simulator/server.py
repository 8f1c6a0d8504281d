"""The operator as a web application, and the server that can hang up on a client."""

import socket
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import WSGITask

from lines.carriers.tmf654.simulator import api, documents, messages
from lines.carriers.tmf654.simulator.books import Books
from lines.carriers.tmf654.simulator.control import Control
from lines.carriers.tmf654.simulator.falsification import Falsification
from lines.carriers.tmf654.simulator.faults import FaultPlan, respond
from lines.carriers.tmf654.simulator.hub import Hub

_TICK_S = 0.05


def application(*, books: Books, plan: FaultPlan, token: str, hub_secret: str) -> Flask:
    hub = Hub(books=books, plan=plan, secret=hub_secret)
    books.announce = hub.announce
    falsification = Falsification()
    app = Flask(__name__)
    operator = api.Operator(books=books, plan=plan, falsification=falsification)
    app.register_blueprint(api.blueprint(operator, token=token))
    app.register_blueprint(messages.sms_api(books=books, plan=plan, token=token))
    app.register_blueprint(messages.pages(books))
    control = Control(books=books, plan=plan, falsification=falsification)
    app.register_blueprint(control.blueprint())
    for status, code in ((404, "unknownPath"), (405, "notAllowed")):
        app.register_error_handler(status, _in_the_protocol(code, status))
    return app


def serve(app: Flask, *, host: str, port: int, books: Books, ready: Callable[[int], None]) -> None:
    """Serve until the process ends. `ready` is told the port, once it is open."""
    server = create_server(
        app, host=host, port=port, threads=32, channel_timeout=300, connection_limit=900
    )
    server.channel_class = _Channel
    stop = threading.Event()
    threading.Thread(target=_keep_settling, args=(books, stop), daemon=True).start()
    ready(int(server.effective_port))
    try:
        server.run()
    finally:
        stop.set()


class _Task(WSGITask):  # type: ignore[misc]
    """A request whose handler may close the connection under the client, without a word."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["simulator.hang_up"] = self._hang_up
        return environ

    def _hang_up(self) -> None:
        self.close_on_finish = True
        self.channel.socket.shutdown(socket.SHUT_RDWR)


class _Channel(HTTPChannel):  # type: ignore[misc]
    task_class = _Task


def _keep_settling(books: Books, stop: threading.Event) -> None:
    while not stop.wait(_TICK_S):
        books.settle()


def _in_the_protocol(code: str, status: int) -> Any:
    def handler(problem: Any) -> Any:
        response = respond(documents.error(code, "This operator does not offer this.", status))
        if getattr(problem, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(problem.valid_methods))
        return response

    return handler
