"""Faults on order: for the next N calls of a method, for one reference, or by chance with a seed.

A method is the last part of a path (`pappayapply`, `orderquery`, `refund`, …); the announcement's
is `announce`. Notifications are faulted under the method that led to them: `pappayapply`, `refund`,
`sign`, `deletecontract`.

| kind | what the merchant sees | committed |
| --- | --- | --- |
| lose_after, lose_before | the connection ends inside the answer | yes, no |
| slow | the answer after `seconds` | yes |
| late | the connection ends; the effect comes `seconds` later | later |
| system_error, system_error_after | SYSTEMERROR (v3: 500 SYSTEM_ERROR) | no, yes |
| return_fail | return_code FAIL, unsigned, with `message` | no |
| decline | `code`, signed. With `"final": true`: accepted, and fails with it later | no |
| bad_signature, unsigned | an answer with a wrong signature, or with none | yes |
| http_500, garbage | what they say | no |
| notify_duplicate | the notification `copies` more times | |
| notify_reordered | the notification `seconds` late, after those that follow | |
| notify_forged | a forged copy first | |
| notify_probe | a v3 probe first, whose signature must not verify | |
| notify_before_answer | the notification before the answer to the call | |
| notify_never | no notification | |

`"committed": true` or `false` overrides the last column.
"""

from billing.gateways.simulation.faults import Table

_COMMITS = {
    "lose_after": True,
    "lose_before": False,
    "slow": True,
    "late": False,
    "system_error": False,
    "system_error_after": True,
    "return_fail": False,
    "decline": False,
    "bad_signature": True,
    "unsigned": True,
    "http_500": False,
    "garbage": False,
}
_NOTICES = frozenset(
    {
        "notify_duplicate",
        "notify_reordered",
        "notify_forged",
        "notify_probe",
        "notify_before_answer",
        "notify_never",
    }
)
TABLE = Table(commits=_COMMITS, notices=_NOTICES, details=("seconds", "code", "copies", "final"))
