"""Lines, their readings, and the carriers they are of."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from lines.claims import LONGEST_LABEL
from lines.models import EsimProfile, LineKind, LineStatus
from portal.api.fields import (
    ChoiceField,
    IccidField,
    In,
    InstantField,
    MinorField,
    MsisdnField,
    Out,
    TextField,
    ValidityField,
    WholeField,
    ZoneField,
    reference,
)

MOST_MINOR = 10**12


class CarrierOut(Out):
    """A carrier that is served, and what it sells."""

    code = serializers.CharField()
    name = serializers.CharField()
    name_en = serializers.CharField()
    currency = serializers.CharField()
    timezone = serializers.CharField()
    denominations_minor = serializers.ListField(
        child=serializers.IntegerField(), help_text="Empty: any amount between the bounds."
    )
    min_amount_minor = serializers.IntegerField()
    max_amount_minor = serializers.IntegerField()


class EsimOut(Out):
    """The eSIM behind a line. What installs it has an address of its own."""

    eid = serializers.CharField()
    state = serializers.ChoiceField(choices=EsimProfile.State.choices)
    needs_confirmation_code = serializers.BooleanField()


class LineOut(Out):
    """A line of the caller, so its number is shown in full."""

    id = serializers.CharField(source="public_id")
    kind = serializers.ChoiceField(choices=LineKind.choices)
    status = serializers.ChoiceField(choices=LineStatus.choices)
    label = serializers.CharField()  # type: ignore[assignment]
    carrier = serializers.CharField(source="carrier.code")
    msisdn = serializers.CharField()
    iccid = serializers.CharField()
    masked = serializers.CharField(help_text="The number as it may be shown to others.")
    timezone = serializers.CharField()
    currency = serializers.CharField()
    balance_minor = serializers.IntegerField(allow_null=True)
    reserved_minor = serializers.IntegerField(source="balance_reserved_minor")
    balance_observed_at = serializers.DateTimeField(allow_null=True)
    valid_until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    verified_at = serializers.DateTimeField(allow_null=True)
    esim = EsimOut(allow_null=True, default=None)
    has_rule = serializers.SerializerMethodField()

    def get_has_rule(self, line: Any) -> bool:
        return hasattr(line, "rule")


class LineBriefOut(Out):
    """A line inside something else: its number masked."""

    id = serializers.CharField(source="public_id")
    label = serializers.CharField()  # type: ignore[assignment]
    masked = serializers.CharField()


class LineIn(In):
    """A card (`fm`: number and ICCID) or an eSIM (activation code, or its parts)."""

    kind = ChoiceField(choices=LineKind.choices)
    carrier = TextField(max_length=20)
    msisdn = TextField(max_length=40, required=False, allow_blank=True, default="")
    iccid = TextField(max_length=40, required=False, allow_blank=True, default="")
    label = TextField(max_length=LONGEST_LABEL, required=False, allow_blank=True, default="")  # type: ignore[assignment]
    timezone = ZoneField(required=False, help_text="Without one, the carrier's.")
    activation_code = TextField(max_length=600, required=False, allow_blank=True)
    smdp_address = TextField(max_length=300, required=False, allow_blank=True)
    matching_id = TextField(max_length=300, required=False, allow_blank=True)
    eid = TextField(max_length=60, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["kind"] == LineKind.FM:
            sentence = _("A card has none: leave it out, or say that it is an eSIM.")
            named = {"activation_code", "smdp_address", "matching_id", "eid"} & set(attrs)
            if named:
                raise serializers.ValidationError(dict.fromkeys(sorted(named), sentence))
        return attrs


class RenameIn(In):
    label = TextField(max_length=LONGEST_LABEL, allow_blank=True)  # type: ignore[assignment]


class ProofSentOut(Out):
    """What became of the request: a code is on its way, or the line is proven already."""

    is_sent = serializers.BooleanField(help_text="False: it needed none, and is proven.")
    status = serializers.ChoiceField(choices=LineStatus.choices)


class ProveIn(In):
    code = TextField(min_length=1, max_length=20)


class ActivationCodeOut(Out):
    """Secret: whoever installs it has the line."""

    activation_code = serializers.CharField()
    qr_text = serializers.CharField()
    needs_confirmation_code = serializers.BooleanField()


class ReadingOut(Out):
    id = serializers.IntegerField(source="pk")
    balance_minor = serializers.IntegerField()
    reserved_minor = serializers.IntegerField()
    currency = serializers.CharField(source="line.currency")
    observed_at = serializers.DateTimeField()
    sequence = serializers.IntegerField(allow_null=True)
    valid_until = serializers.DateTimeField(allow_null=True)
    received_at = serializers.DateTimeField()
    source = serializers.CharField()  # type: ignore[assignment]
    is_applied = serializers.BooleanField(
        help_text="False: an older one than the balance already known; kept, not applied."
    )


class ReadingIn(In):
    """One balance, of a line named in exactly one way."""

    line = reference()
    msisdn = MsisdnField(max_length=40)
    iccid = IccidField(max_length=40)
    balance_minor = WholeField(min_value=-MOST_MINOR, max_value=MOST_MINOR)
    reserved_minor = MinorField(min_value=0, required=False, default=0)
    currency = TextField(min_length=3, max_length=3)
    observed_at = InstantField()
    sequence = WholeField(min_value=0, max_value=2**63 - 1, required=False, allow_null=True)
    valid_until = ValidityField(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for name in ("line", "msisdn", "iccid"):
            fields[name].required = False
        return fields

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len({"line", "msisdn", "iccid"} & set(attrs)) != 1:
            raise serializers.ValidationError(_("Name the line in one way: line, msisdn or iccid."))
        return attrs


class ReadingResultOut(Out):
    """What became of one reading. `refused`: `detail` and `errors` say why; nothing was kept."""

    index = serializers.IntegerField()
    result = serializers.ChoiceField(choices=["applied", "kept", "refused"])
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class ReadingResultsOut(Out):
    """One result for each reading sent, in the order sent."""

    applied = serializers.IntegerField()
    kept = serializers.IntegerField()
    refused = serializers.IntegerField()
    next_row = serializers.IntegerField(help_text="The row to go on from; all before it are done.")
    is_complete = serializers.BooleanField(
        help_text="False: a long stream was not read to its end; go on from `next_row`."
    )
    results = ReadingResultOut(many=True)
