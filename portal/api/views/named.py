"""The caller's objects named in a body: one that is not theirs is an error at that field."""

from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from billing.models import Binding
from lines.models import Line
from portal import owned


def line(actor: HttpRequest, public_id: str, *, field: str = "line") -> Line:
    try:
        return owned.line(actor, public_id)
    except Http404 as error:
        raise ValidationError({field: [_("There is no such line of yours.")]}) from error


def binding(actor: HttpRequest, ref: str, *, field: str = "binding") -> Binding:
    try:
        return owned.binding(actor, ref)
    except Http404 as error:
        sentence = _("There is no such payment method of yours.")
        raise ValidationError({field: [sentence]}) from error
