"""Faults on order: for the next N calls of a method, for one reference, or by chance with a seed.

Methods are named as the SDK's: payment_intents.create, refunds.create, checkout.sessions.list, …

| kind | what the merchant sees | committed |
| --- | --- | --- |
| lose_after, lose_before | the connection ends inside the answer | yes, no |
| slow | the answer after `seconds`; the idempotency key is in use meanwhile | yes |
| late | the connection ends; the effect comes `seconds` later | later |
| http_500 | 500, nothing begun, nothing saved under the key | no |
| http_500_saved | 500, and the key answers it for 24 hours | no |
| conflict | 409, the key is in use | no |
| rate_limit | 429 | no |
| unauthorized, forbidden | 401, 403 | no |
| garbage | HTML with status 200 | yes |
| half | half of the JSON | yes |
| decline | 402 with `decline_code`, `advice_code`, as the bank's answer | the decline |
| webhook_duplicate | each event of the call `copies` more times | |
| webhook_reordered | the events in the opposite order, `seconds` late | |
| webhook_forged | a forged copy first, under a wrong signature | |
| webhook_before_answer | the events before the answer to the call | |
| webhook_never | no events | |

`"committed": true` or `false` overrides the last column, so that each unusable answer can come
with and without its effect.
"""

from billing.gateways.simulation.faults import Table

_COMMITS = {
    "lose_after": True,
    "lose_before": False,
    "slow": True,
    "late": False,
    "http_500": False,
    "http_500_saved": False,
    "conflict": False,
    "rate_limit": False,
    "unauthorized": False,
    "forbidden": False,
    "garbage": True,
    "half": True,
    "decline": True,
}
_NOTICES = frozenset(
    {
        "webhook_duplicate",
        "webhook_reordered",
        "webhook_forged",
        "webhook_before_answer",
        "webhook_never",
    }
)
TABLE = Table(
    commits=_COMMITS, notices=_NOTICES, details=("seconds", "decline_code", "advice_code", "copies")
)
