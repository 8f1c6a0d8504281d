"""How allauth sees our accounts: a phone or an e-mail address, and texts through a carrier."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import Login
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.timezone import now
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from lines import secrets_at_rest
from lines.identifiers import mask_msisdn
from portal import languages
from portal.accounts import texts
from portal.accounts.fields import PhoneField
from portal.accounts.models import User


class AccountAdapter(DefaultAccountAdapter):
    """Phone numbers are kept on the user; an unverified one belongs to nobody yet."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": _("This e-mail address and password do not match."),
        "phone_password_mismatch": _("This number and password do not match."),
        "username_password_mismatch": _("Enter a mobile number or an e-mail address."),
        "incorrect_code": _("This code is not right. Compare it with the one you received."),
        "incorrect_password": _("This password is not right."),
        "too_many_login_attempts": _("Too many tries. Wait a few minutes, then try again."),
        "rate_limited": _("Too many tries. Wait a few minutes, then try again."),
        "email_taken": _("This e-mail address cannot be used here."),
        "phone_taken": _("This number cannot be used here."),
        "same_as_current": _("This is the one you use already."),
    }

    def phone_form_field(self, **kwargs: Any) -> PhoneField:
        return PhoneField(**kwargs)

    def save_user(
        self, request: HttpRequest, user: User, form: BaseForm, commit: bool = True
    ) -> User:
        """Save a new user; a number typed before and never proven is taken up, not in the way."""
        phone = form.cleaned_data.get("phone") or None
        with transaction.atomic():
            if phone:
                user = _unproven().filter(phone=phone).first() or user
            user.phone = phone
            user.language = get_language() or user.language
            saved: User = super().save_user(request, user, form, commit)
            return saved

    def set_phone(self, user: User, phone: str, verified: bool) -> None:
        user.phone, user.phone_verified_at = phone, now() if verified else None
        user.save(update_fields=["phone", "phone_verified_at"])

    def get_phone(self, user: User) -> tuple[str, bool] | None:
        return (user.phone, user.phone_verified_at is not None) if user.phone else None

    def set_phone_verified(self, user: User, phone: str) -> None:
        """The number is proven to be `user`'s: nobody's unproven claim to it stands any more."""
        with transaction.atomic():
            _unproven().filter(phone=phone).exclude(pk=user.pk).delete()
            self.set_phone(user, phone, verified=True)

    def get_user_by_phone(self, phone: str) -> User | None:
        return User.objects.filter(phone=phone, phone_verified_at__isnull=False).first()

    def send_verification_code_sms(self, user: User, phone: str, code: str, **kwargs: Any) -> None:
        minutes = settings.ACCOUNT_PHONE_VERIFICATION_TIMEOUT // 60
        text = gettext("Keepline: your code is %(code)s, good for %(minutes)s minutes.")
        self._text(phone, text % {"code": code, "minutes": minutes})

    def send_unknown_account_sms(self, phone: str, **kwargs: Any) -> None:
        text = gettext("Keepline: no account uses this number yet. Register at %(url)s")
        self._text(phone, text % {"url": settings.PUBLIC_URL + reverse("account_signup")})

    def send_account_already_exists_sms(self, phone: str) -> None:
        text = gettext("Keepline: this number already has an account. Sign in at %(url)s")
        self._text(phone, text % {"url": settings.PUBLIC_URL + reverse("account_login")})

    def _text(self, phone: str, text: str) -> None:
        try:
            texts.send(phone=phone, text=text)
        except texts.TextNotSent as failure:
            sentence = _("The code could not be sent. Try again in a minute, or use e-mail.")
            messages.error(self.request, sentence)
            self.request.session[texts.UNSENT] = phone
            here = self.request.get_full_path()
            raise ImmediateHttpResponse(HttpResponseRedirect(here)) from failure

    def is_login_by_code_required(self, login: Login) -> bool:
        """Registering by e-mail is finished with a code: that proves the address, and a stranger
        who types a known one sees the same page as everybody."""
        address = login.email or (login.user.email if login.user else None)
        return bool(login.signup and address) or super().is_login_by_code_required(login)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        # allauth's own leaves the phone out: all numbers together would share five tries.
        key = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{key}:{credentials.get('phone', '')}"

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        languages.remember(response, user.language)
        return response


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets of the second factor are sealed in the database like every other."""

    def get_totp_label(self, user: User) -> str:
        return user.email or mask_msisdn(user.phone or "")

    def get_totp_issuer(self) -> str:
        return "Keepline"

    def encrypt(self, text: str) -> str:
        return secrets_at_rest.encrypt(text, keys=settings.ENCRYPTION_KEYS)

    def decrypt(self, encrypted_text: str) -> str:
        return secrets_at_rest.decrypt(encrypted_text, keys=settings.ENCRYPTION_KEYS)


def _unproven():
    """Users who typed a number and never entered the code: they own nothing."""
    return User.objects.filter(
        phone_verified_at__isnull=True, email__isnull=True, last_login__isnull=True
    )
