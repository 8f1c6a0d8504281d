"""Operations from the pages: who may, with which reason, once; and what is written down."""

import threading

import pytest
from django.contrib.admin.models import LogEntry
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from billing.gateways.base import Unknown
from billing.models import Binding, Rail, Recharge, Refund, Rule
from billing.states import RechargeState as S
from lines.models import Carrier, Operation
from tests import world as w
from tests.admin.conftest import give, hold, open_one, sign_in
from tests.factories.billing import CaseFactory

VIEW = ("billing.view_recharge", "billing.view_refund")


def do(client, subject, verb, *, token="t" * 43, reason="asked by phone", **more):
    """Send the operation's form; the response after its redirects."""
    meta = subject._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_do", args=[subject.pk, verb])
    return client.post(address, {"reason": reason, "token": token} | more, follow=True)


def said(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


@pytest.fixture
def world(world):
    """The pages read the real clock, so this world lives by it."""
    world.at = timezone.now()
    return world


@pytest.fixture
def rule(world):
    return w.rule(max_per_month_minor=100_000, max_per_day_count=9)


@pytest.fixture
def held(world, rule):
    return hold(world, open_one(world, rule, "held"))


@pytest.fixture
def done(world, rule):
    recharge = open_one(world, rule, "done")
    world.run()
    recharge.refresh_from_db()
    return recharge


@pytest.fixture
def reviewer(operator):
    return sign_in(give(operator, *VIEW, "billing.review_recharge"))


class TestAnOperation:
    def test_is_done_with_its_reason_and_written_down_three_times(self, reviewer, held, operator):
        response = do(reviewer, held, "approve-review")

        held.refresh_from_db()
        assert held.state == S.DUE
        assert said(response) == ["Done: Approve."]
        move = held.moves.get(because="approved")
        assert (move.actor, move.note) == (operator, "asked by phone")
        kept = Operation.objects.get()
        assert (kept.verb, kept.target) == ("approve-review", f"recharge:{held.ref}")
        assert (kept.actor, kept.reason) == (operator, "asked by phone")
        entry = LogEntry.objects.get()
        assert (entry.user, entry.change_message) == (operator, "approve-review: asked by phone")

    def test_needs_a_reason(self, reviewer, held):
        response = do(reviewer, held, "approve-review", reason="  ")

        assert "Say why: whoever reads this later needs it." in response.content.decode()
        held.refresh_from_db()
        assert held.state == S.REVIEW
        assert not Operation.objects.exists()

    def test_keeps_what_was_typed_when_it_is_refused_at_a_field(self, reviewer, held):
        response = do(reviewer, held, "approve-review", reason="x" * 201)

        assert "x" * 201 in response.content.decode()
        assert not Operation.objects.exists()

    @pytest.mark.parametrize("token", ["", "short"])
    def test_needs_the_token_of_a_page(self, reviewer, held, token):
        do(reviewer, held, "approve-review", token=token)

        held.refresh_from_db()
        assert held.state == S.REVIEW

    def test_is_never_done_by_looking(self, reviewer, held):
        address = reverse("admin:billing_recharge_do", args=[held.pk, "approve-review"])

        first, second = (reviewer.get(address).context["form"] for _ in range(2))

        held.refresh_from_db()
        assert held.state == S.REVIEW
        tokens = {form["token"].value() for form in (first, second)}
        assert len(tokens) == 2
        assert min(len(token) for token in tokens) == 43

    def test_needs_the_token_against_forgery(self, reviewer, held):
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = reviewer.cookies

        response = do(strict, held, "approve-review")

        assert response.status_code == 403
        held.refresh_from_db()
        assert held.state == S.REVIEW

    def test_of_an_unknown_verb_or_object_is_not_found(self, reviewer, held):
        assert do(reviewer, held, "steal").status_code == 404
        held.pk = 10**9
        assert do(reviewer, held, "approve-review").status_code == 404


class TestWithoutThePermission:
    @pytest.mark.parametrize(
        "verb",
        ["query-again", "approve-review", "reject-review", "cancel", "redeliver", "request-refund"],
    )
    def test_nothing_is_offered_and_nothing_is_done(self, operator, held, verb):
        client = sign_in(give(operator, *VIEW))

        page = client.get(reverse("admin:billing_recharge_change", args=[held.pk]))
        response = do(client, held, verb)

        assert page.context["buttons"] == []
        assert response.status_code == 403
        held.refresh_from_db()
        assert held.state == S.REVIEW
        assert not Operation.objects.exists()

    def test_to_see_recharges_nothing_is_done_either(self, operator, held):
        client = sign_in(give(operator, "billing.review_recharge"))

        assert do(client, held, "approve-review").status_code == 403
        held.refresh_from_db()
        assert held.state == S.REVIEW

    @pytest.mark.parametrize("verb", ["defer-rail", "resume-rail"])
    def test_no_switch_is_thrown(self, operator, world, verb):
        client = sign_in(give(operator, "billing.view_rail", "billing.change_rail"))
        rail = w.rail(deferred_since=world.at if verb == "resume-rail" else None)

        assert do(client, rail, verb).status_code == 403
        assert Rail.objects.get(code="alipay").deferred_since == rail.deferred_since


class TestASecondFactorShownLongAgo:
    """ASVS 7.5.3: before money moves it is shown once more."""

    @pytest.fixture
    def late(self, operator):
        return sign_in(give(operator, *VIEW, "billing.review_recharge"), factor_age_s=601)

    def test_is_asked_for_again_before_a_charge_is_let_go(self, late, held):
        address = reverse("admin:billing_recharge_do", args=[held.pk, "approve-review"])

        looking = late.get(address)
        doing = do(late, held, "approve-review")

        wanted = f"/account/2fa/reauthenticate/?next={address.replace('/', '%2F')}"
        assert (looking.status_code, looking.url) == (302, wanted)
        assert doing.redirect_chain[0] == (wanted, 302)
        held.refresh_from_db()
        assert held.state == S.REVIEW
        assert not Operation.objects.exists()

    def test_does_for_what_moves_no_money(self, late, held):
        do(late, held, "reject-review")

        held.refresh_from_db()
        assert held.state == S.CANCELED


class TestADoubleClick:
    def test_does_it_once_and_says_by_whom_and_when(self, reviewer, held):
        do(reviewer, held, "approve-review")

        response = do(reviewer, held, "approve-review")

        assert held.moves.filter(because="approved").count() == 1
        assert Operation.objects.count() == 1
        when = timezone.localtime(Operation.objects.get().at)
        clock = date_format(when, "SHORT_DATETIME_FORMAT")
        [message] = said(response)
        assert message.startswith(f"Already done by oliver at {clock}")
        assert message.endswith(": Approve.")

    def test_by_two_people_with_two_pages_does_it_once(self, reviewer, held, colleague):
        other = sign_in(give(colleague, *VIEW, "billing.review_recharge"))
        do(reviewer, held, "approve-review", token="a" * 43)

        response = do(other, held, "approve-review", token="b" * 43)

        assert held.moves.filter(because="approved").count() == 1
        assert Operation.objects.count() == 1
        [message] = said(response)
        assert message.startswith("It is not held any more. Already done by oliver at ")

    def test_a_page_opened_too_late_says_so(self, reviewer, held):
        do(reviewer, held, "approve-review")

        response = reviewer.get(
            reverse("admin:billing_recharge_do", args=[held.pk, "approve-review"]), follow=True
        )

        [message] = said(response)
        assert message.startswith("This is not possible now: the state has changed. Already done")


@pytest.mark.django_db(transaction=True)
class TestTwentyAtTheSameTime:
    def test_have_one_effect(self, world, operator, rule):
        held = hold(world, open_one(world, rule, "held"))
        clients = [
            sign_in(give(operator, *VIEW, "billing.review_recharge")) for _number in range(8)
        ]
        statuses = []

        def send(client, number):
            token = ("same" if number % 2 else f"own{number}").ljust(43, "x")
            statuses.append(do(client, held, "approve-review", token=token).status_code)
            connection.close()

        threads = [
            threading.Thread(target=send, args=(client, number))
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert statuses == [200] * 8
        assert held.moves.filter(because="approved").count() == 1
        assert Operation.objects.count() == 1


class TestARefund:
    @pytest.fixture
    def asker(self, operator):
        return sign_in(give(operator, *VIEW, "billing.request_refund", "billing.approve_refund"))

    @pytest.fixture
    def approver(self, colleague):
        return sign_in(give(colleague, *VIEW, "billing.approve_refund"))

    def ask(self, client, done, amount="50", **more):
        return do(client, done, "request-refund", amount_minor=amount, **more)

    def test_waits_for_a_second_person(self, asker, done, world):
        response = self.ask(asker, done, "12.50")
        world.run()

        refund = Refund.objects.get()
        assert said(response) == ["Done: Ask for a refund."]
        assert (refund.amount_minor, refund.state) == (1250, "requested")
        assert refund.reason == "asked by phone"
        assert world.gateway.refunded == {}

    def test_is_not_approved_by_whoever_asked_not_by_page_nor_by_post(self, asker, done):
        self.ask(asker, done)
        refund = Refund.objects.get()

        page = asker.get(reverse("admin:billing_refund_do", args=[refund.pk, "approve-refund"]))
        response = do(asker, refund, "approve-refund", token="b" * 43, seen=refund.fingerprint)

        sentence = "You asked for this refund yourself: another person approves it."
        assert page.context["refusal"] == sentence
        assert "<form method" not in page.content.decode().split("k-act")[1]
        assert said(response)[0].startswith(sentence)
        refund.refresh_from_db()
        assert (refund.state, refund.approved_by) == ("requested", None)

    def test_shows_whoever_asked_that_another_one_is_needed(self, asker, done):
        self.ask(asker, done)

        page = asker.get(reverse("admin:billing_recharge_change", args=[done.pk]))

        hints = {button.act.verb: str(button.hint) for button in page.context["buttons"]}
        assert hints == {
            "approve-refund": "You asked for this refund yourself: another person approves it.",
            "reject-refund": "",
        }

    def test_is_not_approved_through_the_orm_either(self, asker, done, operator):
        self.ask(asker, done)

        with pytest.raises(IntegrityError, match="refund_two_people"), transaction.atomic():
            Refund.objects.update(approved_by=operator, state="intended")

    def test_goes_out_once_a_second_person_has_approved_it(self, asker, approver, done, world):
        self.ask(asker, done)
        refund = Refund.objects.get()

        response = do(approver, refund, "approve-refund", token="b" * 43, seen=refund.fingerprint)
        world.later(w.MINUTE)
        world.run()

        assert response.redirect_chain[-1][0] == f"/admin/billing/recharge/{done.pk}/change/"
        refund.refresh_from_db()
        assert refund.state == "succeeded"
        assert list(world.gateway.refunded.values()) == [5000]
        w.assert_balanced()

    def test_of_another_amount_than_the_page_showed_is_refused(self, asker, approver, done, world):
        self.ask(asker, done, "12.50")
        refund = Refund.objects.get()
        Refund.objects.update(amount_minor=1300)
        Recharge.objects.update(refund_committed_minor=1300)

        response = do(approver, refund, "approve-refund", token="b" * 43, seen=refund.fingerprint)
        world.run()

        assert said(response)[0].startswith("It is not what this page showed: read it again.")
        assert Refund.objects.get().state == "requested"
        assert world.gateway.refunded == {}

    def test_shows_the_second_person_what_is_approved(self, asker, approver, done):
        self.ask(asker, done, "12.50")
        refund = Refund.objects.get()

        page = approver.get(reverse("admin:billing_refund_do", args=[refund.pk, "approve-refund"]))

        facts = {str(name): str(what) for name, what in page.context["facts"]}
        assert facts == {
            "amount": "¥12.50",
            "of a charge of": "¥50.00",
            "line": str(done.line),
            "goes back to": f"Alipay {done.binding.label}".strip(),
            "requested by": "oliver",
            "asked for because": "asked by phone",
        }
        assert page.context["form"]["seen"].value() == refund.fingerprint
        assert done.line.msisdn.lstrip("+") not in page.content.decode()

    def test_can_be_rejected_and_leaves_the_recharge_as_it_was(self, asker, approver, done, world):
        self.ask(asker, done)

        do(approver, Refund.objects.get(), "reject-refund", token="b" * 43)
        world.run()

        done.refresh_from_db()
        assert (done.state, done.refund_committed_minor) == (S.COMPLETED, 0)
        assert world.gateway.refunded == {}

    @pytest.mark.parametrize(
        ("amount", "sentence"),
        [
            ("", "This field is required."),
            ("ten", "Write the amount in figures, such as 50 or 1,000.50."),
            ("-5", "The amount cannot be negative."),
            ("5.001", "Write at most 2 decimals."),
        ],
    )
    def test_of_no_amount_is_refused_at_the_field(self, asker, done, amount, sentence):
        response = self.ask(asker, done, amount)

        assert response.context["form"].errors.keys() == {"amount_minor"}
        assert not Refund.objects.exists()
        assert response.status_code == 200
        assert response.context["form"].errors["amount_minor"] == [sentence]

    @pytest.mark.parametrize("amount", ["50.01", "0"])
    def test_of_more_than_is_left_or_nothing_is_refused(self, asker, done, amount):
        response = self.ask(asker, done, amount)

        assert said(response) == ["That is more than is left to refund: ¥50.00."]
        assert not Refund.objects.exists()
        assert not Operation.objects.exists()


class TestWhatIsSettledElsewhere:
    def test_leaves_the_front_page_with_who_and_why(self, reviewer, done, world, operator):
        case = CaseFactory.create(recharge=done, code="credit_differs", since=world.at)

        response = do(reviewer, done, "settle-elsewhere", reason="the carrier added ¥5.00")

        done.refresh_from_db()
        assert (done.attention, done.state) == ("", S.COMPLETED)
        case.refresh_from_db()
        assert (case.settled_by, case.actor) == ("settled_elsewhere", operator)
        kept = Operation.objects.get()
        assert (kept.verb, kept.actor, kept.reason) == (
            "settle-elsewhere",
            operator,
            "the carrier added ¥5.00",
        )
        assert "the carrier added ¥5.00" in response.content.decode()

    def test_is_offered_for_nothing_else(self, reviewer, done):
        page = reviewer.get(reverse("admin:billing_recharge_change", args=[done.pk]))

        assert "settle-elsewhere" not in [button.act.verb for button in page.context["buttons"]]


class TestAskingAgain:
    def test_has_the_rail_asked_and_says_who_asked(self, operator, world, rule):
        client = sign_in(give(operator, *VIEW, "billing.query_recharge"))
        world.gateway.script = [Unknown("timeout")]
        recharge = open_one(world, rule, "unknown")
        world.run()
        Recharge.objects.update(act_at=None)
        CaseFactory.create(recharge=recharge, code="payment_unknown")

        do(client, recharge, "query-again")

        recharge.refresh_from_db()
        assert recharge.act_at is not None
        page = client.get(reverse("admin:billing_recharge_change", args=[recharge.pk]))
        told = [(e.title, e.who) for e, _url in page.context["events"] if e.kind == "operation"]
        assert told == [("Ask again", "oliver")]


class TestTheIncidentSwitches:
    def test_of_a_rail_holds_charges_back_and_releases_them(self, root):
        rail = w.rail()

        held_back = do(root, rail, "defer-rail", token="a" * 43)
        assert said(held_back) == ["Done: Hold charges back."]
        since = Rail.objects.get(code="alipay").deferred_since
        assert since is not None

        again = do(root, rail, "defer-rail", token="b" * 43)
        assert said(again)[0].startswith("The charges are held back already. Already done by Root")
        assert Rail.objects.get(code="alipay").deferred_since == since

        do(root, rail, "resume-rail", token="c" * 43)
        assert Rail.objects.get(code="alipay").deferred_since is None
        assert [one.verb for one in Operation.objects.order_by("pk")] == [
            "defer-rail",
            "resume-rail",
        ]

    def test_of_a_carrier_holds_credits_back_and_releases_them(self, root):
        carrier = w.carrier()

        do(root, carrier, "defer-carrier", token="a" * 43)
        assert Carrier.objects.get().deferred_since is not None
        do(root, carrier, "resume-carrier", token="b" * 43)
        assert Carrier.objects.get().deferred_since is None

        nothing = do(root, carrier, "resume-carrier", token="c" * 43)
        assert said(nothing)[0].startswith("The credits are not held back.")


class TestRulesAndBindings:
    def test_a_rule_paused_by_the_system_goes_on(self, root, world):
        rule = w.rule(paused=True, pause_reason="crashed")

        response = do(root, rule, "resume-rule")

        assert said(response) == ["Done: Let it go on."]
        assert Rule.objects.get().paused_at is None

    def test_a_rule_that_is_off_stays_off(self, root, world):
        rule = w.rule(is_on=False, paused=True, pause_reason="crashed")

        response = do(root, rule, "resume-rule")

        assert said(response) == ["The system has not paused it, or its owner has stopped it."]
        assert Rule.objects.get().is_on is False
        assert not Operation.objects.exists()

    def test_a_paused_payment_method_is_charged_again(self, root, world):
        binding = w.binding(paused=True)

        do(root, binding, "unpause-binding")

        assert Binding.objects.get().paused_at is None


class TestTheRecord:
    def test_of_operations_cannot_be_changed_not_even_by_sql(self, reviewer, held):
        do(reviewer, held, "approve-review")

        with pytest.raises(Exception, match="append only"), transaction.atomic():
            Operation.objects.update(reason="something nicer")
