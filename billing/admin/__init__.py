from billing.admin import (
    bindings,
    outages,
    promotions,
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
    "recharges",
    "records",
    "refunds",
    "rules",
    "settlements",
    "statements",
]
