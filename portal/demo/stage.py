"""Files and programs of the demo: keys, `local.env`, and what is started in which order."""

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from portal.demo.cast import SPARE
from portal.supervision.process_group import ProcessGroup
from portal.supervision.processes import Processes, answers, logs, refuse_taken

APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"
WECHAT = {"app-id": "wxd678efh567hg6787", "mch-id": "1230000109", "plan-id": "12535"}
RAILS = ("alipay", "wechat", "stripe")
CARRIERS = ("cmcc", "cucc", "ctcc")
# In mainland China each automatic charge is told a day ahead; the third, of Hong Kong, charges what
# is low at once, so that a visitor sees both.
OF_THE_MAINLAND = ("cmcc", "ctcc")
# A day's usage in two minutes: balances run low while one watches.
USAGE_SPEED = 720


@dataclass(frozen=True)
class Stage:
    """Where the demo lives. Ports follow the web's, so that two demos need only another PORT."""

    var_dir: Path
    port: int

    @property
    def folder(self) -> Path:
        return self.var_dir / "demo"

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alipay_url(self) -> str:
        return f"http://127.0.0.1:{self.port + 101}"

    @property
    def carrier_urls(self) -> dict[str, str]:
        """Each carrier has a system, and so books, of its own."""
        ports = range(self.port + 102, self.port + 102 + len(CARRIERS))
        return {
            code: f"http://127.0.0.1:{port}" for code, port in zip(CARRIERS, ports, strict=True)
        }

    @property
    def wechat_url(self) -> str:
        return f"http://127.0.0.1:{self.port + 105}"

    @property
    def wechat_secure_url(self) -> str:
        """Where refunds go: TLS, with the merchant's certificate."""
        return f"https://127.0.0.1:{self.port + 106}"

    @property
    def stripe_url(self) -> str:
        return f"http://127.0.0.1:{self.port + 107}"

    @property
    def rail_urls(self) -> dict[str, str]:
        return dict(zip(RAILS, (self.alipay_url, self.wechat_url, self.stripe_url), strict=True))

    def _secret(self, name: str, *, prefix: str = "") -> str:
        """Made once. 32 characters after the prefix: WeChat's keys are just that long."""
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(prefix + secrets.token_hex(16))
            path.chmod(0o600)
        return path.read_text()

    def refuse_taken_ports(self) -> None:
        """Raise PortTaken now, and not after the minutes that the sample data take."""
        urls = (self.web_url, *self.rail_urls.values(), *self.carrier_urls.values())
        for url in (*urls, self.wechat_secure_url):
            refuse_taken(url)

    # --- sample data --------------------------------------------------------------------------

    def begin_sample_data(self) -> None:
        """To be told later whether they were ever finished; those that were stay so."""
        if not self._mark.exists():
            self._mark.write_text("begun")

    def end_sample_data(self) -> None:
        self._mark.write_text("done")

    @property
    def is_half_made(self) -> bool:
        """Whether the last start was cut short among them: half a past is worse than none."""
        return self._mark.exists() and self._mark.read_text() == "begun"

    @property
    def _mark(self) -> Path:
        return self.folder / "sample-data"

    # --- files --------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the keys once, and write `local.env`, which every command here then reads."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("merchant", "alipay"):
            self._make_keys(name)
        (self.var_dir / "local.env").write_text(
            "".join(f"{name}={value}\n" for name, value in self.environment().items())
        )

    def environment(self) -> dict[str, str]:
        """The demo's settings. Like any installation's, but for the simulators' addresses."""
        tokens = ",".join(f"{code}={self._secret('carrier-token')}" for code in CARRIERS)
        simulators = {**self.rail_urls, **self.carrier_urls}
        return {
            "PORT": str(self.port),
            "KEEPLINE_PUBLIC_URL": self.web_url,
            "KEEPLINE_ADMIN_MFA": "false",
            "ALIPAY_APP_ID": APP_ID,
            "ALIPAY_SELLER_ID": SELLER_ID,
            "ALIPAY_GATEWAY_URL": f"{self.alipay_url}/gateway.do",
            "ALIPAY_PRIVATE_KEY_FILE": str(self.folder / "merchant.pem"),
            "ALIPAY_PUBLIC_KEY_FILE": str(self.folder / "alipay.pub.pem"),
            **self._wechat(),
            "STRIPE_SECRET_KEY": self._secret("stripe-key", prefix="sk_test_"),
            "STRIPE_WEBHOOK_SECRET": self._secret("stripe-webhook", prefix="whsec_"),
            "STRIPE_API_URL": self.stripe_url,
            "CARRIER_TOKENS": tokens,
            "CARRIER_HUB_SECRET": self._secret("hub-secret"),
            "KEEPLINE_SIMULATORS": ",".join(f"{k}={url}" for k, url in simulators.items()),
            "SMS_CARRIER": SPARE[0].carrier,  # it texts its own numbers alone
        }

    def _wechat(self) -> dict[str, str]:
        """The simulator makes what is missing in its folder; the key is read sooner than that."""
        keys = self.folder / "wechat"
        self._secret("wechat/api_v2_key.txt")
        return {
            "WECHAT_APP_ID": WECHAT["app-id"],
            "WECHAT_MCH_ID": WECHAT["mch-id"],
            "WECHAT_PLAN_ID": WECHAT["plan-id"],
            "WECHAT_API_V2_KEY_FILE": str(keys / "api_v2_key.txt"),
            "WECHAT_CLIENT_CERT_PATH": str(keys / "apiclient_cert.pem"),
            "WECHAT_CLIENT_KEY_PATH": str(keys / "apiclient_key.pem"),
            "WECHAT_CA_PATH": str(keys / "ca.pem"),
            "WECHAT_API_URL": self.wechat_url,
            "WECHAT_SECURE_API_URL": self.wechat_secure_url,
        }

    def _make_keys(self, name: str) -> None:
        private, public = self.folder / f"{name}.pem", self.folder / f"{name}.pub.pem"
        if private.exists():
            return
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        public.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    # --- programs -----------------------------------------------------------------------------

    def start_simulators(self, run: Processes) -> None:
        """The rails and the carriers, each with its own journal in the demo's folder."""
        self._start_alipay(run)
        self._start_wechat(run)
        self._start_stripe(run)
        for code, url in self.carrier_urls.items():
            self._start_carrier(run, code, url)

    def _start_alipay(self, run: Processes) -> None:
        run.start(
            "alipay",
            [
                *_python("billing.gateways.alipay.simulator"),
                *("--port", str(self.port + 101)),
                *("--journal", str(self.folder / "alipay.jsonl")),
                *("--merchant-public-key", str(self.folder / "merchant.pub.pem")),
                *("--private-key", str(self.folder / "alipay.pem")),
                *("--app-gateway-url", f"{self.web_url}/hooks/alipay/gateway"),
                *("--app-id", APP_ID, "--seller-id", SELLER_ID),
            ],
            ready=answers(f"{self.alipay_url}/_control/health"),
        )

    def _start_wechat(self, run: Processes) -> None:
        hook = f"{self.web_url}/hooks/wechat/notify"
        run.start(
            "wechat",
            [
                *_python("billing.gateways.wechat.simulator"),
                *("--port", str(self.port + 105), "--secure-port", str(self.port + 106)),
                *("--journal", str(self.folder / "wechat.jsonl")),
                *("--keys", str(self.folder / "wechat")),
                *("--contract-notify-url", hook, "--refund-notify-url", hook),
                *(word for name, value in WECHAT.items() for word in (f"--{name}", value)),
            ],
            ready=answers(f"{self.wechat_url}/_control/health"),
        )

    def _start_stripe(self, run: Processes) -> None:
        run.start(
            "stripe",
            [
                *_python("billing.gateways.stripe.simulator"),
                *("--port", str(self.port + 107)),
                *("--journal", str(self.folder / "stripe.jsonl")),
                f"--secret-key={self._secret('stripe-key')}",
                f"--webhook-secret={self._secret('stripe-webhook')}",
                *("--webhook-url", f"{self.web_url}/hooks/stripe/notify"),
            ],
            ready=answers(f"{self.stripe_url}/_control/health"),
        )

    def _start_carrier(self, run: Processes, code: str, url: str) -> None:
        run.start(
            code,
            [
                *_python("lines.carriers.tmf654.simulator"),
                *("--port", url.rsplit(":", 1)[1]),
                *("--journal", str(self.folder / f"{code}.jsonl")),
                # One word each: a secret may begin with a dash.
                f"--token={self._secret('carrier-token')}",
                f"--hub-secret={self._secret('hub-secret')}",
                *("--usage-speed", str(USAGE_SPEED), "--seed", "20261122"),
            ],
            ready=answers(f"{url}/_control/health"),
        )

    def start_web(self, run: Processes) -> ProcessGroup:
        return run.start(
            "web",
            [
                *_python("gunicorn"),
                *("portal.wsgi", "--bind", f"127.0.0.1:{self.port}"),
                *("--workers", "2", "--threads", "4", "--access-logfile", "-"),
                # Without queries: what an operator searches for may be a number.
                *("--access-logformat", '%(t)s "%(m)s %(U)s" %(s)s %(b)s %(M)sms'),
            ],
            env=self._child_environment(),
            ready=answers(f"{self.web_url}/account/login/"),
            timeout_s=60,
        )

    def start_workers(self, run: Processes) -> ProcessGroup:
        return run.start(
            "workers",
            [sys.executable, "manage.py", "run_workers"],
            env=self._child_environment(),
            ready=logs('up cluster="money"'),
            timeout_s=60,
        )

    def manage(self, *command: str) -> list[str]:
        return [sys.executable, "manage.py", *command]

    def child_environment(self) -> dict[str, str]:
        """Ours, with the demo's settings: a command started by hand reads them from local.env."""
        return {**os.environ, **self._child_environment()}

    def _child_environment(self) -> dict[str, str]:
        return {
            **self.environment(),
            "KEEPLINE_VAR_DIR": str(self.var_dir),
            "DJANGO_SETTINGS_MODULE": "portal.settings",
        }


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", module]
