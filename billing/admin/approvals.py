from typing import Any

from django import forms
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from lines.admin.acts import ReasonForm
from lines.admin.base import link, page_url
from lines.admin.searching import SearchMixin, of_owner_or_line


class ApprovalForm(ReasonForm):
    """Approves what its page showed, and nothing else: `seen` is that operation's fingerprint."""

    seen = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, subject: Any, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["seen"].initial = subject.fingerprint


class RequestMixin(SearchMixin):
    """For what two people decide about a recharge: found by its numbers, and told on its page."""

    recharge_link = link("recharge", description=_("recharge"))

    def found(self, term: str) -> Q:
        ref = term.upper()
        return (
            Q(reference=ref)
            | Q(recharge__ref=ref)
            | of_owner_or_line(term, owner="recharge__owner_id", line="recharge__line_id")
        )

    def page_after(self, subject: Any) -> str:
        """The recharge's page tells the whole story, the request's own only a part."""
        return page_url(subject.recharge)
