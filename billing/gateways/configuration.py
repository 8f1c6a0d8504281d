"""Which rails run, from the environment: all of a rail's settings, or the rail is off, and said.

A rail with none of its settings is simply not offered. One with some of them missing or unreadable
is *stopped*: the name of the setting is kept, shown by `manage.py check` and the admin, and the
other rails work.
"""

from collections.abc import Mapping
from typing import Any

from environs import FileAwareEnv

ALIPAY_REQUIRED = (
    "ALIPAY_APP_ID",
    "ALIPAY_SELLER_ID",
    "ALIPAY_PRIVATE_KEY",
    "ALIPAY_PUBLIC_KEY",
)
ALIPAY_OPTIONAL = {
    "ALIPAY_GATEWAY_URL": "https://openapi.alipay.com/gateway.do",
    # Which product a merchant holds differs between merchants: design/payments.md §1.1.
    "ALIPAY_PRODUCT_CODE": "GENERAL_WITHHOLDING",
    "ALIPAY_PERSONAL_PRODUCT_CODE": "GENERAL_WITHHOLDING_P",
    "ALIPAY_SIGN_SCENE": "INDUSTRY|MOBILE",
    "ALIPAY_MAX_CHARGE_MINOR": "",
    # 周期扣款 (CYCLE_PAY_AUTH) needs a rhythm; a 商家扣款 contract may ask for one too.
    "ALIPAY_PERIOD_TYPE": "",  # DAY or MONTH
    "ALIPAY_PERIOD": "",
    "ALIPAY_PERIOD_EARLY_DAYS": "3",
    "ALIPAY_TOTAL_AMOUNT_MINOR": "",
    "ALIPAY_TOTAL_PAYMENTS": "",
    "ALIPAY_SIGN_CHANNEL": "ALIPAYAPP",  # or QRCODE, QRCODEORSMS
    "ALIPAY_SIGN_VALIDITY": "",  # "" long-term, else "365d" or "12m"
    "ALIPAY_ASYNC_TYPE": "",  # NORMAL_ASYNC or NEAR_REAL_TIME_ASYNC
    "ALIPAY_ASYNC_RETRY": "NONE_AND_CLOSETRADE",
    "ALIPAY_TRADE_TIMEOUT": "1d",  # how long an unpaid trade stays open
}


def rails_from(env: FileAwareEnv) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """The configured rails by code, and for each rail stopped, the sentence that says why."""
    rails: dict[str, Mapping[str, Any]] = {}
    stopped: dict[str, str] = {}
    for rail, required, optional in (("alipay", ALIPAY_REQUIRED, ALIPAY_OPTIONAL),):
        values = {name: env.str(name, "") for name in required}
        missing = [name for name, value in values.items() if not value]
        if len(missing) == len(required):
            continue
        if missing:
            stopped[rail] = f"{', '.join(missing)} must be set (or {missing[0]}_FILE)."
            continue
        rails[rail] = values | {name: env.str(name, default) for name, default in optional.items()}
    return rails, stopped
