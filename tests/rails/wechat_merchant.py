"""A merchant that speaks to the simulator without the adapter.

Its v2 signatures are wechatpy's and its v3 ones wechatpayv3's, so that what the simulator accepts
and sends is judged by somebody else's code.
"""

import http.server
import json
import queue
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests
from defusedxml.ElementTree import fromstring
from wechatpayv3.utils import build_authorization, load_private_key
from wechatpy.pay.utils import calculate_signature, calculate_signature_hmac

from tests.rails.contract import new_ref
from tests.rails.wechat_simulator import DAY_S, WechatSimulator

ACKNOWLEDGED = "<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>"
_TIMEOUT_S = 10


def message(fields: dict[str, str]) -> bytes:
    """One flat XML message."""
    inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    return f"<xml>{inner}</xml>".encode()


def fields_of(raw: bytes) -> dict[str, str]:
    """The other way round."""
    return {element.tag: element.text or "" for element in fromstring(raw)}


@dataclass
class Caught:
    """Notifications with their headers, as v3's need. Acknowledged as they come."""

    received: "queue.SimpleQueue[tuple[dict[str, str], bytes]]"
    url: str

    def wait_for(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        """The next `count`. Raises queue.Empty if they do not come."""
        return [self.received.get(timeout=_TIMEOUT_S) for _ in range(count)]


@contextmanager
def caught() -> Iterator[Caught]:
    """A server for the length of a test."""
    received: queue.SimpleQueue[tuple[dict[str, str], bytes]] = queue.SimpleQueue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            received.put((dict(self.headers), body))

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield Caught(received, f"http://127.0.0.1:{server.server_address[1]}/notify")
    server.shutdown()
    server.server_close()


def old(wechat: WechatSimulator, **content: object) -> str:
    """A contract past its first twelve hours; its contract_id."""
    contract_id = wechat.agree(new_ref("B"), **content)  # type: ignore[arg-type]
    wechat.age(contract_id)
    return contract_id


def move_to(wechat: WechatSimulator, hour: int, minute: int = 0) -> None:
    """On to the next time that it is that late in Beijing."""
    now = wechat.now()
    then = now.replace(hour=hour, minute=minute, second=0)
    wechat.advance(int((then - now).total_seconds()) % DAY_S + 1)


@dataclass
class Merchant:
    """Calls of one merchant. `sign_type` is how it signs v2."""

    wechat: WechatSimulator
    sign_type: str = "MD5"

    @property
    def own(self) -> dict[str, str]:
        return {"appid": self.wechat.app_id, "mch_id": self.wechat.mch_id}

    # --- v2 -----------------------------------------------------------------------------------

    def signature(self, fields: dict[str, str], *, key: str = "") -> str:
        key = key or self.wechat.key("api_v2_key.txt")
        given = {name: value for name, value in fields.items() if value and name != "sign"}
        if given.get("sign_type", self.sign_type) == "HMAC-SHA256":
            return str(calculate_signature_hmac(given, key))
        return str(calculate_signature(given, key))

    def signed(self, fields: dict[str, str], *, key: str = "") -> dict[str, str]:
        whole = {**self.own, "nonce_str": secrets.token_hex(16), **fields}
        if self.sign_type != "MD5":
            whole["sign_type"] = self.sign_type
        whole = {name: value for name, value in whole.items() if value}
        return whole | {"sign": self.signature(whole, key=key)}

    def call(self, path: str, fields: dict[str, str], *, key: str = "") -> dict[str, str]:
        """The answer's fields; its signature is checked if it has one, and must have one."""
        answer = self.send(path, message(self.signed(fields, key=key)))
        assert answer["sign"] == self.signature(answer), "the answer is not signed"
        return answer

    def send(self, path: str, body: bytes) -> dict[str, str]:
        """Post anything; the answer's fields."""
        response = requests.post(f"{self.wechat.url}{path}", data=body, timeout=_TIMEOUT_S)
        assert response.status_code == 200, response.text
        return fields_of(response.content)

    def refund(self, **fields: str) -> dict[str, str]:
        """Over the secure port, showing the certificate."""
        keys = self.wechat.keys
        with requests.Session() as session:
            session.trust_env = False  # else an environment's CA bundle would win over `verify`
            response = session.post(
                f"{self.wechat.secure_url}/secapi/pay/refund",
                data=message(self.signed({"out_refund_no": new_ref("F"), **fields})),
                cert=(str(keys / "apiclient_cert.pem"), str(keys / "apiclient_key.pem")),
                verify=str(keys / "ca.pem"),
                timeout=_TIMEOUT_S,
            )
        return fields_of(response.content)

    def code(self, path: str, fields: dict[str, str]) -> str:
        """The err_code of a signed answer, "SUCCESS" if it has none."""
        answer = self.call(path, fields)
        return answer.get("err_code") or answer["result_code"]

    def apply(self, contract_id: str, **changes: str) -> str:
        """pappayapply: its code."""
        return self.code("/pay/pappayapply", self.order(contract_id, **changes))

    def order(self, contract_id: str, **changes: str) -> dict[str, str]:
        values = {
            "body": "话费充值",
            "out_trade_no": new_ref(),
            "total_fee": "5000",
            "spbill_create_ip": "127.0.0.1",
            "notify_url": "http://127.0.0.1:9/nobody",
            "trade_type": "PAP",
            "contract_id": contract_id,
        }
        return values | changes

    def paid(self, contract_id: str, **changes: str) -> str:
        """The number of an order that was paid."""
        order = self.order(contract_id, **changes)
        assert self.code("/pay/pappayapply", order) == "SUCCESS"
        assert self.state(order["out_trade_no"]) == "SUCCESS"
        return order["out_trade_no"]

    def state(self, out_trade_no: str) -> str:
        """trade_state, or the err_code of a query that finds nothing."""
        answer = self.call("/pay/orderquery", {"out_trade_no": out_trade_no})
        return answer.get("trade_state") or answer["err_code"]

    def page(self, path: str, **changes: str) -> str:
        """A signed address of a signing page."""
        return f"{self.wechat.url}{path}?{urlencode(self.consent(path, **changes))}"

    def consent(self, path: str, **changes: str) -> dict[str, str]:
        """What asks for a contract, signed as that address demands."""
        fields = self.own | {
            "plan_id": self.wechat.plan_id,
            "contract_code": new_ref("B"),
            "request_serial": "1695382011",
            "contract_display_account": "138****0000",
            "notify_url": "http://127.0.0.1:9/nobody",
            "version": "1.0",
            "timestamp": str(int(time.time())),
        }
        if path == "/papay/h5entrustweb":
            fields |= {"clientip": "127.0.0.1"}
        fields = {name: value for name, value in (fields | changes).items() if value}
        by_hmac = path == "/papay/h5entrustweb"
        signer = calculate_signature_hmac if by_hmac else calculate_signature
        return fields | {"sign": str(signer(fields, self.wechat.key("api_v2_key.txt")))}

    # --- v3 -----------------------------------------------------------------------------------

    def announce(self, contract_id: str, *, amount: Any = 5000, **changes: Any) -> tuple[int, str]:
        """预扣费通知: status and code."""
        body = {
            "mchid": self.wechat.mch_id,
            "appid": self.wechat.app_id,
            "estimated_amount": {"amount": amount, "currency": "CNY"},
        }
        response = self.v3(f"/v3/papay/contracts/{contract_id}/notify", body | changes)
        return response.status_code, response.json()["code"] if response.content else ""

    def v3(self, path: str, body: dict[str, Any], **changes: str) -> requests.Response:
        """A signed call; `changes` are put into the Authorization after signing."""
        text = json.dumps(body)
        authorization = build_authorization(
            path,
            "POST",
            self.wechat.mch_id,
            self.wechat.serials["merchant_serial"],
            load_private_key(self.wechat.key("apiclient_key.pem")),
            text,
        )
        for name, value in changes.items():
            before, _, rest = authorization.partition(f'{name}="')
            authorization = f'{before}{name}="{value}"{rest[rest.index(chr(34)) + 1 :]}'
        return requests.post(
            f"{self.wechat.url}{path}",
            data=text.encode(),
            headers={"Authorization": authorization, "Content-Type": "application/json"},
            timeout=_TIMEOUT_S,
        )
