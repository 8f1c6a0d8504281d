"""`manage.py make_api_token`: a token for a program, printed once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from lines.models import Carrier
from portal.accounts.models import User
from portal.api import clients
from portal.api.models import Scope


class Command(BaseCommand):
    help = "Make an API token for a person, or for a carrier's own system. It is shown once."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("owner", help="the e-mail address or public id of whom it acts for")
        parser.add_argument("--name", required=True, help="what the program is called")
        parser.add_argument("--carrier", help="a carrier's code: it reports that one's balances")
        parser.add_argument("--scope", action="append", choices=Scope.values, help="repeatable")

    def handle(self, *args: Any, **options: Any) -> None:
        carrier = _carrier(options["carrier"])
        scopes = options["scope"] or clients.default_scopes(carrier)
        if Scope.PUSH_READINGS in scopes and carrier is None:
            raise CommandError("readings:push is for a carrier's system: name it with --carrier.")
        client, token = clients.issue(
            owner=_owner(options["owner"]),
            name=options["name"],
            scopes=scopes,
            carrier=carrier,
            at=timezone.now(),
        )
        self.stdout.write(f"{client.name} may: {', '.join(client.scopes)}")
        self.stdout.write(f"{token}\nKeep it now: it cannot be shown again.")


def _owner(named: str) -> User:
    found = User.objects.filter(Q(email=named.lower()) | Q(public_id=named)).first()
    if found is None:
        raise CommandError("No such person. Give an e-mail address or a public id.")
    return found


def _carrier(code: str | None) -> Carrier | None:
    if not code:
        return None
    found = Carrier.objects.filter(code=code).first()
    if found is None:
        known = ", ".join(Carrier.objects.values_list("code", flat=True).order_by("code"))
        raise CommandError(f"No such carrier. There are: {known or 'none yet'}.")
    return found
