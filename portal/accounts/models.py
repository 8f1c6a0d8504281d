from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from lines.fields import PlainInMigrations, ReferenceField, ZoneField


class UserManager(BaseUserManager["User"]):
    def create_user(self, *, email: str = "", password: str | None = None, **more: Any) -> "User":
        """A person who signs in with `email` or `phone` (E.164); one of them must be given."""
        user = self.model(email=self.normalize_email(email).lower(), **more)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, *, email: str, password: str | None = None, **more: Any) -> "User":
        return self.create_user(
            email=email, password=password, is_staff=True, is_superuser=True, **more
        )


class OptionalEmailField(PlainInMigrations, models.EmailField):
    """An address or NULL; an empty text becomes NULL, so that UNIQUE leaves the unset alone."""

    plain = "django.db.models.EmailField"

    def get_prep_value(self, value: object) -> object:
        return (super().get_prep_value(value) or "").strip().lower() or None


class OptionalPhoneField(PlainInMigrations, models.CharField):
    """An E.164 number or NULL; an empty text becomes NULL, as above."""

    plain = "django.db.models.CharField"

    def get_prep_value(self, value: object) -> object:
        return super().get_prep_value(value) or None


class User(AbstractBaseUser, PermissionsMixin):
    """A subscriber or an operator, known by an e-mail address, a phone number, or both."""

    public_id = ReferenceField(editable=False)
    email = OptionalEmailField(_("e-mail address"), unique=True, null=True, blank=True)
    phone = OptionalPhoneField(  # E.164
        _("phone number"), max_length=16, unique=True, null=True, blank=True
    )
    phone_verified_at = models.DateTimeField(null=True, blank=True)
    name = models.CharField(_("name"), max_length=60, blank=True)
    language = models.CharField(_("language"), max_length=10, default="zh-hans")
    timezone = ZoneField(_("time zone"))
    is_staff = models.BooleanField(_("operator"), default=False)
    is_active = models.BooleanField(_("active"), default=True)
    date_joined = models.DateTimeField(_("joined at"), default=now)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.CheckConstraint(
                name="user_can_be_reached",
                condition=Q(email__isnull=False) | Q(phone__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.email or self.public_id
