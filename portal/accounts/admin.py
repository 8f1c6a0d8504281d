"""Users as operators see them. Roles are given by administrators alone."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from lines.admin.base import SettingAdmin, label, plain, related
from lines.admin.lines import FULL_NUMBER
from lines.admin.searching import SearchMixin, people
from lines.identifiers import mask_msisdn
from portal.accounts.models import User

# What makes somebody an operator: only a superuser decides that.
ROLES = ("is_staff", "is_superuser", "groups")


class NewOperatorForm(forms.ModelForm):
    """An operator signs in by a link for a new password: nobody else ever knows it."""

    class Meta:
        model = User
        fields = ("email", "name", "language", "is_staff", "groups")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].required = True

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()


@admin.register(User)
class UserAdmin(SearchMixin, SettingAdmin):
    """Subscribers and operators. Addresses, numbers and passwords are their owners' to change."""

    list_display = ("who", "email", "masked_phone", "role", "is_active", "date_joined")
    list_filter = ("is_staff", "is_active", "language", "groups")
    ordering = ("-pk",)
    add_form = NewOperatorForm
    filter_horizontal = ()

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = self.add_form
        return super().get_form(request, obj, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("email", "name", "language", "is_staff", "groups")}),)
        phone = "full_phone" if request.user.has_perm(FULL_NUMBER) else "masked_phone"
        return (
            (_("Person"), {"fields": ("name", "email", phone, "proven", "public_name",
                                      "language", "timezone", "is_active", "date_joined",
                                      "last_login")}),
            (_("Role"), {"fields": ROLES}),
            (_("More"), {"fields": ("more",)}),
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return ()
        fixed = ("email", "masked_phone", "full_phone", "proven", "public_name",
                 "date_joined", "last_login", "more")  # fmt: skip
        return fixed if request.user.is_superuser else (*fixed, *ROLES)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """An operator is changed by a superuser only: else whoever may edit users edits these."""
        may = super().has_change_permission(request, obj)
        is_operator = obj is not None and (obj.is_staff or obj.is_superuser)
        return may and (request.user.is_superuser or not is_operator)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.set_unusable_password()
            obj.save()
            return
        # Groups are rows of their own; Django saves them after this.
        columns = [name for name in form.changed_data if name != "groups"]
        if columns:
            obj.save(update_fields=columns)

    proven = plain("phone_verified_at", _("number proven at"))
    public_name = plain("public_id", _("public ID"))

    @display(description=_("name"), ordering="name")
    def who(self, user: User) -> str:
        return user.name or "-"

    @display(description=_("phone number"))
    def masked_phone(self, user: User) -> str:
        return mask_msisdn(user.phone) if user.phone else "-"

    @display(description=_("phone number, in full"))
    def full_phone(self, user: User) -> str:
        return user.phone or "-"

    @display(description=_("role"), ordering="is_staff")
    def role(self, user: User) -> SafeString:
        if user.is_superuser:
            return label(_("administrator"), "warn")
        return label(_("operator"), "good") if user.is_staff else label(_("subscriber"))

    @display(description=_("more of this person"))
    def more(self, user: User) -> SafeString:
        lists = (
            ("lines_line", "owner__id__exact", _("lines")),
            ("billing_recharge", "owner__id__exact", _("recharges")),
            ("billing_binding", "owner__id__exact", _("payment methods")),
            ("billing_notice", "owner__id__exact", _("notices")),
            ("billing_spendingcap", "owner__id__exact", _("spending cap")),
        )
        return related(lists, user.pk)

    def found(self, term: str) -> Q:
        tail = Q(phone__endswith=term) if len(term) == 4 and term.isdigit() else Q()
        return tail or Q(pk__in=people(term)) | Q(name=term)


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(SettingAdmin):
    """Roles: named sets of permissions."""

    list_display = ("name",)
    ordering = ("name",)
    search_fields = ("name",)
    search_help_text = _("Name")
    fields = ("name", "permissions")
    filter_horizontal = ("permissions",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return bool(request.user.is_superuser)
