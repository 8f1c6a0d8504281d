"""The test cards, by name. Numbers exist nowhere here: a card is its last four digits."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """How one card behaves when it is charged. `processing`: the bank takes its time."""

    slug: str
    token: str  # the SDK's name for a test card like it
    brand: str
    last4: str
    fingerprint: str
    name_zh: str
    name_en: str
    decline_code: str = ""
    advice_code: str = ""
    needs_authentication: bool = False
    is_processing: bool = False
    exp_month: int = 12
    exp_year: int = 2034

    @property
    def brand_name(self) -> str:
        """As the card has it printed on it."""
        return {"unionpay": "UnionPay"}.get(self.brand, self.brand.title())


def _table(*cards: Card) -> dict[str, Card]:
    return {card.slug: card for card in cards}


CARDS = _table(
    Card("good", "tok_visa", "visa", "4242", "Xt5EWLLDS7FJjR1c", "可用的卡", "A good card"),
    Card(
        "mastercard", "tok_mastercard", "mastercard", "4444", "BnM6jEwLq2ZkTt0a",
        "可用的另一张卡", "Another good card",
    ),
    Card(
        "poor", "tok_visa_chargeDeclinedInsufficientFunds", "visa", "9995", "kQ3mRrJ8vXbW1yLd",
        "余额不足", "Insufficient funds", decline_code="insufficient_funds",
    ),
    Card(
        "expired", "tok_chargeDeclinedExpiredCard", "visa", "0069", "pD7sNfTg5HcZ2uVe",
        "已过期", "Expired", decline_code="expired_card",
    ),
    Card(
        "authenticate", "tok_threeDSecure2Required", "visa", "3184", "wS1aGhYk9MqB4xCf",
        "需要银行验证", "Needs 3-D Secure", needs_authentication=True,
    ),
    Card(
        "stolen", "tok_visa_chargeDeclinedStolenCard", "visa", "9979", "rE6tUiOp3LkJ7hGg",
        "已挂失", "Reported stolen", decline_code="stolen_card",
        advice_code="do_not_try_again",
    ),
    Card(
        "declined", "tok_visa_chargeDeclined", "visa", "0002", "zA2xCvBn8MlK5jHh",
        "发卡行拒绝", "Declined by its bank", decline_code="generic_decline",
        advice_code="try_again_later",
    ),
    Card(
        "slow", "tok_visa_slow", "unionpay", "0005", "qW9eRtYu4IoP6aSj",
        "银行处理较慢", "Its bank takes its time", is_processing=True,
    ),
)  # fmt: skip
BY_TOKEN = {card.token: card.slug for card in CARDS.values()}
