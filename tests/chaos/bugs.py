"""Bugs that other systems had, one of them switched on by KEEPLINE_BUG: a pytest plugin.

    KEEPLINE_BUG=no_fence python -m pytest -p tests.chaos.bugs tests/billing/test_executor.py

A bug that the suite does not notice means that a test is missing (test_negative_controls.py).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing import nudges, rates, rowsets
from billing.delivery import answers as credit_answers
from billing.engine import incoming as engine_incoming
from billing.engine import leases
from billing.engine.bulkheads import Bulkhead, Bulkheads, Whom
from billing.engine.pipeline import Pipeline
from billing.gateways.base import NotificationKind, Unknown
from billing.models import Refund, Rule
from billing.payments import answers, charging
from billing.recharges import claims, machine, waking
from billing.refunds import refunding
from billing.rules import deciding as rules_
from billing.states import DeclineClass, RechargeState
from lines.carriers.base import NotFound as NoOrder
from lines.carriers.base import Unknown as NoAnswer
from lines.references import new_reference
from portal.api import incoming

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True)
class Bug:
    """One of `tests` must notice it; where `needs_db`, it is in the database itself."""

    switch_on: Callable[[Patch], None]
    tests: str
    needs_db: bool = False


def unstable_reference(patch: Patch) -> None:
    """A new reference each time the charge is sent."""
    plain = charging.charge
    patch.setattr(
        charging,
        "charge",
        lambda row, **more: plain(row._replace(payment_ref=new_reference()), **more),
    )


def no_fence(patch: Patch) -> None:
    """A worker whose lease is another's writes all the same."""
    plain = rowsets._change

    def change(table: str, columns: Any, rows: Any, *, where: str, **more: Any) -> Any:
        for fence in (
            " AND (v.fence IS NULL OR t.fence = v.fence)",
            " AND t.fence = v.fence",
        ):
            where = where.replace(fence, "")
        return plain(table, columns, rows, where=where, **more)

    patch.setattr(rowsets, "_change", change)


def no_fence_on_refunds(patch: Patch) -> None:
    """As `no_fence`, for the money's way back."""
    plain = refunding._settle

    def settle(row: Any, answer: Any, *, at: Any) -> None:
        plain(row._replace(fence=Refund.objects.get(pk=row.id).fence), answer, at=at)

    patch.setattr(refunding, "_settle", settle)


def timeout_is_a_decline(patch: Patch) -> None:
    """No answer is taken for a no."""

    def declined(row: Any, outcome: Unknown, at: Any, context: Any) -> None:
        answers._declined(row, "TIMEOUT", DeclineClass.SOFT, at=at, context=context)

    patch.setitem(answers._HANDLERS, Unknown, declined)  # type: ignore[arg-type]


def timeout_is_a_rejection(patch: Patch) -> None:
    """No answer of the carrier is taken for a no: the money goes back."""
    plain = credit_answers._settle

    def settle(row: Any, outcome: Any, *, at: Any) -> None:
        if isinstance(outcome, NoAnswer):
            credit_answers._refund(row, "carrier_rejected", at=at)
        else:
            plain(row, outcome, at=at)

    patch.setattr(credit_answers, "_settle", settle)


def no_unique_key(_: Patch) -> None:
    """Nothing in the database keeps an occurrence from having two recharges."""
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX recharge_once_per_occurrence")


def unfrozen_amount(patch: Patch) -> None:
    """What is charged is what the rule says now, not what was opened."""
    plain = charging.charge

    def charge(row: Any, **more: Any) -> Any:
        price_minor = Rule.objects.get(pk=row.rule_id).face_minor if row.rule_id else None
        return plain(row._replace(price_minor=price_minor or row.price_minor), **more)

    patch.setattr(charging, "charge", charge)


