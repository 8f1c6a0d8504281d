"""What each name of the OpenAPI document means, with a value such as it may have.

Said once for all schemas, so that a program's author who knows one answer knows the others; where
a name means another thing, it stands here as "Schema.name". A serializer's own `help_text` wins.
"""

from collections.abc import Mapping
from typing import Any

_LINE, _BINDING = "01M8H2S1FB467CKCRFVKACFMMA", "01M8H2S1E18F798GWX3NQ46257"
_RECHARGE, _RULE = "01M8H33SPY742QY3KKAAVYZPCR", "01M8H2S4CYT85EF8H9MK626TE3"
_PAST, _FUTURE = "2026-11-22T21:50:00+08:00", "2026-12-31T09:00:00+08:00"
_TERMS = {
    "binding": _BINDING,
    "face_minor": 5000,
    "threshold_minor": 1000,
    "cycle": "monthly",
    "anchor_date": "2026-12-31",
    "max_per_charge_minor": 5000,
    "max_per_month_minor": 15000,
}

# Requests whole: a value for every name at once would be none that is accepted.
REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "TermsIn": _TERMS,
    "LineIn": {
        "kind": "fm",
        "carrier": "cmcc",
        "msisdn": "13800138000",
        "iccid": "8944538532008160222",
        "label": "妈妈的手机",
    },
    "ReadingIn": {
        "msisdn": "+8613800000021",
        "balance_minor": 980,
        "currency": "CNY",
        "observed_at": _PAST,
        "sequence": 41,
    },
}

