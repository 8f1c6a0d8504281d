"""Which rails run, from the environment: all of a rail's settings, or the rail is off, and said.

A rail with none of its settings is simply not offered. One with some of them missing or unreadable
is *stopped*: the name of the setting is kept, shown by `manage.py check` and the admin, and the
other rails work.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from environs import FileAwareEnv


@dataclass(frozen=True, slots=True)
class Names:
    """One rail's settings: what it cannot do without, and what it assumes where nothing is said.

    What only *some* merchants need is optional here; the adapter's `from_settings` says so by a
    ValueError that names the setting.
    """

    required: tuple[str, ...]
    optional: Mapping[str, str]


RAILS: Mapping[str, Names] = {
    "alipay": Names(
        required=(
            "ALIPAY_APP_ID",
            "ALIPAY_SELLER_ID",
            "ALIPAY_PRIVATE_KEY",
            "ALIPAY_PUBLIC_KEY",
        ),
        optional={
            "ALIPAY_GATEWAY_URL": "https://openapi.alipay.com/gateway.do",
            # Which product a merchant holds differs between merchants: docs/rails.md.
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
        },
    ),
    "wechat": Names(
        required=(
            "WECHAT_APP_ID",
            "WECHAT_MCH_ID",
            "WECHAT_API_V2_KEY",
            "WECHAT_PLAN_ID",
            # Refunds need them, and a rail that takes money must be able to give it back.
            "WECHAT_CLIENT_CERT_PATH",
            "WECHAT_CLIENT_KEY_PATH",
        ),
        optional={
            "WECHAT_NOTICE_MODE": "24h",  # or notify, none: docs/rails.md
            # Required where the mode is notify.
            "WECHAT_API_V3_KEY": "",
            "WECHAT_MERCHANT_PRIVATE_KEY": "",
            "WECHAT_MERCHANT_SERIAL": "",
            "WECHAT_PLATFORM_PUBLIC_KEY": "",
            "WECHAT_PLATFORM_SERIAL": "",
            "WECHAT_API_URL": "https://api.mch.weixin.qq.com",
            "WECHAT_BACKUP_API_URL": "",
            "WECHAT_SECURE_API_URL": "",  # of refunds, where it is not the same
            "WECHAT_CA_PATH": "",
            "WECHAT_SIGN_TYPE": "HMAC-SHA256",  # or MD5
            "WECHAT_SIGN_PAGE": "h5",  # or official_account, app
            "WECHAT_SERVER_IP": "127.0.0.1",
            "WECHAT_MAX_CHARGE_MINOR": "50000",
            "WECHAT_MAX_CHARGES_PER_DAY": "",
            # How the vendor counts days is ambiguous in its text.
            "WECHAT_NOTICE_WAIT_DAYS": "2",
            "WECHAT_NOTICE_WINDOW_DAYS": "7",
        },
    ),
    "stripe": Names(
        required=("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"),
        optional={
            "STRIPE_WEBHOOK_SECRET_PREVIOUS": "",  # while the secret is rolled, both are good
            "STRIPE_API_URL": "https://api.stripe.com",
            "STRIPE_CURRENCIES": "cny,hkd,usd,eur",
            "STRIPE_STATEMENT_DESCRIPTOR_SUFFIX": "",  # on a card's statement, after our name
            # Where a payer comes back to who has confirmed with the bank, if a charge names none.
            "STRIPE_RETURN_URL": "",
            "STRIPE_MAX_CHARGE_MINOR": "",
        },
    ),
}


def rails_from(env: FileAwareEnv) -> tuple[dict[str, Mapping[str, str]], dict[str, str]]:
    """The configured rails by code, and for each rail stopped, the sentence that says why."""
    rails: dict[str, Mapping[str, str]] = {}
    stopped: dict[str, str] = {}
    for rail, names in RAILS.items():
        values = {name: env.str(name, "") for name in names.required}
        missing = [name for name, value in values.items() if not value]
        if len(missing) == len(names.required):
            continue
        if missing:
            stopped[rail] = f"{', '.join(missing)} must be set (or {missing[0]}_FILE)."
            continue
        rails[rail] = values | {
            name: env.str(name, default) for name, default in names.optional.items()
        }
    return rails, stopped
