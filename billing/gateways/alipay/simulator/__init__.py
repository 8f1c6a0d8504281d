"""Alipay as seen from outside: a process that speaks its gateway, pages, bills and notifications.

Run as `python -m billing.gateways.alipay.simulator`. It keeps its own books in an append-only
journal (what really happened, whoever was told what), takes orders for faults under `/_control`,
and shares no code with the adapter, least of all signing. Never loaded in production, imports
nothing of Django.

Where the real rules are not known for certain, `rules.py` and `trading.py` say what was chosen.
"""
