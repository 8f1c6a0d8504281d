from billing.admin import (
    bindings,
    outages,
    promotions,
    rates,
    recharges,
    records,
    refunds,
    rules,
    settlements,
    statements,
)

__all__ = [
    "bindings",
    "outages",
    "promotions",
    "rates",
    "recharges",
    "records",
    "refunds",
    "rules",
    "settlements",
    "statements",
]
