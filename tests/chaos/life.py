"""One recharge's life among real processes: what is ordered of it, and what must be left of it."""

import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from billing.engine import executor, incoming
from billing.models import PaymentAttempt, Recharge, Refund, Rule
from lines.models import Delivery
from tests import world as w
from tests.chaos import points, workers
from tests.chaos.points import Bomb, Strike
from tests.chaos.scene import Scene

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
# Beyond the ladder's first steps and the graces: what a lost answer needs to be found out.
_STEPS = (
    *(timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=3), timedelta(minutes=3)),
    *(timedelta(minutes=20), timedelta(hours=2), timedelta(hours=2)),
)


@dataclass
class Life:
    """One line, its rule, and the present instant."""

    scene: Scene
    rule: Rule
    log: Path
    at: datetime = w.NOON

    @classmethod
    def of_a_low_line(cls, scene: Scene, log: Path) -> "Life":
        rule = scene.rule(balance_minor=980, wake_at=w.NOON, cooldown_s=0)
        return cls(scene, rule, log)

    # --- workers ------------------------------------------------------------------------------

    def work(self) -> None:
        """A worker's round, until nothing more is due at this instant."""
        outside = self.scene.outside()
        for _ in range(6):
            incoming.process(at=self.at, limit=20)
            if executor.run_batch(at=self.at, outside=outside).total == 0:
                return

    def later(self, by: timedelta) -> None:
        self.at += by

    def work_and_die(self, point: str) -> bool:
        """A worker in a process of its own, killed at `point`; False: it never came there."""
        pid = workers.fork(lambda: self._die_at(point), log=self.log)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(status) == 0, self.log.read_text()
        return False

    def _die_at(self, point: str) -> None:
        bomb: Strike = Bomb(point, tell=lambda _: None)
        points.install(bomb)
        outside = points.guarded(self.scene.outside(), bomb)
        for _ in range(6):
            messages = incoming.process(at=self.at, limit=20)
            if executor.run_batch(at=self.at, outside=outside).total + messages == 0:
                return

    def lapse_leases(self) -> None:
        """As if the time had passed after which the dead are given up."""
        Recharge.objects.update(lease_until=_LONG_AGO)
        Refund.objects.update(lease_until=_LONG_AGO)

    def come_to_an_end(self) -> None:
        """The trouble is over; others take over, and time passes."""
        self.lapse_leases()
        for step in _STEPS:
            self.work()
            self.later(step)
        self.work()

    # --- what is left of it -------------------------------------------------------------------

    @property
    def recharge(self) -> Recharge:
        return Recharge.objects.get(line=self.rule.line_id)

    @property
    def attempt(self) -> PaymentAttempt:
        return PaymentAttempt.objects.get(recharge__line=self.rule.line_id)

    @property
    def delivery(self) -> Delivery:
        return Delivery.objects.get(line=self.rule.line_id)

    def charged(self) -> list[int]:
        """What the rail's journal says was taken for it, in fen."""
        ours = set(self.recharge.attempts.values_list("reference", flat=True))
        return [minor for reference, minor in self.scene.charges() if reference in ours]

    def refunded(self) -> list[int]:
        ours = set(self.recharge.refunds.values_list("reference", flat=True))
        journal = self.scene.alipay.journal("refund")
        return [one["amount_minor"] for one in journal if one["reference"] in ours]

    def credited(self) -> list[int]:
        """What the carrier's journal says was credited to the line."""
        return self._moved("credit")

    def taken_back(self) -> list[int]:
        return self._moved("reversal")

    def _moved(self, kind: str) -> list[int]:
        number = self.rule.line.msisdn
        return [
            one["amount_minor"]
            for one in self.scene.carrier.journal()
            if one["kind"] == kind and one["resource"] == number
        ]

    def assert_books_agree(self) -> None:
        """Every test ends here: our invariants, and all three books of this recharge.

        The journals hold other tests' effects too, whose rows are gone: they are left out.
        """
        w.assert_balanced()
        report = self.scene.report()
        ours = {
            *PaymentAttempt.objects.values_list("reference", flat=True),
            *Delivery.objects.values_list("reference", flat=True),
            *Refund.objects.values_list("reference", flat=True),
            *Refund.objects.values_list("reversal_ref", flat=True),
        }
        named = {ref for refs in report["named"].values() for ref in refs}
        assert named & ours == set()
        assert not [name for name in report["violations"] if "missing_ours" not in name]
