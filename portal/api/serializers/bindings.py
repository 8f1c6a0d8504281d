"""Payment methods, and the rails they are of."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.models import Binding, BindingState
from billing.payments import tries
from portal.api.fields import In, Out, TextField, reference


class RailOut(Out):
    code = serializers.CharField()
    name = serializers.CharField()
    name_en = serializers.CharField()


class TriesOut(Out):
    """A limit of refused tries that the card schemes set, over all lines that the card pays for."""

    within_days = serializers.IntegerField(help_text="So far back tries count.")
    limit_count = serializers.IntegerField(help_text="How often it may be refused in that time.")
    left_count = serializers.IntegerField(help_text="How often yet; at 0 it is not charged.")


class BindingOut(Out):
    """One agreement by which a rail lets Keepline charge the caller."""

    id = serializers.CharField(source="ref")
    rail = serializers.CharField(source="rail_id")
    label = serializers.CharField(help_text="The account, as the rail masks it.")  # type: ignore[assignment]
    state = serializers.ChoiceField(choices=BindingState.choices)
    is_default = serializers.BooleanField()
    is_usable = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    signed_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    paused_at = serializers.DateTimeField(allow_null=True)
    pause_reason = serializers.CharField()
    max_per_month_minor = serializers.IntegerField(allow_null=True)
    tries = serializers.SerializerMethodField(
        help_text="What its scheme allows yet, a limit a row; empty where nobody counts."
    )

    @extend_schema_field(TriesOut(many=True))
    def get_tries(self, binding: Binding) -> list[dict[str, int]]:
        """The portal's own figures (`tries.shown`), so that both faces say one thing."""
        return list(TriesOut(tries.shown(binding, at=timezone.now()), many=True).data)


class BindingIn(In):
    rail = TextField(max_length=20)


class StartedOut(Out):
    """Open `url` in the payer's browser: the agreement is made on the rail's own page."""

    binding = BindingOut()
    url = serializers.URLField()


class EndIn(In):
    """What becomes of the rules that pay with it: they pause, or pay with another."""

    move_rules_to = reference()

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = super().get_fields()
        fields["move_rules_to"].required = False
        return fields
