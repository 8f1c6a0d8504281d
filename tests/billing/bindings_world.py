"""A rail that says what it is told to, and agreements at it."""

from django.db import connection

from billing.bindings import lifecycle
from billing.gateways.base import (
    BindingAnswer,
    BindingFacts,
    BindingStatus,
    Exchange,
    NotFound,
    SigningPage,
    Unknown,
)
from billing.models import Binding, Notice
from tests import world as w
from tests.world import MINUTE, NOON

RETURN, NOTIFY = "https://keepline.test/back/{ref}", "https://keepline.test/hooks/alipay/notify"
ACTIVE = BindingFacts(
    BindingStatus.ACTIVE, "20260001", "li***@163.com", "f" * 64, None, NOON - MINUTE
)
REVOKED = BindingFacts(BindingStatus.REVOKED)


def active(**more):
    given = {"provider_ref": "20260001", "label": "li***@163.com", "fingerprint": "f" * 64}
    return BindingFacts(BindingStatus.ACTIVE, **given | more)


class FakeGateway:
    """A rail that says `says`, and `says_to_end` when an agreement is to end."""

    def __init__(self, says=None, says_to_end=REVOKED):
        self.says, self.says_to_end = says or NotFound(), says_to_end
        self.started, self.asked, self.ended = [], [], []
        self.meanwhile = lambda: None

    def start_binding(self, *, request):
        self.assert_outside_a_transaction()
        assert Binding.objects.filter(ref=request.binding_ref, state="pending").exists()
        self.started.append(request)
        return SigningPage(f"https://rail.test/sign?ref={request.binding_ref}")

    def get_binding(self, *, binding_ref, provider_ref):
        self.assert_outside_a_transaction()
        self.asked.append((binding_ref, provider_ref))
        self.meanwhile()
        return self._answer("agreement.query", binding_ref, self.says)

    def revoke_binding(self, *, binding_ref, provider_ref):
        self.assert_outside_a_transaction()
        self.ended.append((binding_ref, provider_ref))
        return self._answer("agreement.unsign", binding_ref, self.says_to_end)

    def assert_outside_a_transaction(self):
        """A test's own transaction does not count."""
        opened = [block for block in connection.atomic_blocks if not block._from_testcase]
        assert opened == []

    def _answer(self, kind, reference, outcome):
        is_lost = isinstance(outcome, Unknown)
        exchange = Exchange(kind, reference, "{}", "" if is_lost else "{}", not is_lost)
        return BindingAnswer(outcome, (exchange,))


def start(gateway=None, *, owner=None, at=NOON, **more):
    return lifecycle.start(
        owner=owner or w.person(),
        rail=w.rail(**more),
        return_url=RETURN,
        notify_url=NOTIFY,
        gateway=gateway or FakeGateway(),
        at=at,
    )


def pending(owner=None, **more):
    return w.binding(owner, pending=True, **more)


def refresh(binding, says, *, at=NOON):
    return lifecycle.refresh(binding=binding, gateway=FakeGateway(says), at=at)


def notices(kind):
    return list(Notice.objects.filter(kind=kind).order_by("pk"))
