"""The Flask application around one `Simulator`."""

from flask import Flask

from billing.gateways.alipay.simulator.control import control
from billing.gateways.alipay.simulator.gateway import gateway
from billing.gateways.alipay.simulator.methods import resume
from billing.gateways.alipay.simulator.pages import payer_pages
from billing.gateways.alipay.simulator.state import Simulator


def create_app(simulator: Simulator) -> Flask:
    """All its addresses: /gateway.do, the bills' download, /consent, /app, /_control."""
    app = Flask(__name__)
    app.register_blueprint(gateway(simulator))
    app.register_blueprint(payer_pages(simulator))
    app.register_blueprint(control(simulator))
    resume(simulator)
    return app