def acknowledged_before_kept(patch: Patch) -> None:
    """A message is acknowledged though it could not be kept."""

    class Careless:
        @staticmethod
        def accept(**what: Any) -> bool:
            try:
                return engine_incoming.accept(**what)
            except Exception:
                return False

    patch.setattr(incoming, "incoming", Careless)


def message_dropped(patch: Patch) -> None:
    """A message about a recharge that a worker holds is done with, and nobody asks again."""

    def charge(row: Any, at: Any) -> str:
        waking.wake(reference=row.our_ref, at=at)
        return "woken"

    patch.setitem(engine_incoming._ACTS, ("rail", NotificationKind.CHARGE), charge)


def refund_without_a_key(patch: Patch) -> None:
    """A new reference each time a refund is sent."""
    plain = refunding.ask
    patch.setattr(
        refunding,
        "ask",
        lambda row, **more: plain(row._replace(reference=new_reference()), **more),
    )


def lease_by_the_hosts_clock(patch: Patch) -> None:
    """Whether a lease has run out is decided by whatever clock the worker's host has."""
    plain = rowsets._executed

    def executed(sql: str, params: Any, **more: Any) -> Any:
        now = f"'{timezone.now().isoformat()}'::timestamptz"
        return plain(sql.replace("clock_timestamp()", now), params, **more)

    patch.setattr(rowsets, "_executed", executed)


def latch_never_disarmed(patch: Patch) -> None:
    """A rule that has fired is as ready as before."""
    plain = rules_.decide

    def decide(facts: Any) -> Any:
        verdict = plain(facts)
        armed = replace(verdict.standing, is_armed=True)
        return replace(verdict, standing=armed)

    patch.setattr(rules_, "decide", decide)


def not_found_believed_at_once(patch: Patch) -> None:
    """What the rail does not know this second has never happened."""

    def due(row: Any, *, until: Any, at: Any) -> None:
        machine.move_one(row.move(RechargeState.DUE, "confirmed_not_taken", at), at=at)

    patch.setattr(answers, "_wait_out_grace", due)


def order_not_found_believed_at_once(patch: Patch) -> None:
    """What the carrier does not know this second is sent to it again."""

    def is_surely_not_there(row: Any, outcome: Any, *, at: Any) -> bool:
        return isinstance(outcome, NoOrder)

    patch.setattr(credit_answers, "_is_surely_not_there", is_surely_not_there)


def reversal_sent_again_at_once(patch: Patch) -> None:
    """A credit taken back without an answer is taken back again in ten seconds."""
    patch.setattr(refunding, "REVERSAL_GRACE", timedelta(0))


def nudge_forgotten(patch: Patch) -> None:
    """A low balance waits for the next sweep."""
    patch.setattr(nudges, "money", lambda: None)


def nothing_is_leased(patch: Patch) -> None:
    """A claim lasts no longer than the statement that makes it."""
    patch.setattr(claims, "LEASE_S", -1)


def lease_not_renewed(patch: Patch) -> None:
    """What takes longer than its lease is another worker's before it is over."""
    patch.setattr(leases, "renew", lambda _flights: None)


def outcome_written_by_two_flushes(patch: Patch) -> None:
    """What has landed is written, and stays where the next set is made of."""
    plain = Pipeline._write

    def write(self: Pipeline) -> None:
        landed = list(self._unwritten)
        plain(self)
        self._unwritten = landed
        plain(self)

    patch.setattr(Pipeline, "_write", write)


def bulkhead_leaks(patch: Patch) -> None:
    """A call that is over keeps its seat."""
    patch.setattr(Bulkhead, "_leave", lambda _self: None)


def rate_taken_twice(patch: Patch) -> None:
    """What one worker was granted is granted to the next as well."""
    counted = "SET tokens = g.tokens - g.calls"
    patch.setattr(rates, "_TAKE", rates._TAKE.replace(counted, "SET tokens = g.tokens"))


