"""The Flask application around one `Simulator`."""

from flask import Flask

from billing.gateways.wechat.simulator import deductions, refunding
from billing.gateways.wechat.simulator.control import control
from billing.gateways.wechat.simulator.pages import payer_pages
from billing.gateways.wechat.simulator.state import Simulator
from billing.gateways.wechat.simulator.v2 import v2
from billing.gateways.wechat.simulator.v3 import v3


def create_app(simulator: Simulator) -> Flask:
    """All its addresses, the same on both ports; and whatever waited at the last end goes on."""
    app = Flask(__name__)
    app.register_blueprint(v2(simulator))
    app.register_blueprint(v3(simulator))
    app.register_blueprint(payer_pages(simulator))
    app.register_blueprint(control(simulator))
    resume(simulator)
    return app


def resume(simulator: Simulator) -> None:
    """Put back on the agenda what was accepted and not settled, or sent and not acknowledged."""
    for order in list(simulator.books.orders.values()):
        if order.is_waiting:
            deductions.schedule(simulator, order)
    for refund in list(simulator.books.refunds.values()):
        if refund.status == "PROCESSING":
            refunding.schedule(simulator, refund)
    simulator.notifier.resume()
