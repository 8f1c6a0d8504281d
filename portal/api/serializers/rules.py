"""The contract of a line: its terms, its preview, and why it did or did not charge."""

from typing import Any

from django.utils.translation import get_language
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.models import Channel, Decision, Rule, TopUpMode
from billing.models.rules import CYCLE_CHOICES
from billing.plans import problems
from billing.states import Trigger
from billing.words import reasons
from portal.api.fields import (
    ChoiceField,
    DayField,
    HourField,
    In,
    InstantField,
    MinorField,
    Out,
    TextField,
    WholeField,
    YesNoField,
    reference,
)


class TermsIn(In):
    """All that the owner chooses. Amounts are minor units of the line's currency."""

    binding = reference()
    fallback_binding = reference()
    face_minor = MinorField()
    max_per_charge_minor = MinorField()
    max_per_month_minor = MinorField()
    cycle = ChoiceField(choices=CYCLE_CHOICES, required=False)
    anchor_date = DayField(required=False, allow_null=True)
    charge_time = HourField(required=False)
    threshold_minor = MinorField(required=False, allow_null=True, min_value=0)
    topup_mode = ChoiceField(choices=TopUpMode.choices, required=False)
    target_minor = MinorField(required=False, allow_null=True)
    expiry_days_before = WholeField(
        min_value=1, max_value=problems.MAX_EXPIRY_DAYS, required=False, allow_null=True
    )
    max_per_day_count = WholeField(
        min_value=1, max_value=problems.MAX_CHARGES_A_DAY, required=False
    )
    remind_low_balance = YesNoField(required=False)
    remind_days_before = serializers.ListField(
        child=WholeField(min_value=1, max_value=problems.MAX_REMINDER_DAYS),
        max_length=problems.MAX_REMINDERS,
        required=False,
    )
    remind_result = YesNoField(required=False)
    channels = serializers.ListField(
        child=ChoiceField(choices=Channel.choices), max_length=5, required=False
    )

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for name in ("binding", "fallback_binding"):
            fields[name].required, fields[name].allow_null = False, True
        return fields


class ConfirmIn(In):
    """Agreement to the plan as previewed, by the very words that were shown."""

    consent_text = TextField(max_length=4000, help_text="The preview's, as the owner read it.")
    terms = TermsIn(required=False, help_text="New terms of a plan that runs already.")


class PauseIn(In):
    until = InstantField()


class SkipIn(In):
    index = WholeField(
        min_value=0,
        max_value=2**31 - 1,
        required=False,
        help_text="The `next_index` that was seen. It has passed since: 412.",
    )


class ConsentOut(Out):
    """What was agreed to, word for word."""

    text = serializers.CharField()
    version = serializers.CharField(source="text_version")
    agreed_at = serializers.DateTimeField(source="at")


class PauseOut(Out):
    """Why the system paused the rule."""

    code = serializers.CharField()
    title = serializers.CharField()
    sentence = serializers.CharField()
    since = serializers.DateTimeField()


