from billing.admin import bindings, promotions, recharges, records, refunds, rules

__all__ = ["bindings", "promotions", "recharges", "records", "refunds", "rules"]
