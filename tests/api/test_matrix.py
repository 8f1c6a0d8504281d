"""Every address × every caller × whose it is: the exact status. A new address must be listed.

Whoever adds an address adds a row, or `TestEveryAddress` fails.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction

from billing import gateways
from lines.references import new_reference
from portal.api import urls
from tests import days, world
from tests.api.callers import Caller, integrator, with_token
from tests.api.conftest import Belongings, belongings
from tests.fakes import FakeGateway

ABSENT_NOTICE = 2**40


@dataclass(frozen=True)
class Row:
    """One operation. `own` is what its owner gets; `of` is the kind of object its address names."""

    address: str
    method: str
    own: int
    of: str = ""  # "", "line", "esim", "unproven", "binding", "recharge", "notice"
    body: Callable[[Belongings], Any] = field(default=lambda _mine: None)
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.method} {self.address}"


def terms(mine: Belongings) -> dict[str, Any]:
    return {
        "binding": mine.binding.ref,
        "face_minor": 5000,
        "threshold_minor": 1000,
        "max_per_charge_minor": 5000,
        "max_per_month_minor": 15000,
    }


def new_line(_mine: Belongings) -> dict[str, Any]:
    return {
        "kind": "fm",
        "carrier": "cmcc",
        "msisdn": "+8613800138000",
        "iccid": "8944538532008160222",
        "label": "new",
    }


def by_hand(mine: Belongings) -> dict[str, Any]:
    return {
        "line": mine.line.public_id,
        "binding": mine.binding.ref,
        "face_minor": 5000,
        "currency": "CNY",
    }


SEEN = (("If-Match", '"1"'),)
LINE, RULE = "lines/<ref:line>", "lines/<ref:line>/rule"
BINDING, RECHARGE = "bindings/<ref:binding>", "recharges/<ref:recharge>"
ROWS = [
    Row("carriers", "GET", 200),
    Row("rails", "GET", 200),
    Row("lines", "GET", 200),
    Row("lines", "POST", 201, body=new_line),
    Row(LINE, "GET", 200, "line"),
    Row(LINE, "PATCH", 200, "line", lambda _: {"label": "x"}),
    Row(LINE, "DELETE", 204, "line"),
    Row(f"{LINE}/proof", "POST", 201, "unproven"),
    Row(f"{LINE}/prove", "POST", 200, "line", lambda _: {"code": "123456"}),  # live already
    Row(f"{LINE}/activation-code", "GET", 200, "esim"),
    Row(f"{LINE}/readings", "GET", 200, "line"),
    Row(f"{LINE}/decisions", "GET", 200, "line"),
    Row(RULE, "GET", 200, "line"),
    Row(RULE, "PUT", 409, "line", terms, SEEN),  # it runs: only `confirm` takes new terms
    Row(f"{RULE}/preview", "POST", 200, "line", terms),
    Row(f"{RULE}/confirm", "POST", 412, "line", lambda _: {"consent_text": "other words"}, SEEN),
    Row(f"{RULE}/pause", "POST", 200, "line", lambda _: {"until": days.soon().isoformat()}),
    Row(f"{RULE}/resume", "POST", 200, "line"),
    Row(f"{RULE}/skip", "POST", 409, "line", lambda _: {}),  # it has no schedule
    Row(f"{RULE}/unskip", "POST", 200, "line"),
    Row(f"{RULE}/stop", "POST", 200, "line"),
    Row("rules", "GET", 200),
    Row("readings", "POST", 403, body=lambda mine: reading(mine)),
    Row("bindings", "GET", 200),
    Row("bindings", "POST", 201, body=lambda _: {"rail": "alipay"}),
    Row(BINDING, "GET", 200, "binding"),
    Row(f"{BINDING}/refresh", "POST", 200, "binding"),
    Row(f"{BINDING}/default", "POST", 200, "binding"),
    Row(f"{BINDING}/resume", "POST", 200, "binding"),
    Row(f"{BINDING}/end", "POST", 200, "binding", lambda _: {}),
    Row("recharges", "GET", 200),
    Row("recharges", "POST", 201, body=by_hand),
    Row(RECHARGE, "GET", 200, "recharge"),
    Row(f"{RECHARGE}/cancel", "POST", 200, "recharge"),
    Row("notices", "GET", 200),
    Row("notices/<int:notice>/read", "POST", 200, "notice"),
]
PUBLIC = {"schema/", "docs/", ""}
ABOUT_ONE = [row for row in ROWS if row.of]


def reading(mine: Belongings) -> dict[str, Any]:
    return {
        "line": mine.line.public_id,
        "balance_minor": 2000,
        "currency": "CNY",
        "observed_at": "2026-11-22T12:30:00+08:00",
    }


def path_to(row: Row, whose: Belongings | None) -> str:
    """The row's path to what `whose` has; None: to what nobody has."""
    head, _, rest = row.address.partition("<")
    tail = rest.partition(">")[2]
    if not row.of:
        return row.address
    if whose is None:
        return f"{head}{ABSENT_NOTICE if row.of == 'notice' else new_reference()}{tail}"
    thing = getattr(whose, row.of)
    name = {"notice": "pk", "binding": "ref", "recharge": "ref"}.get(row.of, "public_id")
    return f"{head}{getattr(thing, name)}{tail}"


