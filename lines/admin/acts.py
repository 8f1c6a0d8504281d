"""Operations: a page that says what will happen, asks why, and does it once.

An `Act` names one operation, who may do it and when it is legal; `ActsMixin` gives the object's
page its buttons and the page behind each. Looking changes nothing; doing is a POST with a token
that counts once, in one transaction with its record and its effect.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget

from lines import operations
from lines.admin.base import page_url
from lines.models import Operation

Text = str | Promise
# The verbs that records name, in words: each act adds its own as it is defined.
VERBS: dict[str, Text] = {}


class ReasonForm(forms.Form):
    """Why it is done, and the token that lets it be done once."""

    reason = forms.CharField(
        label=_("Why"),
        max_length=200,
        help_text=_("Kept for good, with your name and the time."),
        error_messages={"required": _("Say why: whoever reads this later needs it.")},
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    token = forms.CharField(max_length=43, min_length=20, widget=forms.HiddenInput)

    def __init__(self, *args: Any, subject: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subject = subject
        self.fields["token"].initial = secrets.token_urlsafe(32)

    def more(self) -> dict[str, Any]:
        """What an operation needs besides its reason."""
        known = ("reason", "token")
        return {name: value for name, value in self.cleaned_data.items() if name not in known}


@dataclass(frozen=True, slots=True)
class Act:
    """One operation on one object.

    `run(subject, actor=, reason=, at=, …)` makes one domain call. `refusals` turns the exceptions
    it may raise into sentences. `unless` says why this operator may not, or "".
    """

    verb: str
    label: Text
    explanation: Text
    permission: str
    is_legal: Callable[[Any], bool]
    run: Callable[..., object]
    refusals: Mapping[type[Exception], Text | Callable[[Any, Exception], Text]] = field(
        default_factory=dict
    )
    form: type[ReasonForm] = ReasonForm
    is_grave: bool = False
    # Asked for the second factor again, unless it was shown in the last minutes.
    moves_money: bool = False
    unless: Callable[[Any, Any], Text] = lambda _subject, _actor: ""

    def __post_init__(self) -> None:
        VERBS[self.verb] = self.label

    def sentence(self, subject: Any, refusal: Exception) -> Text:
        """Why it could not be done, for the operator."""
        for kind, words in self.refusals.items():
            if isinstance(refusal, kind):
                return words(subject, refusal) if callable(words) else words
        raise refusal


@dataclass(frozen=True, slots=True)
class Button:
    """One legal act as the page shows it; `hint` says why it is not for this operator."""

    act: Act
    url: str
    hint: Text


def target(subject: Any) -> str:
    """How records name a subject: by the name it has for people, never by its key."""
    names = ("ref", "reference", "public_id", "code")
    name = next(getattr(subject, name) for name in names if hasattr(subject, name))
    return f"{subject._meta.model_name}:{name}"


class ActsMixin:
    """For a ModelAdmin whose objects can be operated on. Mix in before it."""

    acts: tuple[Act, ...] = ()
    change_form_outer_before_template = "admin/_buttons.html"
    model: type[Model]
    admin_site: Any

    def page_after(self, subject: Any) -> str:
        """Where the operator goes when it is done."""
        return page_url(subject)

    def facts(self, subject: Any) -> list[tuple[Any, Any]]:
        """What whoever decides must have before their eyes: (name, what it is) each."""
        return []

    def get_urls(self) -> list[URLPattern]:
        meta = self.model._meta
        do = path(
            "<path:object_id>/do/<slug:verb>/",
            self.admin_site.admin_view(self.act_view),
            name=f"{meta.app_label}_{meta.model_name}_do",
        )
        return [do, *super().get_urls()]  # type: ignore[misc]

    def buttons(self, request: HttpRequest, subject: Any) -> list[Button]:
        """The acts that are legal now and that this operator may do."""
        meta = self.model._meta
        return [
            Button(
                act,
                reverse(
                    f"admin:{meta.app_label}_{meta.model_name}_do", args=[subject.pk, act.verb]
                ),
                act.unless(subject, request.user),
            )
            for act in self.acts
            if act.is_legal(subject) and request.user.has_perm(act.permission)
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        subject = self.get_object(request, unquote(object_id))  # type: ignore[attr-defined]
        more = {"buttons": self.buttons(request, subject)} if subject else {}
        return super().change_view(  # type: ignore[misc,no-any-return]
            request, object_id, form_url, (extra_context or {}) | more
        )

    def act_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """The page that asks why (GET), and the operation itself (POST)."""
        act = next((one for one in self.acts if one.verb == verb), None)
        subject = self.get_object(request, unquote(object_id))  # type: ignore[attr-defined]
        if act is None or subject is None:
            raise Http404
        if not self._may(request, act, subject):
            raise PermissionDenied
        if act.moves_money and (step := self.admin_site.fresh_factor_step(request)):
            messages.info(request, gettext("Money moves: show your second factor once more."))
            return HttpResponseRedirect(step)
        form = act.form(request.POST or None, subject=subject)
        if request.method == "POST" and form.is_valid():
            self._do(request, act, subject, form)
            return HttpResponseRedirect(self.page_after(subject))
        if request.method == "GET" and not act.is_legal(subject):
            messages.warning(request, self._too_late(subject))
            return HttpResponseRedirect(self.page_after(subject))
        return self._ask(request, act, subject, form)

    def _may(self, request: HttpRequest, act: Act, subject: Any) -> bool:
        may_view: bool = self.has_view_permission(request, subject)  # type: ignore[attr-defined]
        return may_view and request.user.has_perm(act.permission)

    def _ask(self, request: HttpRequest, act: Act, subject: Any, form: ReasonForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": act.label,
            "subject": subject,
            "act": act,
            "form": form,
            "facts": self.facts(subject),
            "refusal": act.unless(subject, request.user),
            "opts": self.model._meta,
            "back": self.page_after(subject),
        }
        return TemplateResponse(request, "admin/act.html", context)

    def _do(self, request: HttpRequest, act: Act, subject: Any, form: ReasonForm) -> None:
        """One transaction: the record with its token, then the one domain call."""
        reason, at = form.cleaned_data["reason"], timezone.now()
        try:
            with transaction.atomic():
                operations.record(
                    token=form.cleaned_data["token"],
                    verb=act.verb,
                    target=target(subject),
                    actor=request.user,
                    reason=reason,
                    at=at,
                )
                act.run(subject, actor=request.user, reason=reason, at=at, **form.more())
                self.log_change(request, subject, f"{act.verb}: {reason}")  # type: ignore[attr-defined]
        except operations.AlreadyDone as done:
            messages.info(request, already(done.operation))
        except tuple(act.refusals) as refusal:
            messages.warning(request, self._refused(act, subject, refusal))
        else:
            messages.success(request, gettext("Done: %(what)s.") % {"what": act.label})

    def _refused(self, act: Act, subject: Any, refusal: Exception) -> str:
        """The reason, and who was first where somebody was."""
        sentence = str(act.sentence(subject, refusal))
        first = operations.last(target=target(subject))
        return f"{sentence} {already(first)}" if first else sentence

    def _too_late(self, subject: Any) -> str:
        first = operations.last(target=target(subject))
        sentence = gettext("This is not possible now: the state has changed.")
        return f"{sentence} {already(first)}" if first else sentence


def already(operation: Operation) -> str:
    """ "Already done by Cora on Nov 22 at 12:00: approve." """
    return gettext("Already done by %(who)s at %(when)s: %(verb)s.") % {
        "who": operation.actor,
        "when": date_format(timezone.localtime(operation.at), "SHORT_DATETIME_FORMAT"),
        "verb": verb_words(operation.verb),
    }


def verb_words(verb: str) -> Text:
    """An operation's verb for a reader."""
    return VERBS.get(verb, verb)
