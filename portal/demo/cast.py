"""Who lives in the demo: a dozen subscribers, their lines, what they agreed to, and their luck."""

from dataclasses import dataclass

PASSWORD = "keepline-demo"  # noqa: S105 - of people who exist on this machine alone
RICH, POOR, FROZEN = "2088100000000011", "2088100000000022", "2088100000000033"
WECHAT_RICH = "oUpF8uN95-Ptaags6E_roPHg7AG1"


@dataclass(frozen=True)
class Card:
    """One line and its rule. Amounts in fen; None: no such trigger."""

    label: str
    number: str
    iccid: str
    carrier: str = "cmcc"
    is_esim: bool = False
    face_minor: int = 0  # 0: no rule yet
    cycle: str = "none"
    day: int = 1
    threshold_minor: int | None = None
    target_minor: int | None = None
    expiry_days: int | None = None
    most_a_day: int = 1
    month_cap_minor: int = 15_000
    usage_minor: int = 300  # a day
    months: int = 0  # how long it has run already
    now_minor: int = 4_000  # the balance the visitor finds
    fate: str = ""  # "", "ported", "due_soon", "capped", "paused", "unverified"

    @property
    def daily_minor(self) -> int:
        """What a day uses up: where only a schedule recharges, a little less than it brings."""
        if self.threshold_minor is not None or self.cycle == "none":
            return self.usage_minor
        return self.face_minor * 95 // 100 // (30 * _CYCLE_MONTHS[self.cycle])


_CYCLE_MONTHS = {"monthly": 1, "quarterly": 3, "yearly": 12}


@dataclass(frozen=True)
class Person:
    """A subscriber, how they pay, and their lines."""

    name: str
    email: str
    payer: str
    cards: tuple[Card, ...]
    language: str = "zh-hans"
    rail: str = "alipay"  # `payer` is a person there, or which test card


def _iccid(serial: int) -> str:
    """A card of the operator's test range, with its Luhn digit."""
    body = f"898600{serial:013d}"
    digits = [int(d) for d in body][::-1]
    doubled = [d * 2 - 9 if d * 2 > 9 else d * 2 for d in digits[::2]]
    return f"{body}{-(sum(doubled) + sum(digits[1::2])) % 10}"


