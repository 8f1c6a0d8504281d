"""The page on which an operator says what a rail, a bank or a carrier did, read on their pages."""

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from billing import money
from billing.admin import words
from billing.models import Recharge
from billing.operators import attestations, found
from billing.operators.found import Found
from billing.states import Finding
from lines.admin.acts import Act, ReasonForm

_MISSING = _("Copy it from the rail's own pages.")
_NAMES_NOTHING = (Finding.NOTHING, Finding.UNREFUNDED, Finding.UNCREDITED, Finding.NOT_TAKEN)
_SAYS_HOW_MUCH = (Finding.GIVEN_BACK, Finding.LOST, Finding.RETURNED, Finding.OTHERWISE)


class FindingForm(ReasonForm):
    """What was found, and the rail's own numbers by which a second person finds it too."""

    finding = forms.ChoiceField(
        label=_("What the rail did"),
        choices=Finding.choices,
        widget=UnfoldAdminSelectWidget(),
    )
    payment_ref = forms.CharField(
        label=_("Their number of the payment, refund, credit or dispute"),
        max_length=64,
        required=False,
        help_text=_("Not needed where nothing has moved."),
        widget=UnfoldAdminTextInputWidget(),
    )
    taken = forms.CharField(
        label=_("Amount that moved"),
        max_length=20,
        required=False,
        help_text=_("Only of what was given back, of another refund than asked for, or a dispute."),
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
    )
    taken_currency = forms.CharField(
        label=_("Its currency"),
        max_length=3,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )
    returned_ref = forms.CharField(
        label=_("Reference by which it was given back"),
        max_length=40,
        required=False,
        help_text=_("As the rail's statement names it, so that the statement is found to agree."),
        widget=UnfoldAdminTextInputWidget(),
    )

    field_order = (
        "finding",
        "payment_ref",
        "taken",
        "taken_currency",
        "returned_ref",
        "reason",
        "token",
    )

    def __init__(self, *args: Any, subject: Recharge, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["taken_currency"].initial = subject.currency
        possible = attestations.possible(subject)
        finding: Any = self.fields["finding"]
        finding.choices = [("", "—"), *((one.value, one.label) for one in possible)]

    def clean_taken_currency(self) -> str:
        return str(self.cleaned_data["taken_currency"]).upper()

    def clean(self) -> dict[str, Any]:
        """What the finding needs is there; what it does not need is not kept."""
        said = super().clean() or self.cleaned_data
        finding = said.get("finding")
        if finding and finding not in _NAMES_NOTHING and not said.get("payment_ref"):
            self.add_error("payment_ref", _MISSING)
        if finding == Finding.GIVEN_BACK and not said.get("returned_ref"):
            self.add_error("returned_ref", _MISSING)
        if finding in _SAYS_HOW_MUCH:
            said["taken_minor"] = self._taken_minor(said)
        return said

    def _taken_minor(self, said: dict[str, Any]) -> int | None:
        try:
            taken_minor = money.parse_amount(said.get("taken", ""), said.get("taken_currency", ""))
        except money.InvalidAmount as refusal:
            self.add_error("taken", str(refusal.sentence))
            return None
        except money.UnknownCurrency:
            self.add_error("taken_currency", _("Write the currency as three letters, such as CNY."))
            return None
        if taken_minor == 0:
            self.add_error("taken", _("Nothing taken is another answer above."))
        return taken_minor

    def more(self) -> dict[str, Any]:
        said = self.cleaned_data
        finding = Finding(said["finding"])
        if finding in _NAMES_NOTHING:
            return {"found": Found(finding)}
        if finding not in _SAYS_HOW_MUCH:
            return {"found": Found(finding, said["payment_ref"])}
        returned_ref = said["returned_ref"] if finding == Finding.GIVEN_BACK else ""
        amount = (said["taken_minor"], said["taken_currency"])
        return {"found": Found(finding, said["payment_ref"], *amount, returned_ref)}


def may_say(recharge: Recharge) -> bool:
    """Once: what waits for a second person is approved or rejected first."""
    return bool(attestations.possible(recharge)) and not attestations.is_waiting(recharge)


def _not_within_charge(recharge: Recharge, refusal: Exception) -> str:
    assert isinstance(refusal, found.NotWithinCharge)  # noqa: S101 - by its key
    left = words.amount(refusal.left_minor, recharge.currency)
    return gettext(
        "A bank takes back %(left)s at most, which is what was charged and has not gone back."
    ) % {"left": left}


SAY = Act(
    verb="request-settlement",
    label=_("Say what the rail did"),
    explanation=_(
        "For a payment, refund, credit or dispute that you have looked up on their own pages. A"
        " second person confirms it before anything moves: then the line is credited, or the money"
        " goes back, or the recharge ends, and the books say so."
    ),
    permission="billing.request_settlement",
    is_legal=may_say,
    run=lambda recharge, *, actor, reason, at, found: attestations.request(
        recharge=recharge, found=found, reason=reason, requested_by=actor, at=at
    ),
    refusals={
        found.NotSettleable: _("It has moved on meanwhile."),
        found.NotWithinCharge: _not_within_charge,
        attestations.AlreadyRequested: _("Somebody has said already: a second person is awaited."),
    },
    form=FindingForm,
    is_grave=True,
)
