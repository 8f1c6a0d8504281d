"""Start the simulator: python -m billing.gateways.stripe.simulator --port 8111 --journal FILE …"""

import argparse
import logging
from pathlib import Path

import waitress

from billing.gateways.stripe.simulator.app import create_app
from billing.gateways.stripe.simulator.state import build

HOST = "127.0.0.1"


def main() -> None:
    """Serve until killed. Prints one line when it listens."""
    asked = _arguments().parse_args()
    # What breaks off an answer on order is no news, and neither is a full queue of slow ones.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    simulator = build(
        secret_key=asked.secret_key,
        webhook_url=asked.webhook_url,
        webhook_secrets=asked.webhook_secret,
        merchant_name=asked.merchant_name,
        base_url=asked.base_url or f"http://{HOST}:{asked.port}",
        reference_keys=(asked.reference_key, asked.refund_key),
        journal=asked.journal,
    )
    simulator.auto_agree = asked.auto_agree
    server = waitress.create_server(
        create_app(simulator),
        host=HOST,
        port=asked.port,
        threads=asked.threads,
        connection_limit=1000,
    )
    print(f"stripe simulator on http://{HOST}:{asked.port}", flush=True)  # noqa: T201
    server.run()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m billing.gateways.stripe.simulator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True, help="JSONL, kept over restarts")
    parser.add_argument("--secret-key", required=True, help="what callers must know: sk_test_…")
    parser.add_argument("--webhook-url", default="", help="where events are posted")
    parser.add_argument(
        "--webhook-secret", action="append", default=[], help="whsec_…; given twice, both sign"
    )
    parser.add_argument("--base-url", default="", help="as browsers see it, if not this port")
    parser.add_argument("--merchant-name", default="Keepline 续线")
    parser.add_argument("--reference-key", default="keepline_ref", help="metadata of a charge")
    parser.add_argument("--refund-key", default="keepline_refund", help="metadata of a refund")
    parser.add_argument("--auto-agree", action="store_true", help="set up without asking")
    parser.add_argument("--threads", type=int, default=16)
    return parser


if __name__ == "__main__":
    main()
