"""What this merchant has agreed with Alipay, from settings: products differ between merchants.

Alipay has been merging 周期扣款 into 商家扣款, and which codes a merchant gets differs, so
product, scene and period rules are all configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlsplit

CYCLE_PRODUCT = "CYCLE_PAY_AUTH"
# 3P 2020: at most ¥100 a deduction under 周期扣款; a merchant with other terms sets its own.
_CYCLE_MAX_CHARGE_MINOR = 10_000
_SHORTEST_DAY_PERIOD = 7
_LAST_DAY_OF_MONTH = 28
_ASYNC_TYPES = ("", "NORMAL_ASYNC", "NEAR_REAL_TIME_ASYNC")
_ASYNC_RETRIES = ("RETY", "NONE", "NONE_AND_CLOSETRADE")  # RETY: the vendor's spelling
_PERIOD_TYPES = ("", "DAY", "MONTH")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Period:
    """The rhythm of a 周期扣款 agreement."""

    unit: str  # DAY or MONTH
    count: int
    early_days: int  # how long before its date a deduction may be made
    total_amount_minor: int | None
    total_payments: int | None

    @property
    def shortest_interval(self) -> timedelta:
        """Between two charges: the shortest period, the second one made early."""
        days = self.count * (28 if self.unit == "MONTH" else 1)
        return timedelta(days=max(days - self.early_days, 1))

    def first_date(self, today: date) -> date:
        """The first deduction's date: today, or the next 1st where the month's end is barred."""
        if self.unit == "MONTH" and today.day > _LAST_DAY_OF_MONTH:
            return (today.replace(day=1) + timedelta(days=32)).replace(day=1)
        return today


@dataclass(frozen=True, slots=True)
class Contract:
    """The merchant's side of every call."""

    app_id: str
    seller_id: str
    gateway_url: str
    product_code: str
    personal_product_code: str
    sign_scene: str
    sign_channel: str
    sign_validity: str  # "" long-term, else "Nd" or "Nm"
    max_charge_minor: int | None
    period: Period | None
    async_type: str  # "" synchronous
    async_retry: str
    trade_timeout: str  # how long an unpaid trade stays open: "1d", "90m"

    @property
    def is_cycle(self) -> bool:
        return self.product_code == CYCLE_PRODUCT


def contract_from(values: Mapping[str, str]) -> Contract:
    """Read the settings. Raises ValueError with a sentence that names the one at fault."""
    contract = Contract(
        app_id=_given(values, "ALIPAY_APP_ID"),
        seller_id=_given(values, "ALIPAY_SELLER_ID"),
        gateway_url=_url(values, "ALIPAY_GATEWAY_URL"),
        product_code=_given(values, "ALIPAY_PRODUCT_CODE"),
        personal_product_code=_given(values, "ALIPAY_PERSONAL_PRODUCT_CODE"),
        sign_scene=_scene(values, "ALIPAY_SIGN_SCENE"),
        sign_channel=values.get("ALIPAY_SIGN_CHANNEL", "") or "ALIPAYAPP",
        sign_validity=values.get("ALIPAY_SIGN_VALIDITY", ""),
        max_charge_minor=_max_charge(values),
        period=_period(values),
        async_type=_one_of(values, "ALIPAY_ASYNC_TYPE", _ASYNC_TYPES, ""),
        async_retry=_one_of(values, "ALIPAY_ASYNC_RETRY", _ASYNC_RETRIES, "NONE_AND_CLOSETRADE"),
        trade_timeout=values.get("ALIPAY_TRADE_TIMEOUT", "") or "1d",
    )
    if contract.is_cycle and contract.period is None:
        raise ValueError(f"ALIPAY_PERIOD_TYPE must be DAY or MONTH for {CYCLE_PRODUCT}.")
    return contract


def _given(values: Mapping[str, str], name: str) -> str:
    if not values.get(name, "").strip():
        raise ValueError(f"{name} must be set.")
    return values[name].strip()


def _url(values: Mapping[str, str], name: str) -> str:
    """Plain http only to this machine: what is sent names payers and amounts."""
    url = _given(values, name)
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url
    raise ValueError(f"{name} must be an https URL.")


def _scene(values: Mapping[str, str], name: str) -> str:
    """Alipay wants a scene of our own wherever external_agreement_no is passed."""
    scene = _given(values, name)
    if scene == "DEFAULT|DEFAULT":
        raise ValueError(f"{name} must differ from DEFAULT|DEFAULT.")
    return scene


def _max_charge(values: Mapping[str, str]) -> int | None:
    is_cycle = values.get("ALIPAY_PRODUCT_CODE") == CYCLE_PRODUCT
    given = _count(values, "ALIPAY_MAX_CHARGE_MINOR")
    return _CYCLE_MAX_CHARGE_MINOR if is_cycle and given is None else given


def _period(values: Mapping[str, str]) -> Period | None:
    unit = _one_of(values, "ALIPAY_PERIOD_TYPE", _PERIOD_TYPES, "")
    if not unit:
        return None
    count = _count(values, "ALIPAY_PERIOD")
    if count is None or (unit == "DAY" and count < _SHORTEST_DAY_PERIOD):
        raise ValueError("ALIPAY_PERIOD must be set: months, or at least 7 days.")
    early_days = _count(values, "ALIPAY_PERIOD_EARLY_DAYS")
    return Period(
        unit=unit,
        count=count,
        early_days=3 if early_days is None else early_days,
        total_amount_minor=_count(values, "ALIPAY_TOTAL_AMOUNT_MINOR"),
        total_payments=_count(values, "ALIPAY_TOTAL_PAYMENTS"),
    )


def _count(values: Mapping[str, str], name: str) -> int | None:
    """A positive whole number, or None where it is not given."""
    text = values.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{name} must be a whole number above zero.")
    return int(text)


def _one_of(values: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = values.get(name, "").strip() or default
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(filter(None, allowed))}.")
    return value
