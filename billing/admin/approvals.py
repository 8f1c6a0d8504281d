from typing import Any

from django import forms

from lines.admin.acts import ReasonForm


class ApprovalForm(ReasonForm):
    """Approves what its page showed, and nothing else: `seen` is that operation's fingerprint."""

    seen = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, subject: Any, **kwargs: Any) -> None:
        super().__init__(*args, subject=subject, **kwargs)
        self.fields["seen"].initial = subject.fingerprint
