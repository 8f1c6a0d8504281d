"""The only writer of transfers.

A transfer moves a positive amount from one account to another, so an imbalance cannot be written.
Worked example, face 50.00, discount 0.75, bonus 1.00, by Alipay to China Mobile:

    charge     rail:alipay  -> undelivered    49.25
    discount   promotion    -> undelivered     0.75
    bonus      promotion    -> undelivered     1.00
    deliver    undelivered  -> carrier:cmcc   51.00

`undelivered` then holds what is paid and not yet on the line: nothing. What the rail keeps of a
payment is known from its statement: fees -> rail:alipay 0.30, and the reverse with a refund.

Taken otherwise than agreed, and all of it given back on the rail's own pages:

    stray           rail:alipay -> suspense     60.00
    stray_returned  suspense    -> rail:alipay  60.00

A dispute that is lost after the line was credited: chargeback, losses -> rail:stripe 49.25; before
that, or once the credit is back, undelivered -> rail:stripe. Given us again: chargeback_returned,
the other way.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import product
from typing import NamedTuple

from django.db import connection

from billing import rowsets
from billing.models import TransferKind
from billing.rowsets import Column

UNDELIVERED = "undelivered"
SUSPENSE = "suspense"
PROMOTION = "promotion"
FEES = "fees"
LOSSES = "losses"
ELSEWHERE = "elsewhere"

_ON_LINE = """
SELECT COALESCE(sum(CASE kind WHEN 'deliver' THEN amount_minor ELSE -amount_minor END), 0)
FROM billing_transfer WHERE recharge_id = %s AND kind IN ('deliver', 'reverse')"""

COLUMNS = (
    Column("recharge_id", "bigint"),
    Column("kind", "text"),
    Column("reference", "text"),
    Column("source", "text"),
    Column("destination", "text"),
    Column("amount_minor", "bigint"),
    Column("currency", "text"),
    Column("at", "timestamptz"),
)


class Entry(NamedTuple):
    """One transfer to be written; the fields of `Transfer` in its order."""

    recharge_id: int
    kind: str
    reference: str
    source: str
    destination: str
    amount_minor: int
    currency: str
    at: datetime


def rail(code: str) -> str:
    return f"rail:{code}"


def carrier(code: str) -> str:
    return f"carrier:{code}"


def on_line_minor(*, recharge_id: int) -> int:
    """What the carrier has credited for it and not taken back, by these books. Minor units."""
    [minor] = rowsets.column(_ON_LINE, [recharge_id], of=int)
    return minor


def post(entries: Sequence[Entry]) -> None:
    """Write `entries` in the caller's transaction. Zero amounts are left out.

    A second transfer of a kind for one reference is an IntegrityError: the caller's whole
    transaction goes, and with it whatever would have happened twice.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("the ledger is written only inside the transaction it belongs to")
    rowsets.insert("billing_transfer", COLUMNS, [entry for entry in entries if entry.amount_minor])


def charged(
    *,
    recharge_id: int,
    reference: str,
    rail_code: str,
    price_minor: int,
    discount_minor: int,
    bonus_minor: int,
    currency: str,
    at: datetime,
) -> list[Entry]:
    """The payer's money and the promotion's part, on their way to the line."""
    parts = (
        (TransferKind.CHARGE, rail(rail_code), price_minor),
        (TransferKind.DISCOUNT, PROMOTION, discount_minor),
        (TransferKind.BONUS, PROMOTION, bonus_minor),
    )
    return [
        Entry(recharge_id, kind.value, reference, source, UNDELIVERED, amount_minor, currency, at)
        for kind, source, amount_minor in parts
    ]


def delivered(
    *,
    recharge_id: int,
    reference: str,
    carrier_code: str,
    credit_minor: int,
    currency: str,
    at: datetime,
) -> Entry:
    """The line has it: owed to the carrier instead."""
    kind = TransferKind.DELIVER.value
    account = carrier(carrier_code)
    return Entry(recharge_id, kind, reference, UNDELIVERED, account, credit_minor, currency, at)


def reversed_(
    *,
    recharge_id: int,
    reference: str,
    carrier_code: str,
    credit_minor: int,
    currency: str,
    at: datetime,
) -> Entry:
    """The carrier took a credit back, or gave it back for a refund: owed to the line again."""
    kind = TransferKind.REVERSE.value
    account = carrier(carrier_code)
    return Entry(recharge_id, kind, reference, account, UNDELIVERED, credit_minor, currency, at)


def refunded(
    *,
    recharge_id: int,
    reference: str,
    rail_code: str,
    amount_minor: int,
    promotion_minor: int,
    currency: str,
    at: datetime,
    kind: TransferKind = TransferKind.REFUND,
) -> list[Entry]:
    """Back to the payer, and the promotion's part back to the promotion. By the rail, unless `kind`
    says that a bank took it, that it was paid out elsewhere, or came as another currency."""
    accounts = {
        TransferKind.PAID_OUT: ELSEWHERE,
        TransferKind.LOSS_COVERED: LOSSES,  # a bank took it long ago, and the credit is back now
        TransferKind.REFUND_KEPT: LOSSES,
    }
    parts = (
        (kind, accounts.get(kind, rail(rail_code)), amount_minor),
        (TransferKind.REFUND_PROMOTION, PROMOTION, promotion_minor),
    )
    return [
        Entry(recharge_id, each.value, reference, UNDELIVERED, account, minor, currency, at)
        for each, account, minor in parts
    ]


