"""What may be changed while it runs, by flags at the start and by /_control afterwards.

Changes through /_control go into the journal, so a restart keeps them.
"""

from dataclasses import asdict, dataclass, fields

MODES = ("24h", "notify", "none")


@dataclass(slots=True)
class Settings:
    """One merchant's template and WeChat Pay's own rules. Amounts in fen."""

    # --- the template -------------------------------------------------------------------------
    # 通知后24小时扣费, 预扣费通知, 免密支付.
    mode: str = "24h"
    # Where endings are told (解约结果通知URL), and refunds whose request names no address.
    contract_notify_url: str = ""
    refund_notify_url: str = ""
    # One payer, one contract: true of WeChat Pay. Off, because a demo and most tests have few
    # payers and many subscribers.
    one_contract_per_payer: bool = False

    # --- rules --------------------------------------------------------------------------------
    enforce_hours: bool = True  # 07:00-22:00 Beijing for deductions and announcements
    immediate_after_signing_h: int = 12
    deduct_delay_s: int = 24 * 3600  # in mode 24h
    refund_delay_s: int = 1
    wait_days: int = 2  # the day of the announcement and the next
    window_days: int = 7  # unless the announcement asks for its own count
    max_charge_minor: int = 500_00
    max_day_minor: int = 2_500_00
    # 0: one in modes 24h and notify, five in mode none.
    max_charges_per_day: int = 0
    max_attempts_per_day: int = 300
    one_in_flight: bool = True
    # What the merchant has to give back from; -1: without end.
    merchant_balance_minor: int = -1

    # --- how it speaks ------------------------------------------------------------------------
    demands_hmac: bool = False
    # The query of a failed order names the reason. Not promised by the vendor's document.
    tells_why: bool = True
    # "调用时不立即生成订单": in mode 24h the vendor's FAQ has no order before the deduction, while
    # its list of states has ACCEPT for one. On: the query says ORDERNOTEXIST until then.
    hides_waiting_orders: bool = False
    # The vendor's sample of a *failed* deduction's notification: result_code SUCCESS, no err_code.
    odd_failures: bool = False
    is_silent: bool = False  # no notifications at all
    notifies_by_v3: bool = False
    signs_with_certificate: bool = False  # v3 in the name of the certificate, not the public key
    bill_has_bom: bool = True
    auto_agree: bool = False

    @property
    def charges_per_day(self) -> int:
        return self.max_charges_per_day or (5 if self.mode == "none" else 1)

    def change(self, asked: dict[str, object]) -> None:
        """Take over `asked`. Raises ValueError, and then nothing is changed."""
        kinds = {one.name: type(getattr(self, one.name)) for one in fields(self)}
        for name, value in asked.items():
            if name not in kinds:
                raise ValueError(f"unknown setting: {name}")
            if type(value) is not kinds[name]:
                raise ValueError(f"{name}: {kinds[name].__name__} is wanted")
        if asked.get("mode", self.mode) not in MODES:
            raise ValueError(f"mode: one of {', '.join(MODES)} is wanted")
        for name, value in asked.items():
            setattr(self, name, value)

    def told(self) -> dict[str, object]:
        return asdict(self)
