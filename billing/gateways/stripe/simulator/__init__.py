"""A Stripe of our own: card set-up pages, payments, refunds, disputes, webhooks, the ledger.

    python -m billing.gateways.stripe.simulator --port 8111 --journal stripe.jsonl

It speaks the v1 API closely enough for the vendor's SDK, keeps what really happened in a journal,
misbehaves on order (`faults`), and lets time be moved (`clock`). Cards are chosen by name: there
is no field for a card's number anywhere. It shares no code with the adapter and does not use the
SDK either, so that the adapter does not merely agree with itself.
"""