def ask(caller: Caller, row: Row, *, whose: Belongings | None, mine: Belongings) -> Any:
    return caller.call(row.method, path_to(row, whose), row.body(mine), **dict(row.headers))


@pytest.fixture(scope="module")
def homes(django_db_setup: Any, django_db_blocker: Any) -> Iterator[tuple[Belongings, Belongings]]:
    """Alice's and Bob's, made once: what a test does to them is rolled back after that test."""
    everything = transaction.atomic()
    with django_db_blocker.unblock(), gateways.override("alipay", FakeGateway()):
        everything.__enter__()
        made = belongings("alice"), belongings("bob")
    yield made
    with django_db_blocker.unblock():
        transaction.set_rollback(True)
        everything.__exit__(None, None, None)


@pytest.fixture
def alice(homes: tuple[Belongings, Belongings], db: Any, gateway: FakeGateway) -> Belongings:
    return deepcopy(homes[0])


@pytest.fixture
def bob(homes: tuple[Belongings, Belongings], db: Any, gateway: FakeGateway) -> Belongings:
    return deepcopy(homes[1])


def named(rows: list[Row]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


class TestEveryAddress:
    def test_is_listed_with_every_method_it_takes(self) -> None:
        assert set(_served()) == {(row.address, row.method) for row in ROWS}

    def test_says_which_methods_it_takes(self, as_alice: Caller, alice: Belongings) -> None:
        for row in ROWS:
            answer = as_alice.call("TRACE", path_to(row, alice))
            assert answer.status_code == 405, row.name
            assert row.method in answer["Allow"], row.name


def _served() -> Iterator[tuple[str, str]]:
    for pattern in urls.urlpatterns:
        address = str(pattern.pattern)
        if address not in PUBLIC:
            methods = set(pattern.callback.actions) - {"head"}  # a GET without its body
            yield from ((address, method.upper()) for method in methods)


class TestAnonymous:
    @named(ROWS)
    def test_is_asked_who_it_is(self, row: Row, alice: Belongings) -> None:
        for whose in (alice, None):
            answer = ask(Caller(), row, whose=whose, mine=alice)
            assert answer.status_code == 401
            assert answer["WWW-Authenticate"] == 'Bearer realm="Keepline"'
            assert answer.json()["code"] == "not_authenticated"


class TestOwner:
    @named(ROWS)
    def test_gets_the_status_listed_by_token(self, row: Row, alice: Belongings) -> None:
        answer = ask(with_token(alice.owner), row, whose=alice, mine=alice)
        assert answer.status_code == row.own, answer.content

    @named(ROWS)
    def test_gets_the_same_when_signed_in(self, row: Row, alice: Belongings) -> None:
        answer = ask(Caller(user=alice.owner), row, whose=alice, mine=alice)
        assert answer.status_code == row.own, answer.content

    @named(ABOUT_ONE)
    def test_finds_nothing_at_a_name_that_nobody_has(self, row: Row, alice: Belongings) -> None:
        answer = ask(with_token(alice.owner), row, whose=None, mine=alice)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


class TestWhatCameIntoBeing:
    @named([row for row in ROWS if row.method == "POST" and row.own == 201 and not row.of])
    def test_is_read_where_the_answer_says(
        self, row: Row, as_alice: Caller, alice: Belongings
    ) -> None:
        made = ask(as_alice, row, whose=alice, mine=alice)
        body = made.json()
        thing = body if "id" in body else body["binding"]
        read = as_alice.get(made["Location"].removeprefix("/api/v1/"))
        assert read.json()["id"] == thing["id"]


class TestStranger:
    @named(ABOUT_ONE)
    def test_gets_the_same_as_for_what_nobody_has(
        self, row: Row, alice: Belongings, bob: Belongings
    ) -> None:
        as_bob = with_token(bob.owner)
        there = ask(as_bob, row, whose=alice, mine=bob)
        nowhere = ask(as_bob, row, whose=None, mine=bob)
        assert (there.status_code, nowhere.status_code) == (404, 404)
        assert _told(there) == _told(nowhere)

    @named([row for row in ROWS if row.method == "GET" and not row.of])
    def test_sees_nothing_of_alice_in_a_list(
        self, row: Row, alice: Belongings, bob: Belongings
    ) -> None:
        shown = ask(with_token(bob.owner), row, whose=None, mine=bob).content.decode()
        for one in (alice.line, alice.esim, alice.rule):
            assert one.public_id not in shown
        for secret in (alice.binding.ref, alice.recharge.ref, alice.line.msisdn):
            assert secret not in shown

    def test_cannot_name_alices_things_in_a_body(self, alice: Belongings, bob: Belongings) -> None:
        as_bob = with_token(bob.owner)
        for field_name, body in (
            ("line", by_hand(bob) | {"line": alice.line.public_id}),
            ("binding", by_hand(bob) | {"binding": alice.binding.ref}),
        ):
            answer = as_bob.post("recharges", body)
            assert answer.status_code == 400
            assert list(answer.json()["errors"]) == [field_name]
        moved = as_bob.post(f"bindings/{bob.binding.ref}/end", {"move_rules_to": alice.binding.ref})
        assert moved.status_code == 400
        previewed = as_bob.post(
            f"lines/{bob.line.public_id}/rule/preview",
            terms(bob) | {"binding": alice.binding.ref},
        )
        assert list(previewed.json()["errors"]) == ["binding"]
        assert alice.line.recharges.count() == bob.line.recharges.count() == 0


class TestCarriersOfA_and_B:  # noqa: N801
    """`A` is Alice's carrier, `B` is another."""

    @named([row for row in ROWS if row.address != "readings"])
    def test_may_ask_for_nothing_but_pushing(self, row: Row, alice: Belongings) -> None:
        for carrier in (world.carrier(), world.carrier("cucc")):
            caller = integrator(world.person("bss"), carrier)
            for whose in (alice, None):
                answer = ask(caller, row, whose=whose, mine=alice)
                assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")

    def test_a_pushes_to_its_own_line_and_b_does_not_find_it(self, alice: Belongings) -> None:
        a = integrator(world.person("bss"), world.carrier())
        b = integrator(world.person("bss"), world.carrier("cucc"))

        refused = b.post("readings", reading(alice))
        assert refused.status_code == 207
        assert refused.json()["results"][0]["code"] == "unknown_line"
        assert alice.line.readings.count() == 0

        taken = a.post("readings", reading(alice))
        assert taken.status_code == 207
        assert taken.json()["results"] == [{"index": 0, "result": "applied"}]
        assert alice.line.readings.count() == 1

    def test_gets_no_further_by_owning_lines_itself(self, alice: Belongings) -> None:
        """The token's scope counts, not what its owner could do when signed in."""
        own = integrator(alice.owner, world.carrier("cucc"))
        assert own.get(f"lines/{alice.line.public_id}").status_code == 403


class TestOperator:
    @named(ABOUT_ONE)
    def test_has_no_more_rights_here_than_anybody(self, row: Row, alice: Belongings) -> None:
        staff = world.person("staff", is_staff=True, is_superuser=True)
        for caller in (Caller(user=staff), with_token(staff)):
            answer = ask(caller, row, whose=alice, mine=alice)
            assert answer.status_code == 404

    def test_cannot_push_readings(self, alice: Belongings) -> None:
        staff = world.person("staff", is_staff=True, is_superuser=True)
        for caller in (Caller(user=staff), with_token(staff)):
            assert caller.post("readings", reading(alice)).status_code == 403
        assert alice.line.readings.count() == 0


def _told(answer: Any) -> dict[str, Any]:
    body = dict(answer.json())
    body.pop("request_id")
    return body
