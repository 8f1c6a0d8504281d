"""The roles that come with an installation."""

from django.contrib.auth.models import Group

from portal.accounts.models import User
from portal.back_office import roles
from tests import world as w


def member(name: str, role: str) -> User:
    user = w.person(name, is_staff=True)
    user.groups.add(Group.objects.get(name__contains=role))
    return User.objects.get(pk=user.pk)


class TestRoles:
    def test_exist_after_every_migration(self, db):
        roles.ensure()

        assert set(roles.ROLES) <= set(Group.objects.values_list("name", flat=True))
        for name, permissions in roles.ROLES.items():
            group = Group.objects.get(name=name)
            held = {
                f"{one.content_type.app_label}.{one.codename}"
                for one in group.permissions.select_related("content_type")
            }
            assert set(permissions) <= held

    def test_keep_asking_for_a_refund_and_approving_one_apart_for_support(self, db):
        roles.ensure()
        support = member("sam", "Support")

        assert support.has_perm("billing.request_refund")
        assert not support.has_perm("billing.approve_refund")
        assert support.has_perm("billing.view_recharge")

    def test_show_nobody_a_number_in_full_and_give_nobody_rights_over_people(self, db):
        roles.ensure()

        for name in roles.ROLES:
            someone = member(name.split()[0], name)
            for forbidden in (
                "lines.view_full_number",
                "accounts.change_user",
                "auth.change_group",
                "portal.view_apiclient",
                "billing.change_recharge",
            ):
                assert not someone.has_perm(forbidden)

    def test_stay_as_an_administrator_has_changed_them(self, db):
        roles.ensure()
        group = Group.objects.get(name__contains="Marketing")
        group.permissions.clear()

        roles.ensure()

        assert group.permissions.count() == 0