def refund_failed(
    *,
    recharge_id: int,
    reference: str,
    rail_code: str,
    amount_minor: int,
    promotion_minor: int,
    currency: str,
    at: datetime,
    kind: TransferKind = TransferKind.REFUND_FAILED,
) -> list[Entry]:
    """What had gone back is with us again, and owed as before; so is the promotion's part."""
    parts = (
        (kind, rail(rail_code), amount_minor),
        (TransferKind.PROMOTION_AGAIN, PROMOTION, promotion_minor),
    )
    return [
        Entry(recharge_id, each.value, reference, account, UNDELIVERED, minor, currency, at)
        for each, account, minor in parts
    ]


def given_beyond(
    *,
    recharge_id: int,
    reference: str,
    rail_code: str,
    amount_minor: int,
    currency: str,
    at: datetime,
    kind: TransferKind = TransferKind.REFUND_EXCESS,
) -> Entry:
    """The rail gave the payer more than was asked for, or something else: the loss is ours."""
    account = rail(rail_code)
    return Entry(recharge_id, kind.value, reference, LOSSES, account, amount_minor, currency, at)


def strayed(
    *,
    recharge_id: int,
    reference: str,
    returned_ref: str,
    rail_code: str,
    amount_minor: int,
    currency: str,
    at: datetime,
) -> list[Entry]:
    """Taken otherwise than agreed under `reference`, and all given back under `returned_ref`."""
    taken, back = TransferKind.STRAY.value, TransferKind.STRAY_RETURNED.value
    account = rail(rail_code)
    return [
        Entry(recharge_id, taken, reference, account, SUSPENSE, amount_minor, currency, at),
        Entry(recharge_id, back, returned_ref, SUSPENSE, account, amount_minor, currency, at),
    ]


def charged_back(
    *,
    recharge_id: int,
    reference: str,
    rail_code: str,
    amount_minor: int,
    currency: str,
    at: datetime,
) -> Entry:
    """A dispute is lost: the bank has the money, the line keeps its credit, the loss is ours."""
    kind = TransferKind.CHARGEBACK.value
    account = rail(rail_code)
    return Entry(recharge_id, kind, reference, LOSSES, account, amount_minor, currency, at)


def loss_returned(
    *,
    recharge_id: int,
    reference: str,
    rail_code: str,
    amount_minor: int,
    currency: str,
    at: datetime,
) -> Entry:
    """What a lost dispute had cost is with us again."""
    kind = TransferKind.CHARGEBACK_RETURNED.value
    account = rail(rail_code)
    return Entry(recharge_id, kind, reference, account, LOSSES, amount_minor, currency, at)


_LOST = """
SELECT COALESCE(sum(CASE WHEN kind = 'chargeback' THEN amount_minor ELSE -amount_minor END), 0)
FROM billing_transfer WHERE recharge_id = %s AND 'losses' IN (source, destination)
  AND kind IN ('chargeback', 'chargeback_returned', 'loss_covered')"""


def lost_minor(*, recharge_id: int) -> int:
    """What disputes of it have cost us so far, and have not brought back. Minor units."""
    [minor] = rowsets.column(_LOST, [recharge_id], of=int)
    return minor


# (the statement's kind of row, ours of the effect it belongs to, ours of the fee, from, to)
# (the statement's kind of row, ours of the effect it belongs to); and, by the fee's sign, what it
# is in our books, from, to: a fee that is taken with a refund is none that was given back.
_FEE_EFFECTS = (("payment", TransferKind.CHARGE), ("refund", TransferKind.REFUND))
_FEE_SIDES = (
    (1, TransferKind.FEE, FEES, None),
    (-1, TransferKind.FEE_RETURNED, None, FEES),
)
_POST_FEES = """
INSERT INTO billing_transfer
  (recharge_id, kind, reference, source, destination, amount_minor, currency, at)
SELECT DISTINCT ON (l.reference) t.recharge_id, %(kind)s, l.reference, %(source)s, %(destination)s,
  abs(l.fee_minor), l.currency, %(at)s
FROM billing_statementline l JOIN billing_transfer t
  ON t.reference = l.reference AND t.kind = %(of)s AND t.currency = l.currency
  AND %(account)s IN (t.source, t.destination)
WHERE l.statement_id = %(statement_id)s AND l.kind = %(said)s
  AND sign(l.fee_minor) = %(sign)s
ORDER BY l.reference, l.line_number, l.id
ON CONFLICT (reference, kind) DO NOTHING"""


def post_fees(*, statement_id: int, rail_code: str, at: datetime) -> None:
    """What the rail kept of, or gave back with, each payment and refund that is in both books.

    Set-wise, in the caller's transaction. Once per reference, so the same statement may come
    again; the first figure stands, since a transfer is never edited.
    """
    for (said, of), (sign, kind, source, destination) in product(_FEE_EFFECTS, _FEE_SIDES):
        rowsets.run(
            _POST_FEES,
            {
                "kind": kind.value,
                "sign": sign,
                "source": source or rail(rail_code),
                "destination": destination or rail(rail_code),
                "at": at,
                "of": of.value,
                "account": rail(rail_code),
                "statement_id": statement_id,
                "said": said,
            },
        )
