"""The entrance's forms: allauth's, with a phone number first and one way at a time."""

from typing import Any

from allauth.account import forms as allauth_forms
from allauth.account.internal.userkit import filter_users_by_email
from allauth.core import context
from django import forms
from django.utils.translation import gettext_lazy as _

from lines import identifiers
from portal.accounts import texts

PASSWORD_HELP = _("At least 10 characters; not a common password, not figures only.")


class SignInForm(allauth_forms.LoginForm):
    """With a password: an e-mail address, or a number written in any usual way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = _("E-mail address or mobile number")
        self.fields["login"].widget.attrs |= {"autocomplete": "username", "placeholder": ""}
        self.fields["password"].help_text = ""
        self.fields["password"].widget.attrs.pop("placeholder", None)

    def clean_login(self) -> str:
        login: str = super().clean_login()
        if "@" in login:
            return login.lower()
        try:
            return identifiers.parse_msisdn(login)
        except identifiers.InvalidIdentifier:
            # What it is not is no clue worth giving here: the pair simply does not match.
            return login


def _typed_before() -> str:
    """The number whose text could not be sent: it stands in the form again, not to be retyped."""
    return str(context.request.session.pop(texts.UNSENT, ""))


class RequestCodeForm(allauth_forms.RequestLoginCodeForm):
    """Sign in with a code sent to the phone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["email"]
        self.fields["phone"].required = True
        if not self.is_bound:
            self.initial["phone"] = _typed_before()


class SignUpForm(allauth_forms.SignupForm):
    """Register with a phone number, or with an e-mail address and a password: `by` says which."""

    def __init__(self, *args: Any, by: str = "phone", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        unused = ["email", "password1"] if by == "phone" else ["phone"]
        for name in unused:
            del self.fields[name]
        for field in self.fields.values():
            field.required = True
            field.widget.attrs.pop("placeholder", None)
        if by == "phone":
            self.fields["phone"].label = _("Mobile number")
            if not self.is_bound:
                self.initial["phone"] = _typed_before()
        else:
            self.fields["email"].label = _("E-mail address")
            self.fields["password1"].help_text = PASSWORD_HELP

    def validate_unique_email(self, value: str) -> str:
        """A known address goes on like a new one: its owner gets a letter, a stranger no hint."""
        self.account_already_exists = bool(filter_users_by_email(value))
        return value


class _OnePassword(forms.Form):
    """One new password typed once: the field can show it, so a second one only annoys."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["password2"]
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)
        self.fields["password1"].help_text = PASSWORD_HELP


class ChangePasswordForm(_OnePassword, allauth_forms.ChangePasswordForm):
    """The old password and a new one."""


class SetPasswordForm(_OnePassword, allauth_forms.SetPasswordForm):
    """A first password."""


class ResetPasswordKeyForm(_OnePassword, allauth_forms.ResetPasswordKeyForm):
    """A new password after the code from the letter."""
