"""Start the simulator: python -m billing.gateways.wechat.simulator --port 8120 --secure-port 8121 …

Two ports, one application behind both: `--port` speaks HTTP (v2, v3, the payer's pages and
/_control), `--secure-port` speaks TLS and takes the merchant's client certificate, without which
/secapi/pay/refund answers 400.

`--keys` names the folder of all keys and secrets. What is missing there is made at the start, what
is there is used, and nothing secret is ever an argument; see `keys.py` for the names. `--journal`
is the books; the same file after a restart is the same WeChat Pay.
"""

import argparse
import logging
import threading
from pathlib import Path

import waitress

from billing.gateways.wechat.simulator.app import create_app
from billing.gateways.wechat.simulator.keys import open_keys
from billing.gateways.wechat.simulator.settings import MODES, Settings
from billing.gateways.wechat.simulator.state import build
from billing.gateways.wechat.simulator.tls import SecureServer

HOST = "127.0.0.1"


def main() -> None:
    """Serve until killed. Prints one line when it listens."""
    asked = _arguments().parse_args()
    # What breaks off an answer on order is no news, and neither is a full queue of slow ones.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    keys = open_keys(asked.keys, mch_id=asked.mch_id)
    simulator = build(
        app_id=asked.app_id,
        mch_id=asked.mch_id,
        plan_id=asked.plan_id,
        merchant_name=asked.merchant_name,
        base_url=asked.base_url or f"http://{HOST}:{asked.port}",
        journal=asked.journal,
        keys=keys,
        settings=_settings(asked),
    )
    app = create_app(simulator)
    secure = SecureServer(HOST, asked.secure_port, app, keys.tls())
    threading.Thread(target=secure.serve_forever, name="secure", daemon=True).start()
    server = waitress.create_server(
        app, host=HOST, port=asked.port, threads=asked.threads, connection_limit=1000
    )
    print(  # noqa: T201
        f"wechat simulator on http://{HOST}:{asked.port} and https://{HOST}:{asked.secure_port}",
        flush=True,
    )
    server.run()


def _settings(asked: argparse.Namespace) -> Settings:
    return Settings(
        mode=asked.mode,
        contract_notify_url=asked.contract_notify_url,
        refund_notify_url=asked.refund_notify_url,
        auto_agree=asked.auto_agree,
        enforce_hours=not asked.any_hour,
        one_contract_per_payer=asked.one_contract_per_payer,
    )


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m billing.gateways.wechat.simulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, required=True, help="HTTP")
    parser.add_argument("--secure-port", type=int, required=True, help="TLS, for refunds")
    parser.add_argument("--journal", type=Path, required=True, help="JSONL, kept over restarts")
    parser.add_argument("--keys", type=Path, required=True, help="folder; made if missing")
    parser.add_argument("--mode", choices=MODES, default="24h", help="what the template allows")
    parser.add_argument("--contract-notify-url", default="", help="where endings are told")
    parser.add_argument("--refund-notify-url", default="", help="if a refund names no address")
    parser.add_argument("--auto-agree", action="store_true", help="sign without asking")
    parser.add_argument("--any-hour", action="store_true", help="not only 07:00-22:00 Beijing")
    parser.add_argument("--one-contract-per-payer", action="store_true", help="as the real one")
    parser.add_argument("--base-url", default="", help="as browsers see it, if not this port")
    parser.add_argument("--app-id", default="wxd678efh567hg6787")
    parser.add_argument("--mch-id", default="1230000109")
    parser.add_argument("--plan-id", default="12535")
    parser.add_argument("--merchant-name", default="Keepline 续线")
    parser.add_argument("--threads", type=int, default=16)
    return parser


if __name__ == "__main__":
    main()
