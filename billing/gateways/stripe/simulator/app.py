"""The Flask application around one `Simulator`."""

from flask import Flask

from billing.gateways.stripe.simulator.api import api
from billing.gateways.stripe.simulator.control import control
from billing.gateways.stripe.simulator.pages import payer_pages
from billing.gateways.stripe.simulator.paying import resume
from billing.gateways.stripe.simulator.state import Simulator


def create_app(simulator: Simulator) -> Flask:
    """All its addresses: /v1, the payer's pages /c/pay, /3ds and /wallet, /_control."""
    app = Flask(__name__)
    app.register_blueprint(api(simulator))
    app.register_blueprint(payer_pages(simulator))
    app.register_blueprint(control(simulator))
    resume(simulator)
    return app