def one_bulkhead_for_all(patch: Patch) -> None:
    """Whoever hangs holds everybody's threads."""
    plain = Bulkheads.of
    patch.setattr(Bulkheads, "of", lambda self, _whom: plain(self, Whom("rail", "any")))


BUGS: dict[str, Bug] = {
    "unstable_reference": Bug(unstable_reference, "tests/billing/test_executor.py::TestTheGoodDay"),
    "no_fence": Bug(no_fence, "tests/billing/test_survival.py::TestAWorkerWhoseLeaseIsAnothers"),
    "no_fence_on_refunds": Bug(
        no_fence_on_refunds, "tests/billing/test_survival.py::TestAWorkerWhoseLeaseIsAnothers"
    ),
    "timeout_is_a_decline": Bug(
        timeout_is_a_decline, "tests/billing/test_executor.py::TestTheAnswerIsLost"
    ),
    "timeout_is_a_rejection": Bug(
        timeout_is_a_rejection, "tests/billing/test_executor.py::TestTheAnswerIsLost"
    ),
    "no_unique_key": Bug(
        no_unique_key, "tests/billing/test_intake.py::TestALowReading", needs_db=True
    ),
    "unfrozen_amount": Bug(unfrozen_amount, "tests/billing/test_survival.py::TestWhatWasOpened"),
    "acknowledged_before_kept": Bug(
        acknowledged_before_kept, "tests/api/test_incoming.py::TestAGenuineNotification"
    ),
    "message_dropped": Bug(message_dropped, "tests/billing/test_inbox.py::TestAChargesMessage"),
    "refund_without_a_key": Bug(
        refund_without_a_key, "tests/billing/test_refunds.py::TestAfterDelivery"
    ),
    "lease_by_the_hosts_clock": Bug(
        lease_by_the_hosts_clock, "tests/billing/test_survival.py::TestAWorkerWhoseLeaseIsAnothers"
    ),
    "latch_never_disarmed": Bug(latch_never_disarmed, "tests/billing/test_intake.py::TestTheLatch"),
    "not_found_believed_at_once": Bug(
        not_found_believed_at_once, "tests/billing/test_executor.py::TestTheAnswerIsLost"
    ),
    "order_not_found_believed_at_once": Bug(
        order_not_found_believed_at_once, "tests/billing/test_survival.py::TestAWorkerThatStalls"
    ),
    "reversal_sent_again_at_once": Bug(
        reversal_sent_again_at_once, "tests/billing/test_refunds.py::TestTheCarriersAnswer"
    ),
    "nudge_forgotten": Bug(nudge_forgotten, "tests/billing/test_intake.py::TestALowReading"),
    "lease_not_renewed": Bug(lease_not_renewed, "tests/billing/test_pipeline.py::TestALease"),
    "outcome_written_by_two_flushes": Bug(
        outcome_written_by_two_flushes, "tests/billing/test_pipeline.py::TestWorkUnderWay"
    ),
    "bulkhead_leaks": Bug(bulkhead_leaks, "tests/billing/test_bulkheads.py::TestABulkhead"),
    "rate_taken_twice": Bug(rate_taken_twice, "tests/billing/test_rates.py::TestARate"),
    "one_bulkhead_for_all": Bug(
        one_bulkhead_for_all, "tests/billing/test_pipeline.py::TestARailThatHangs"
    ),
    "nothing_is_leased": Bug(nothing_is_leased, "tests/billing/test_executor.py::TestAWorkerDies"),
}


@pytest.fixture(autouse=True)
def _the_bug(request: pytest.FixtureRequest, monkeypatch: Patch) -> None:
    name = os.environ.get("KEEPLINE_BUG", "")
    if not name:
        return
    bug = BUGS[name]
    if bug.needs_db:
        if "transactional_db" in request.fixturenames:
            pytest.skip("what is undone with the test's transaction would not be undone here")
        request.getfixturevalue("db")
    bug.switch_on(monkeypatch)
