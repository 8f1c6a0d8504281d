"""Start the simulator: python -m billing.gateways.alipay.simulator --port 8110 --journal FILE …"""

import argparse
import logging
from pathlib import Path

import waitress

from billing.gateways.alipay.simulator.app import create_app
from billing.gateways.alipay.simulator.signatures import Seal
from billing.gateways.alipay.simulator.state import build

HOST = "127.0.0.1"


def main() -> None:
    """Serve until killed. Prints one line when it listens."""
    asked = _arguments().parse_args()
    # What breaks off an answer on order is no news, and neither is a full queue of slow ones.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    seal = Seal(private_key_file=asked.private_key, merchant_key_file=asked.merchant_public_key)
    simulator = build(
        app_id=asked.app_id,
        seller_id=asked.seller_id,
        merchant_name=asked.merchant_name,
        base_url=asked.base_url or f"http://{HOST}:{asked.port}",
        journal=asked.journal,
        seal=seal,
    )
    simulator.app_gateway_url = asked.app_gateway_url
    simulator.auto_agree = asked.auto_agree
    server = waitress.create_server(
        create_app(simulator),
        host=HOST,
        port=asked.port,
        threads=asked.threads,
        connection_limit=1000,
    )
    print(f"alipay simulator on http://{HOST}:{asked.port}", flush=True)  # noqa: T201
    server.run()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m billing.gateways.alipay.simulator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True, help="JSONL, kept over restarts")
    parser.add_argument("--merchant-public-key", type=Path, required=True, help="PEM file")
    parser.add_argument("--private-key", type=Path, required=True, help="Alipay's own, PEM file")
    parser.add_argument("--app-gateway-url", default="", help="where user unsigns are told")
    parser.add_argument("--base-url", default="", help="as browsers see it, if not this port")
    parser.add_argument("--app-id", default="2021000000000001")
    parser.add_argument("--seller-id", default="2088000000000001")
    parser.add_argument("--merchant-name", default="Keepline 续线")
    parser.add_argument("--auto-agree", action="store_true", help="sign without asking")
    parser.add_argument("--threads", type=int, default=16)
    return parser


if __name__ == "__main__":
    main()
