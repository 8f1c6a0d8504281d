"""What every installation starts with: rails, decline codes, schedules. Never overwrites.

Loaded after each migration, so that a code table grown in a release reaches old installations;
a class that an operator has changed stays changed.
"""

from billing import schedules
from billing.gateways.alipay.codes import DECLINE_CODES as ALIPAY_CODES
from billing.gateways.stripe.codes import DECLINE_CODES as STRIPE_CODES
from billing.gateways.wechat.codes import DECLINE_CODES as WECHAT_CODES
from billing.models import DeclineCode, Rail

RAILS = (
    ("alipay", "支付宝", "Alipay"),
    ("wechat", "微信支付", "WeChat Pay"),
    ("stripe", "银行卡", "Bank card"),
)
CODES = {"alipay": ALIPAY_CODES, "wechat": WECHAT_CODES, "stripe": STRIPE_CODES}


def load(**_signal: object) -> None:
    """Add what is missing. Repeatable; takes a signal's arguments and needs none."""
    for order, (code, name, name_en) in enumerate(RAILS):
        Rail.objects.get_or_create(
            code=code, defaults={"name": name, "name_en": name_en, "sort_order": order}
        )
    DeclineCode.objects.bulk_create(
        [
            DeclineCode(rail=rail, code=code, decline_class=decline_class)
            for rail, codes in CODES.items()
            for code, decline_class in codes.items()
        ],
        ignore_conflicts=True,
    )
    schedules.ensure()
