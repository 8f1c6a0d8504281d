"""Faults on order: for the next N calls of a method, for one reference, or by chance with a seed.

| kind | what the merchant sees | committed |
| --- | --- | --- |
| lose_after, lose_before | the connection ends inside the answer | yes, no |
| slow | the answer after `seconds` | yes |
| late | the connection ends; the effect comes `seconds` later | later |
| system_error | 40004 ACQ.SYSTEM_ERROR | no |
| gateway_error | `code` (20000) and `sub_code` (isp.unknow-error), signed | no |
| in_progress | 10003 | no |
| decline | 40004 with `sub_code` | no |
| bad_signature | an answer whose signature is wrong | yes |
| unsigned_error | an error_response without a signature | no |
| http_500, non_json | what they say | no |
| notify_duplicate | the notification `copies` more times | |
| notify_reordered | the notification `seconds` late, after those that follow | |
| notify_forged | a forged copy first | |
| notify_before_answer | the notification before the answer to the call | |
| notify_never | no notification | |

`"committed": true` or `false` overrides the last column, so that each unusable answer can come
with and without its effect.
"""

from billing.gateways.simulation.faults import Table

_COMMITS = {
    "lose_after": True,
    "lose_before": False,
    "slow": True,
    "late": False,
    "system_error": False,
    "gateway_error": False,
    "in_progress": False,
    "decline": False,
    "bad_signature": True,
    "unsigned_error": False,
    "http_500": False,
    "non_json": False,
}
_NOTICES = frozenset(
    {
        "notify_duplicate",
        "notify_reordered",
        "notify_forged",
        "notify_before_answer",
        "notify_never",
    }
)
TABLE = Table(commits=_COMMITS, notices=_NOTICES, details=("seconds", "sub_code", "copies"))
