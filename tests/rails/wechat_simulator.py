"""A WeChat Pay as a real process on free ports.

    wechat = start_wechat(tmp_path)
    gateway = WechatGateway.from_settings(wechat.settings(), timeout_s=10)
    wechat.fault("pappayapply", "lose_after")
    wechat.journal("charge")          # what really happened
    wechat.stop()

Used by the rail's tests, the end-to-end tests and the chaos driver. `journal` reads the simulator's
own file, so it tells the truth after a kill too.
"""

import functools
import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from billing.gateways.wechat.simulator.keys import open_keys
from tests.forks import Fork
from tests.rails.processes import SimulatorProcess, free_port

RICH, POOR, FROZEN, LIMITED = (
    "oUpF8uN95-Ptaags6E_roPHg7AG1",
    "oUpF8uMEb4qRXf22hE3X68TekuK2",
    "oUpF8uMuAJO_M2pxb1Q9zNjWeS63",
    "oUpF8uD3xT9bQm5vW2kLhYpRzN74",
)
DAY_S = 24 * 3600


@functools.cache
def session_keys(mch_id: str) -> Path:
    """A folder of keys, made once a process, for making them is slow. Copied for every start."""
    folder = Path(tempfile.mkdtemp(prefix="wechat-keys-"))
    open_keys(folder, mch_id=mch_id)
    return folder


@dataclass
class WechatSimulator(SimulatorProcess):
    """A running WeChat Pay. Stop it, or use it as a context manager."""

    rail: ClassVar[str] = "wechat"

    directory: Path
    port: int
    secure_port: int
    arguments: tuple[str, ...] = ()
    app_id: str = "wxd678efh567hg6787"
    mch_id: str = "1230000109"
    plan_id: str = "12535"
    process: Fork | None = None

    @property
    def secure_url(self) -> str:
        return f"https://127.0.0.1:{self.secure_port}"

    @property
    def keys(self) -> Path:
        return self.directory / "wechat-keys"

    def key(self, name: str) -> str:
        """The text of one file of the keys' folder."""
        return (self.keys / name).read_text().strip()

    @property
    def serials(self) -> dict[str, str]:
        """merchant_serial, platform_serial, public_key_id."""
        return dict(json.loads(self.key("merchant.json")))

    def settings(self, **changes: str) -> dict[str, str]:
        """What the adapter is built from; `changes` are WECHAT_* names."""
        return {
            "WECHAT_APP_ID": self.app_id,
            "WECHAT_MCH_ID": self.mch_id,
            "WECHAT_PLAN_ID": self.plan_id,
            "WECHAT_API_V2_KEY": self.key("api_v2_key.txt"),
            "WECHAT_API_V3_KEY": self.key("api_v3_key.txt"),
            "WECHAT_MERCHANT_PRIVATE_KEY": self.key("apiclient_key.pem"),
            "WECHAT_MERCHANT_SERIAL": self.serials["merchant_serial"],
            "WECHAT_PLATFORM_PUBLIC_KEY": self.key("platform_pub.pem"),
            "WECHAT_PLATFORM_SERIAL": self.serials["public_key_id"],
            "WECHAT_CLIENT_CERT_PATH": str(self.keys / "apiclient_cert.pem"),
            "WECHAT_CLIENT_KEY_PATH": str(self.keys / "apiclient_key.pem"),
            "WECHAT_API_URL": self.url,
            "WECHAT_SECURE_API_URL": self.secure_url,
            "WECHAT_CA_PATH": str(self.keys / "ca.pem"),
        } | changes

    def own_arguments(self) -> list[str]:
        if not self.keys.exists():
            shutil.copytree(session_keys(self.mch_id), self.keys)
        arguments = ["--secure-port", str(self.secure_port), "--keys", str(self.keys)]
        arguments += ["--app-id", self.app_id, "--mch-id", self.mch_id]
        return [*arguments, "--plan-id", self.plan_id]

    def calm(self) -> None:
        """No more faults, honest bills."""
        self.control("DELETE", "faults")
        self.control("DELETE", "bills")

    def as_it_began(self) -> None:
        """No faults, honest bills, the vendor's own rules but for the hours, its payers as rich or
        poor as they began, and a new day."""
        self.calm_again()
        self.set(
            mode="24h",
            enforce_hours=False,
            refund_delay_s=1,
            max_charge_minor=500_00,
            max_day_minor=2_500_00,
            max_charges_per_day=0,
            max_attempts_per_day=300,
            one_in_flight=True,
            one_contract_per_payer=False,
            merchant_balance_minor=-1,
            contract_notify_url="",
            refund_notify_url="",
            demands_hmac=False,
            tells_why=True,
            hides_waiting_orders=False,
            odd_failures=False,
            is_silent=False,
            notifies_by_v3=False,
            signs_with_certificate=False,
            bill_has_bom=True,
            auto_agree=False,
        )
        self.payer(RICH, balance_minor=10**9, daily_limit_minor=10**9, is_frozen=False)
        self.payer(POOR, balance_minor=12_00)
        self.advance(DAY_S)

    def relax(self) -> None:
        """No limits in a day, many deductions at once, refunds settled on the spot: for tests that
        are about something else."""
        self.set(
            max_day_minor=10**9,
            max_charges_per_day=10**6,
            max_attempts_per_day=10**6,
            one_in_flight=False,
            refund_delay_s=0,
        )

    def payer(self, openid: str, **changes: object) -> None:
        """Set `balance_minor`, `is_frozen`, `daily_limit_minor`."""
        self.control("POST", f"payers/{openid}", changes)

    def agree(self, binding_ref: str, *, payer: str = RICH, **content: object) -> str:
        """Sign a contract without a browser; its contract_id."""
        asked = {"contract_code": binding_ref, "payer": payer, **content}
        return str(self.control("POST", "contracts", asked)["contract_id"])

    def contract(self, contract_id: str) -> dict[str, Any]:
        """A contract as querycontract tells it, asked behind the adapter's back."""
        told = self.control("GET", "contracts")["contracts"]
        return next(one for one in told if one["contract_id"] == contract_id)

    def revoke(self, contract_id: str) -> None:
        """The payer ends it in the wallet."""
        self.control("POST", f"contracts/{contract_id}/revoke", {})

    def expire(self, contract_id: str, *, in_s: int = 0) -> None:
        """The contract runs out, and nobody is told."""
        self.control("POST", f"contracts/{contract_id}/expire", {"in_s": in_s})

    def age(self, contract_id: str, *, by_s: int = DAY_S) -> None:
        """It was signed earlier: no longer one of the first 12 hours."""
        self.control("POST", f"contracts/{contract_id}/age", {"by_s": by_s})

    def now(self) -> datetime:
        """Its time, in Beijing."""
        written = self.control("GET", "health")["now"]
        return datetime.fromisoformat(written).replace(tzinfo=ZoneInfo("Asia/Shanghai"))


def start_wechat(
    directory: Path, *, port: int = 0, mode: str = "24h", arguments: tuple[str, ...] = ()
) -> WechatSimulator:
    """Start a WeChat Pay whose journal, keys and log lie in `directory`, open at any hour."""
    simulator = WechatSimulator(
        directory=directory,
        port=port or free_port(),
        secure_port=free_port(),
        arguments=("--mode", mode, "--any-hour", *arguments),
    )
    return simulator.start()
