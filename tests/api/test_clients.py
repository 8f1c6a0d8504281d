"""Tokens: shown once, kept as a hash, refused when revoked; the command that makes them."""

import hashlib
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from portal.api import clients
from portal.api.models import ApiClient, Scope
from tests import world
from tests.api.callers import Caller, with_token
from tests.world import NOON


def issue(**more: Any) -> tuple[ApiClient, str]:
    given: dict[str, Any] = {
        "owner": world.person(),
        "name": "app",
        "scopes": ["read"],
        "carrier": None,
        "at": NOON,
    }
    return clients.issue(**given | more)


@pytest.mark.django_db
class TestToken:
    def test_holds_256_random_bits_and_is_kept_as_a_hash_alone(self) -> None:
        client, token = issue()
        assert token.startswith("kl_")
        assert len(token) == len("kl_") + 43  # 32 bytes in base64
        assert client.token_hash == hashlib.sha256(token.encode()).hexdigest()
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM portal_apiclient")
            assert token not in str(cursor.fetchall())
        assert issue()[1] != token

    def test_is_found_and_its_use_is_noted_to_the_minute(self) -> None:
        client, token = issue()
        for seconds, noted in ((0, 0), (59, 0), (61, 61)):
            found = clients.find(token=token, at=NOON + timedelta(seconds=seconds))
            client.refresh_from_db()
            assert found == client
            assert client.last_used_at == NOON + timedelta(seconds=noted)

    def test_is_unknown_once_revoked_and_the_first_time_counts(self) -> None:
        client, token = issue()
        clients.revoke(client=client, at=NOON)
        clients.revoke(client=client, at=NOON + timedelta(days=1))
        client.refresh_from_db()
        assert client.revoked_at == NOON
        with pytest.raises(clients.UnknownToken):
            clients.find(token=token, at=NOON)

    def test_is_unknown_while_its_owner_is_shut_out(self) -> None:
        client, token = issue()
        client.owner.is_active = False
        client.owner.save()
        with pytest.raises(clients.UnknownToken):
            clients.find(token=token, at=NOON)

    @pytest.mark.parametrize(
        "header", ["Bearer", "Bearer ", "Bearer kl_wrong", "Bearer é", "Bearer a b", "Token x"]
    )
    def test_of_another_kind_gets_401(self, header: str) -> None:
        answer = Caller().call("GET", "lines", Authorization=header)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == 'Bearer realm="Keepline"'


@pytest.mark.django_db
class TestScope:
    @pytest.mark.parametrize(
        ("scopes", "allowed"),
        [
            ((), set()),
            ((Scope.READ,), {"GET lines"}),
            ((Scope.WRITE,), {"PATCH line"}),
            ((Scope.ESIM_CODES,), {"GET code"}),
        ],
    )
    def test_allows_what_it_says_and_no_more(self, scopes: Any, allowed: set[str]) -> None:
        caller = with_token(world.person(), scopes=scopes)
        nowhere = "lines/01M82HCSNS8D7SWNTZFD8SAKRP"
        asked = {
            "GET lines": caller.get("lines"),
            "PATCH line": caller.call("PATCH", nowhere, {"label": "x"}),
            "GET code": caller.get(f"{nowhere}/activation-code"),
        }
        assert {name for name, answer in asked.items() if answer.status_code != 403} == allowed

    def test_to_push_belongs_to_a_carrier_and_the_database_says_so(self) -> None:
        with pytest.raises(IntegrityError, match="api_client_pushes"), transaction.atomic():
            issue(scopes=[Scope.PUSH_READINGS])
        with pytest.raises(IntegrityError, match="api_client_scopes_known"), transaction.atomic():
            issue(scopes=["everything"])
        assert not ApiClient.objects.exists()

    def test_for_a_carrier_comes_with_the_permission(self) -> None:
        client, _token = issue(carrier=world.carrier(), scopes=[Scope.PUSH_READINGS])
        owner = type(client.owner).objects.get(pk=client.owner.pk)
        assert owner.has_perm("lines.push_readings")


@pytest.mark.django_db
class TestCommand:
    def run(self, *args: str) -> str:
        out = StringIO()
        call_command("make_api_token", *args, stdout=out)
        return out.getvalue()

    def test_prints_the_token_once(self) -> None:
        owner = world.person()
        printed = self.run("alice@example.com", "--name", "my app")
        [token] = [word for word in printed.split() if word.startswith("kl_")]
        assert clients.find(token=token, at=NOON).owner == owner
        assert ApiClient.objects.get().scopes == ["read", "write"]

    def test_for_a_carrier_may_push_its_readings(self) -> None:
        world.person("bss")
        world.carrier()
        self.run("bss@example.com", "--name", "BSS", "--carrier", "cmcc")
        client = ApiClient.objects.get()
        assert (client.scopes, client.carrier) == (["readings:push"], world.carrier())

    @pytest.mark.parametrize(
        ("args", "sentence"),
        [
            (("nobody@example.com", "--name", "x"), "No such person"),
            (("alice@example.com", "--name", "x", "--carrier", "none"), "No such carrier"),
            (("alice@example.com", "--name", "x", "--scope", "readings:push"), "--carrier"),
        ],
    )
    def test_says_what_is_wrong_and_makes_none(self, args: Any, sentence: str) -> None:
        world.person()
        with pytest.raises(CommandError, match=sentence):
            self.run(*args)
        assert not ApiClient.objects.exists()
