"""Columns that know more than Django's, which a migration need not know.

A migration imports no code of ours (tests/house/test_migrations.py): it says what the column is,
and that is Django's own field. Defaults that are functions of ours are Python's, no column's.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from lines import zones
from lines.references import new_reference

if TYPE_CHECKING:  # what is read from a row is a text, which the class itself cannot say
    _Text = models.CharField[str, str]
else:
    _Text = models.CharField


class PlainInMigrations:
    """Put before a field of Django's; `plain` is that one's path, as migrations write it."""

    plain: ClassVar[str]

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()  # type: ignore[misc]
        if callable(kwargs.get("default")):
            del kwargs["default"]
        return name, self.plain, args, kwargs


class ReferenceField(PlainInMigrations, _Text):
    """A public name, made with the row: `lines.references`."""

    plain = "django.db.models.CharField"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given: dict[str, Any] = {"max_length": 26, "unique": True, "default": new_reference}
        super().__init__(*args, **given | kwargs)


if TYPE_CHECKING:
    PlainArrayField = ArrayField
else:

    class PlainArrayField(PlainInMigrations, ArrayField):
        """A list whose default is a function of ours."""

        plain = "django.contrib.postgres.fields.ArrayField"


def validate_zone(name: str) -> None:
    if not zones.is_zone(name):
        raise ValidationError(_("Write a zone such as Asia/Shanghai or Europe/Berlin."), "no_zone")


class ZoneField(PlainInMigrations, _Text):
    """The name of a time zone that there is."""

    plain = "django.db.models.CharField"
    default_validators = [validate_zone]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given: dict[str, Any] = {"max_length": 64, "default": zones.DEFAULT}
        super().__init__(*args, **given | kwargs)