PEOPLE = (
    Person(
        "李静",
        "alice@example.com",
        RICH,
        (
            Card(
                "妈妈的手机",
                "+8613800000021",
                _iccid(21),
                face_minor=5000,
                cycle="monthly",
                day=31,
                threshold_minor=1000,
                usage_minor=330,
                months=6,
                now_minor=1_860,
            ),
            Card("旅行 eSIM", "+8613800000222", _iccid(222), is_esim=True, now_minor=6_200),
            Card(
                "我的手机",
                "+8613800000023",
                _iccid(23),
                carrier="cucc",
                face_minor=3000,
                threshold_minor=1500,
                target_minor=4500,
                most_a_day=3,
                month_cap_minor=30_000,
                usage_minor=420,
                months=3,
                now_minor=1_750,
            ),
        ),
    ),
    Person(
        "王强",
        "bob@example.com",
        RICH,
        (
            Card(
                "主卡",
                "+8613800000031",
                _iccid(31),
                face_minor=10_000,
                cycle="monthly",
                day=1,
                months=5,
                month_cap_minor=20_000,
            ),
        ),
    ),
    Person(
        "Charlie Smith",
        "charlie@example.com",
        RICH,
        (
            Card(
                "Work phone",
                "+8613800000041",
                _iccid(41),
                carrier="cucc",
                face_minor=5000,
                cycle="quarterly",
                day=30,
                months=6,
            ),
            Card(
                "Data eSIM",
                "+8613800000042",
                _iccid(42),
                carrier="cucc",
                is_esim=True,
                face_minor=2000,
                threshold_minor=1000,
                most_a_day=2,
                usage_minor=500,
                months=2,
                now_minor=1_250,
            ),
        ),
        language="en",
    ),
    Person(
        "赵敏",
        "zhaomin@example.com",
        POOR,
        (
            Card(
                "日常",
                "+8613800000051",
                _iccid(51),
                carrier="cucc",
                face_minor=5000,
                threshold_minor=1000,
                usage_minor=380,
                now_minor=1_180,
            ),
        ),
    ),
    Person(
        "孙浩",
        "sunhao@example.com",
        FROZEN,
        (
            Card(
                "备用卡",
                "+8613800000061",
                _iccid(61),
                carrier="cucc",
                face_minor=3000,
                threshold_minor=1000,
                usage_minor=350,
                now_minor=1_160,
            ),
        ),
    ),
    Person(
        "周婷",
        "zhouting@example.com",
        RICH,
        (
            Card(
                "转走的号",
                "+8613800000071",
                _iccid(71),
                carrier="ctcc",
                face_minor=3000,
                threshold_minor=1000,
                usage_minor=340,
                months=1,
                now_minor=1_200,
                fate="ported",
            ),
        ),
    ),
    Person(
        "吴磊",
        "wulei@example.com",
        RICH,
        (
            Card(
                "到点扣款",
                "+8613800000081",
                _iccid(81),
                carrier="cucc",
                face_minor=3000,
                cycle="monthly",
                day=22,
                now_minor=2_900,
                fate="due_soon",
            ),
        ),
    ),
    Person(
        "郑爽",
        "zhengshuang@example.com",
        RICH,
        (
            Card(
                "封顶了",
                "+8613800000091",
                _iccid(91),
                face_minor=5000,
                threshold_minor=2000,
                month_cap_minor=5_000,
                most_a_day=1,
                usage_minor=600,
                months=1,
                now_minor=2_150,
                fate="capped",
            ),
        ),
    ),
    Person(
        "冯雪",
        "fengxue@example.com",
        RICH,
        (
            Card(
                "年卡",
                "+8613800000101",
                _iccid(101),
                carrier="ctcc",
                face_minor=20_000,
                cycle="yearly",
                day=28,
                month_cap_minor=20_000,
                months=6,
            ),
            Card(
                "老人机",
                "+8613800000102",
                _iccid(102),
                carrier="ctcc",
                face_minor=2000,
                expiry_days=5,
                usage_minor=60,
                months=2,
                now_minor=3_300,
            ),
        ),
    ),
    Person(
        "陈晨",
        "chenchen@example.com",
        RICH,
        (
            Card(
                "流量卡",
                "+8613800000111",
                _iccid(111),
                carrier="cucc",
                is_esim=True,
                face_minor=2000,
                threshold_minor=1200,
                most_a_day=4,
                month_cap_minor=40_000,
                usage_minor=640,
                months=1,
                now_minor=1_420,
            ),
        ),
    ),
    Person(
        "Diana Prince",
        "diana@example.com",
        RICH,
        (
            Card(
                "Paused line",
                "+8613800000121",
                _iccid(121),
                carrier="cucc",
                face_minor=5000,
                cycle="monthly",
                day=15,
                months=4,
                fate="paused",
            ),
        ),
        language="en",
    ),
    Person(
        "林悦",
        "linyue@example.com",
        WECHAT_RICH,
        (
            Card(
                "微信扣款",
                "+8613800000141",
                _iccid(141),
                face_minor=5000,
                threshold_minor=1000,
                usage_minor=300,
                now_minor=1_120,
            ),
        ),
        rail="wechat",
    ),
    Person(
        "Emma Brown",
        "emma@example.com",
        "good",
        (
            Card(
                "Card on file",
                "+8613800000151",
                _iccid(151),
                carrier="cucc",
                face_minor=5000,
                threshold_minor=1000,
                most_a_day=2,
                usage_minor=420,
                months=2,
                now_minor=1_240,
            ),
        ),
        language="en",
        rail="stripe",
    ),
    Person(
        "许宁",
        "xuning@example.com",
        "authenticate",
        (
            Card(
                "银行要确认",
                "+8613800000161",
                _iccid(161),
                carrier="cucc",
                face_minor=3000,
                threshold_minor=1000,
                usage_minor=360,
                now_minor=1_150,
            ),
        ),
        rail="stripe",
    ),
    Person(
        "新人",
        "newcomer@example.com",
        RICH,
        (Card("刚加的号", "+8613800000131", _iccid(131), fate="unverified"),),
    ),
)
# At the carriers, and nobody's here yet: for a visitor to register with and to put in.
SPARE = (
    Card("", "+8613800000991", _iccid(991), carrier="cucc", now_minor=2_600),
    Card("", "+8613800000992", _iccid(992), carrier="cucc", is_esim=True, now_minor=5_000),
)
OPERATORS = (
    ("值班", "ops@example.com", True),
    ("财务", "finance@example.com", True),
)