class RuleOut(Out):
    """A rule as it stands. `version` counts edits of its terms and is its ETag."""

    id = serializers.CharField(source="public_id")
    line = serializers.CharField(source="line.public_id")
    version = serializers.IntegerField()
    is_on = serializers.BooleanField()
    paused_until = serializers.DateTimeField(allow_null=True, help_text="The owner's own pause.")
    pause = serializers.SerializerMethodField(help_text="The system's pause.")
    binding = serializers.CharField(source="binding.ref", allow_null=True, default=None)
    fallback_binding = serializers.CharField(
        source="fallback_binding.ref", allow_null=True, default=None
    )
    face_minor = serializers.IntegerField()
    currency = serializers.CharField()
    cycle = serializers.ChoiceField(choices=CYCLE_CHOICES)
    anchor_date = serializers.DateField(allow_null=True)
    charge_time = HourField()
    next_index = serializers.IntegerField()
    next_run_at = serializers.DateTimeField(allow_null=True)
    skips_next = serializers.SerializerMethodField()
    threshold_minor = serializers.IntegerField(allow_null=True)
    topup_mode = serializers.ChoiceField(choices=TopUpMode.choices)
    target_minor = serializers.IntegerField(allow_null=True)
    expiry_days_before = serializers.IntegerField(allow_null=True)
    cooldown_until = serializers.DateTimeField(allow_null=True)
    max_per_charge_minor = serializers.IntegerField()
    max_per_day_count = serializers.IntegerField()
    max_per_month_minor = serializers.IntegerField()
    remind_low_balance = serializers.BooleanField()
    remind_days_before = serializers.ListField(child=serializers.IntegerField())
    remind_result = serializers.BooleanField()
    channels = serializers.ListField(child=serializers.CharField())
    consent = ConsentOut(allow_null=True)
    created_at = serializers.DateTimeField()

    def get_skips_next(self, rule: Rule) -> bool:
        return rule.skip_index is not None and rule.skip_index == rule.next_index

    @extend_schema_field(PauseOut(allow_null=True))
    def get_pause(self, rule: Rule) -> dict[str, Any] | None:
        if rule.paused_at is None:
            return None
        said = reasons.reason(code=rule.pause_reason, facts={}, language=get_language() or "en")
        return {
            "code": rule.pause_reason,
            "title": said.title,
            "sentence": said.sentence,
            "since": serializers.DateTimeField().to_representation(rule.paused_at),
        }


class UpcomingOut(Out):
    """One scheduled charge, on the line's local day, as the rail allows it."""

    index = serializers.IntegerField()
    local_date = serializers.DateField()
    due_at = serializers.DateTimeField()
    earliest_at = serializers.DateTimeField()
    adjusted = serializers.CharField()
    face_minor = serializers.IntegerField()
    price_minor = serializers.IntegerField()
    discount_minor = serializers.IntegerField()
    bonus_minor = serializers.IntegerField()
    withheld = serializers.CharField()


class AtOnceOut(Out):
    trigger = serializers.CharField()
    face_minor = serializers.IntegerField()
    price_minor = serializers.IntegerField()
    expected_at = serializers.DateTimeField(
        help_text="When the money moves; later than now on a rail that must be told first."
    )


class PreviewOut(Out):
    """What the terms would do. Show `consent_text` to the owner before `confirm`."""

    currency = serializers.CharField()
    charges = UpcomingOut(many=True)
    price_minor = serializers.IntegerField()
    saves_minor = serializers.IntegerField()
    bonus_minor = serializers.IntegerField()
    month_max_minor = serializers.IntegerField()
    at_once = AtOnceOut(allow_null=True)
    is_balance_known = serializers.BooleanField()
    lead_s = serializers.IntegerField(
        help_text="How long before money moves this payment method must be told."
    )
    latest_delay_s = serializers.IntegerField()
    sentences = serializers.ListField(child=serializers.CharField())
    consent_text = serializers.CharField()
    consent_version = serializers.CharField()


class DecisionOut(Out):
    """Why a rule did or did not charge, in the words of today's reader."""

    id = serializers.IntegerField(source="pk")
    at = serializers.DateTimeField()
    trigger = serializers.ChoiceField(choices=Trigger.choices)
    code = serializers.CharField()
    is_charge = serializers.BooleanField()
    title = serializers.CharField(source="said.title")
    sentence = serializers.CharField(source="said.sentence")
    facts = serializers.DictField(help_text="Figures: minor units, ISO 4217, ISO 8601.")
    recharge = serializers.CharField(source="recharge.ref", allow_null=True, default=None)

    def to_representation(self, decision: Decision) -> dict[str, Any]:
        line = decision.rule.line
        decision.said = reasons.reason(  # type: ignore[attr-defined]
            code=decision.code,
            facts={"currency": line.currency} | decision.facts,
            language=get_language() or "en",
            timezone=line.timezone,
            at=decision.at,
        )
        return super().to_representation(decision)
