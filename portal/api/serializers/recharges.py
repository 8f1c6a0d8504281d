"""Recharges with their story, and notices."""

from typing import Any

from django.utils.translation import get_language
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.models import Notice, NoticeKind, Recharge, RechargeMove
from billing.notices import telling
from billing.recharges import machine
from billing.states import CANCELABLE_STATES, AttemptState, RechargeState, RefundState, Trigger
from billing.words import reasons
from lines.models import Delivery, DeliveryState
from portal import stories
from portal.api.fields import In, MinorField, Out, TextField, reference
from portal.api.serializers.lines import LineBriefOut


class RechargeIn(In):
    """A recharge by hand, now. `currency` must be the line's: no amount is taken for another."""

    line = reference()
    binding = reference()
    face_minor = MinorField()
    currency = TextField(min_length=3, max_length=3)


class RechargeOut(Out):
    """`price_minor` is taken from the payer, `face_minor + bonus_minor` is owed to the line."""

    id = serializers.CharField(source="ref")
    line = LineBriefOut()
    binding = serializers.CharField(source="binding.ref")
    rail = serializers.CharField()
    trigger = serializers.ChoiceField(choices=Trigger.choices)
    state = serializers.ChoiceField(choices=RechargeState.choices)
    reason = serializers.CharField()
    title = serializers.CharField(source="said.title")
    sentence = serializers.CharField(source="said.sentence")
    face_minor = serializers.IntegerField()
    discount_minor = serializers.IntegerField()
    bonus_minor = serializers.IntegerField()
    price_minor = serializers.IntegerField()
    credited_minor = serializers.IntegerField(allow_null=True)
    refunds_minor = serializers.IntegerField(source="refund_committed_minor")
    currency = serializers.CharField()
    created_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    charged_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)
    action_url = serializers.CharField(help_text="Where the payer must confirm, or empty.")
    can_cancel = serializers.SerializerMethodField()

    def get_can_cancel(self, recharge: Recharge) -> bool:
        return recharge.state in CANCELABLE_STATES

    def to_representation(self, recharge: Recharge) -> dict[str, Any]:
        recharge.said = _said(recharge, recharge.reason, at=recharge.created_at)  # type: ignore[attr-defined]
        return super().to_representation(recharge)


class MoveOut(Out):
    """One step of a recharge's story, in words. `by`: the system, its owner, or our staff."""

    at = serializers.DateTimeField()
    source = serializers.CharField(allow_blank=True)  # type: ignore[assignment]
    target = serializers.ChoiceField(choices=RechargeState.choices)
    code = serializers.CharField()
    title = serializers.CharField()
    sentence = serializers.CharField()
    by = serializers.ChoiceField(choices=["system", "owner", "staff"])


class PaymentOut(Out):
    number = serializers.IntegerField()
    reference = serializers.CharField()
    provider_ref = serializers.CharField()
    rail = serializers.CharField()
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    state = serializers.ChoiceField(choices=AttemptState.choices)
    created_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)


class DeliveryOut(Out):
    number = serializers.IntegerField()
    reference = serializers.CharField()
    carrier_ref = serializers.CharField()
    amount_minor = serializers.IntegerField()
    credited_minor = serializers.IntegerField(allow_null=True)
    currency = serializers.CharField()
    state = serializers.ChoiceField(choices=DeliveryState.choices)
    created_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)


class RefundOut(Out):
    reference = serializers.CharField()
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    state = serializers.ChoiceField(choices=RefundState.choices)
    created_at = serializers.DateTimeField()
    settled_at = serializers.DateTimeField(allow_null=True)


class RechargeStoryOut(RechargeOut):
    """A recharge with all that happened to it, oldest first."""

    timeline = serializers.SerializerMethodField()
    payments = serializers.SerializerMethodField()
    deliveries = serializers.SerializerMethodField()
    refunds = serializers.SerializerMethodField()

    @extend_schema_field(MoveOut(many=True))
    def get_timeline(self, recharge: Recharge) -> Any:
        moves = [_move(recharge, move) for move in machine.history(recharge)]
        return MoveOut(moves, many=True).data

    @extend_schema_field(PaymentOut(many=True))
    def get_payments(self, recharge: Recharge) -> Any:
        return PaymentOut(recharge.attempts.order_by("number"), many=True).data

    @extend_schema_field(DeliveryOut(many=True))
    def get_deliveries(self, recharge: Recharge) -> Any:
        found = Delivery.objects.filter(order_ref=recharge.ref).order_by("number")
        return DeliveryOut(found, many=True).data

    @extend_schema_field(RefundOut(many=True))
    def get_refunds(self, recharge: Recharge) -> Any:
        return RefundOut(recharge.refunds.order_by("pk"), many=True).data


def _move(recharge: Recharge, move: RechargeMove) -> dict[str, Any]:
    said = _said(recharge, move.because, at=move.at)
    return {
        "at": move.at,
        "source": move.source,
        "target": move.target,
        "code": move.because,
        "title": said.title,
        "sentence": said.sentence,
        "by": _by(recharge, move),
    }


def _by(recharge: Recharge, move: RechargeMove) -> str:
    if move.actor_id is None:
        return "system"
    return "owner" if move.actor_id == recharge.owner_id else "staff"


def _said(recharge: Recharge, code: str, *, at: Any) -> reasons.Reason:
    return reasons.reason(
        code=code,
        facts=stories.facts_of(recharge),
        language=get_language() or "en",
        timezone=recharge.line.timezone,
        at=at,
    )


class NoticeOut(Out):
    """Something told to the caller, in the words of today's reader."""

    id = serializers.IntegerField(source="pk")
    kind = serializers.ChoiceField(choices=NoticeKind.choices)
    title = serializers.CharField(source="said.title")
    body = serializers.CharField(source="said.body")
    line = LineBriefOut(allow_null=True)
    recharge = serializers.CharField(source="recharge.ref", allow_null=True, default=None)
    created_at = serializers.DateTimeField()
    read_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, notice: Notice) -> dict[str, Any]:
        notice.said = telling.words(notice=notice, language=get_language() or "en")  # type: ignore[attr-defined]
        return super().to_representation(notice)
