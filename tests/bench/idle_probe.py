"""Started by `idle` inside an installation: pushes low balances, prints how long each took."""

import json
import sys
import time

import django

django.setup()

import requests
from django.conf import settings
from django.utils import timezone

from billing import gateways
from billing.bindings import lifecycle
from billing.models import Binding, PaymentAttempt, Rail
from billing.rules import readings
from billing.rules.balances import Reading
from lines.models import Line
from portal.demo.cast import RICH
from tests import world as w


def main(pushes: int) -> None:
    owner = w.person("probe")
    tool = _bind(owner)
    waits = []
    for number in range(pushes):
        line = _line(owner, number)
        rule = w.rule(line, binding=tool, max_per_month_minor=1_000_000)
        time.sleep(0.7)  # idle again
        waits.append(_push(rule.line_id))
    print(json.dumps(waits))


def _bind(owner: object) -> Binding:
    gateway = gateways.get("alipay")
    now = timezone.now()
    started = lifecycle.start(
        owner=owner,
        rail=Rail.objects.get(code="alipay"),
        return_url="http://127.0.0.1/",
        notify_url="",
        gateway=gateway,
        at=now,
    )
    asked = {
        "external_agreement_no": started.binding.ref,
        "product_code": "GENERAL_WITHHOLDING",
        "personal_product_code": "GENERAL_WITHHOLDING_P",
        "sign_scene": "INDUSTRY|MOBILE",
        "access_params": {"channel": "ALIPAYAPP"},
        "payer": RICH,
    }
    url = f"{settings.SIMULATORS['alipay']}/_control/agreements"
    requests.post(url, json=asked, timeout=30).raise_for_status()
    return lifecycle.refresh(binding=started.binding, gateway=gateway, at=now)


def _line(owner: object, number: int) -> Line:
    msisdn = f"+861380001{number:04d}"
    body = {"number": msisdn, "iccid": f"898600000001{number:07d}", "balance_minor": 1860}
    url = f"{settings.SIMULATORS['cmcc']}/_control/lines"
    requests.post(url, json=body, timeout=30).raise_for_status()
    return w.line(owner, msisdn=msisdn, balance_observed_at=timezone.now())


def _push(line_id: int) -> float:
    """From the commit of the reading to the commit of the charge's reference, in seconds."""
    now = timezone.now()
    readings.push(reading=Reading(line_id, 980, now), at=now)
    pushed = time.perf_counter()
    while not PaymentAttempt.objects.filter(recharge__line=line_id).exists():
        if time.perf_counter() - pushed > 30:
            raise SystemExit("nothing was charged within 30 s")
        time.sleep(0.005)
    return time.perf_counter() - pushed


if __name__ == "__main__":
    main(int(sys.argv[1]))