# Name, or "Schema.name" -> a value, and what it means.
WORDS: Mapping[str, tuple[Any, str]] = {
    "activation_code": ("LPA:1$smdp.example.com$K2-ABC", "As a phone takes it."),
    "adjusted": ("", "`month_end`, `hours`, or empty: why it is not the chosen day and hour."),
    "agreed_at": (_PAST, "When it was agreed to."),
    "amount_minor": (4925, "Of this payment, delivery or refund; minor units."),
    "anchor_date": ("2026-12-31", "The day of the first charge; the others follow from it."),
    "applied": (1, "How many are now the balance of their line."),
    "at": (_PAST, "When."),
    "balance_minor": (980, "What is left on the line; may be negative. Minor units."),
    "balance_observed_at": (_PAST, "When the carrier knew that balance."),
    "binding": (_BINDING, "The payment method, by its `id`."),
    "body": ("¥49.25 was taken through Alipay.", "The notice, in the reader's language."),
    "bonus_minor": (0, "Credited on top by a promotion; minor units."),
    "can_cancel": (False, "Whether no money has moved yet."),
    "carrier": ("cmcc", "A carrier's `code`."),
    "carrier_ref": ("TOP-f610301f85f2", "The carrier's own number for it."),
    "charge_time": ("09:00", "Of the line's own day."),
    "charged_at": (_PAST, "When the payer's money was taken."),
    "code": ("cmcc", "What it is called in requests."),
    "DecisionOut.code": ("cap_month", "For programs; a new one may come."),
    "MoveOut.code": ("paid", "For programs; a new one may come."),
    "PauseOut.code": ("binding_paused", "For programs; a new one may come."),
    "ProblemOut.code": ("open_recharge", "For programs; never changes its meaning."),
    "ProveIn.code": ("123456", "The figures that were sent to the number."),
    "ReadingResultOut.code": ("unknown_line", "Why it was refused; for programs."),
    "completed_at": (_PAST, "When the line was credited."),
    "consent_text": (
        "I agree that Keepline recharges …",
        "To be shown to the owner, and sent back with `confirm`.",
    ),
    "consent_version": ("2026-11-22", "Of the wording."),
    "cooldown_until": (None, "No low-balance charge before; kept as a wake-up, not dropped."),
    "created_at": (_PAST, "When it came into being."),
    "credited_minor": (5000, "What the carrier says has arrived; null until it does."),
    "currency": ("CNY", "ISO 4217, of every amount beside it."),
    "detail": (
        "A recharge of this line is under way. Wait until it has ended.",
        "For people, in the language asked for.",
    ),
    "discount_minor": (75, "What a promotion takes off the price; minor units."),
    "due_at": (_FUTURE, "When it is to happen."),
    "earliest_at": (_FUTURE, "When the payment company takes the money at the earliest."),
    "eid": ("89049032123451234512345678901235", "The chip's number, 32 figures."),
    "ended_at": (None, "When it was ended, here or at the payment company."),
    "errors": (
        {"msisdn": ["No such number. Check each digit."]},
        "Sentences by field, in dotted paths.",
    ),
    "ProblemOut.errors": ({}, "Sentences by field, in dotted paths."),
    "expires_at": (_FUTURE, "From then on it is no longer tried."),
    "expiry_days_before": (None, "Recharges so many days before the line's validity ends."),
    "face_minor": (5000, "What the line gets, as the carrier sells it; minor units."),
    "fallback_binding": (None, "Charged after a definite decline of the first, if agreed to."),
    "has_rule": (True, "Whether terms are kept for it, on or off."),
    "iccid": ("8944538532008160222", "The card's number; blanks and a filler F are dropped."),
    "id": (_LINE, "Its name in addresses and requests."),
    "BindingOut.id": (_BINDING, "Its name in addresses and requests."),
    "DecisionOut.id": (83, "Counts up."),
    "NoticeOut.id": (177, "Its name in addresses."),
    "ReadingOut.id": (1258, "Counts up."),
    "RechargeOut.id": (_RECHARGE, "Its name in addresses and requests."),
    "RechargeStoryOut.id": (_RECHARGE, "Its name in addresses and requests."),
    "RuleOut.id": (_RULE, "Its name in our records; its address is its line's."),
    "index": (0, "Of the scheduled charge, counted from the first day."),
    "ReadingResultOut.index": (0, "Its place in what was sent."),
    "is_balance_known": (True, "Otherwise a low-balance charge may follow at once."),
    "is_charge": (False, "Whether it charged."),
    "is_default": (True, "Whether it is offered first."),
    "is_on": (True, "Whether its owner has agreed and not stopped it. See `pause` too."),
    "is_usable": (True, "Whether a charge can be made with it now."),
    "kept": (0, "How many are older than the balance known: kept, not applied."),
    "label": ("妈妈的手机", "What its owner calls it."),
    "latest_delay_s": (0, "How long after its day a charge may still be made."),
    "line": (_LINE, "The line, by its `id`."),
    "local_date": ("2026-12-31", "On the line's own calendar."),
    "masked": ("138 **** 0021", "The number as it may be shown to others."),
    "matching_id": ("K2-ABC", "Which profile, where there is no whole activation code."),
    "max_amount_minor": (20000, "The most for one recharge; minor units."),
    "max_per_charge_minor": (5000, "No charge above it; minor units."),
    "max_per_day_count": (1, "No more charges in one of the line's days."),
    "max_per_month_minor": (15000, "No more in one of the line's months; minor units."),
    "min_amount_minor": (1000, "The least for one recharge; minor units."),
    "month_max_minor": (15000, "The most that a month can cost; minor units."),
    "move_rules_to": (_BINDING, "Without it, the rules that pay with this one pause."),
    "msisdn": ("+8613800000021", "The mobile number: E.164, or as it is written in China."),
    "name": ("中国移动", "In Chinese."),
    "name_en": ("China Mobile", "In English."),
    "RailOut.code": ("alipay", "What it is called in requests."),
    "RailOut.name": ("支付宝", "In Chinese."),
    "RailOut.name_en": ("Alipay", "In English."),
    "needs_confirmation_code": (False, "Whether its seller must give a code as well."),
    "next": (
        "https://keepline.example/api/v1/lines?cursor=Mg&limit=2",
        "The address of the following page; null after the last.",
    ),
    "next_index": (0, "Of the next scheduled charge: what `skip` takes as `index`."),
    "next_run_at": (_FUTURE, "Of the next scheduled charge; null without one."),
    "number": (1, "The first try is 1."),
    "observed_at": (_PAST, "When the carrier knew it."),
    "pause_reason": ("", "Why it rests; for programs."),
    "paused_at": (None, "Since when it rests after declined charges, or for an operator."),
    "price_minor": (4925, "What the payer pays; minor units."),
    "provider_ref": ("2026112800000000000000000072", "The payment company's own number for it."),
    "qr_text": ("LPA:1$smdp.example.com$K2-ABC", "What a QR code is to hold."),
    "rail": ("alipay", "A rail's `code`."),
    "read_at": (None, "When it was marked as read."),
    "reason": ("credited", "Why it stands as it does; for programs."),
    "received_at": (_PAST, "When it came here."),
    "recharge": (_RECHARGE, "What came of it, by its `id`; null if nothing did."),
    "reference": ("01M8H380XDGMR53D7A85MW8H6S", "Under which the other side knows it."),
    "refunds_minor": (0, "Given back, or on its way; minor units."),
    "refused": (0, "How many were not kept."),
    "remind_low_balance": (True, "A notice when the balance is low."),
    "remind_result": (True, "A notice of each charge's end."),
    "request_id": ("01M8H3810F5CRF6NVNTV3K76GR", "Name it when you ask us; also `X-Request-Id`."),
    "reserved_minor": (0, "Of the balance, what is spoken for already; minor units."),
    "saves_minor": (75, "What a promotion saves on each charge; minor units."),
    "sentence": ("¥50.00 has arrived on the line.", "For people, in the language asked for."),
    "sequence": (41, "The carrier's own count: decides which is newer, where it has one."),
    "settled_at": (_PAST, "When its outcome was known; null until then."),
    "signed_at": (_PAST, "When the payer agreed at the payment company."),
    "since": (_PAST, "When it began."),
    "skips_next": (False, "Whether the next scheduled charge is left out."),
    "smdp_address": ("smdp.example.com", "Of the eSIM's server, without an activation code."),
    "source": ("pushed", "`pushed` by the carrier, or `polled` by us."),
    "MoveOut.source": ("charging", "The state before; empty at the beginning."),
    "status": (409, "As in the answer's first line."),
    "target_minor": (None, "The balance to reach, where `topup_mode` is `to`; minor units."),
    "text": ("I agree that Keepline recharges …", "Word for word."),
    "threshold_minor": (1000, "Recharges below this balance; null: does not. Minor units."),
    "timezone": ("Asia/Shanghai", "IANA: whose days and months count."),
    "title": ("Credited", "For people, in the language asked for."),
    "ProblemOut.title": ("Not possible now", "For people, in the language asked for."),
    "trigger": ("low_balance", "What it is charged for."),
    "type": ("urn:keepline:problem:open_recharge", "The `code` as RFC 9457 wants it."),
    "until": (_FUTURE, "Within a year."),
    "url": ("https://openapi.alipay.com/gateway.do?…", "Open it in the payer's browser."),
    "valid_until": (_FUTURE, "When the line's validity ends; null where the carrier says none."),
    "verified_at": (_PAST, "When it was proven to be its owner's."),
    "version": (2, "Counts the edits; the `ETag` without its quotes."),
    "ConsentOut.version": ("2026-11-22", "Of the wording."),
    "withheld": ("", "Why a promotion does not apply; empty where it does, or there is none."),
}


def explain(result: dict[str, Any], **_more: Any) -> dict[str, Any]:
    """A hook of the document's making: gives each schema's names their meaning and a value."""
    for schema_name, schema in result.get("components", {}).get("schemas", {}).items():
        if whole := REQUESTS.get(schema_name):
            schema["examples"] = [whole]
        for name, prop in schema.get("properties", {}).items():
            word = WORDS.get(f"{schema_name}.{name}") or WORDS.get(name)
            if word and _is_plain(prop):
                prop.setdefault("description", word[1])
                prop.setdefault("examples", [word[0]])
    return result


def _is_plain(prop: dict[str, Any]) -> bool:
    """Whether it is a value of its own, and not another schema or a list of them."""
    return prop.get("type") not in (None, "array") and "items" not in prop
