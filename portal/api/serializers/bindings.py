"""Payment methods, and the rails they are of."""

from rest_framework import serializers

from billing.models import BindingState
from portal.api.fields import In, Out, TextField, reference


class RailOut(Out):
    code = serializers.CharField()
    name = serializers.CharField()
    name_en = serializers.CharField()


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
