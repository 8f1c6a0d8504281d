"""The reference of each call, as a row that is there before the other side can hear of it.

Set-wise, in the transaction of the move that says the call is under way: neither is without the
other, so whoever takes over after a crash asks about the same reference.
"""

from collections.abc import Sequence
from datetime import datetime

from billing import rowsets
from billing.recharges.claims import Work
from billing.rowsets import Column
from billing.states import AttemptState
from lines.models import DeliveryState

_CHARGE_COLUMNS = (
    Column("recharge_id", "bigint"),
    Column("number", "smallint"),
    Column("reference", "text"),
    Column("rail", "text"),
    Column("binding_id", "bigint"),
    Column("amount_minor", "bigint"),
    Column("currency", "text"),
    Column("state", "text"),
    Column("provider_ref", "text"),
    Column("code", "text"),
    Column("decline_class", "text"),
    Column("created_at", "timestamptz"),
)
_DELIVERY_COLUMNS = (
    Column("reference", "text"),
    Column("order_ref", "text"),
    Column("number", "smallint"),
    Column("line_id", "bigint"),
    Column("amount_minor", "bigint"),
    Column("currency", "text"),
    Column("state", "text"),
    Column("carrier_ref", "text"),
    Column("code", "text"),
    Column("created_at", "timestamptz"),
)


def charges(rows: Sequence[Work], *, at: datetime) -> None:
    """The reference each rail is about to be given, for what was frozen."""
    rowsets.insert(
        "billing_paymentattempt",
        _CHARGE_COLUMNS,
        [
            (
                row.id,
                row.attempt_count,
                row.payment_ref,
                row.rail,
                row.binding_id,
                row.price_minor,
                row.currency,
                AttemptState.INTENDED.value,
                "",
                "",
                "",
                at,
            )
            for row in rows
        ],
    )


def deliveries(rows: Sequence[Work], *, at: datetime) -> None:
    """The reference each carrier is about to be given, for what the line is owed."""
    rowsets.insert(
        "lines_delivery",
        _DELIVERY_COLUMNS,
        [
            (
                row.delivery_ref,
                row.ref,
                row.delivery_count,
                row.line_id,
                row.credit_minor,
                row.currency,
                DeliveryState.INTENDED.value,
                "",
                "",
                at,
            )
            for row in rows
        ],
    )
