from billing.admin import (
    bindings,
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
    "promotions",
    "recharges",
    "records",
    "refunds",
    "rules",
    "settlements",
    "statements",
]
