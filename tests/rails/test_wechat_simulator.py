"""The simulator's own promises: books that survive a kill, notifications, faults by seed."""

import time

import pytest
import requests

from tests.forks import ROOT
from tests.rails.contract import new_ref
from tests.rails.simulators import Inbox
from tests.rails.wechat_merchant import ACKNOWLEDGED, Merchant, fields_of, message
from tests.rails.wechat_simulator import DAY_S, POOR, RICH, WechatSimulator, start_wechat

SIMULATOR = ROOT / "billing/gateways/wechat/simulator"


def until(is_so, within_s: int = 15) -> None:
    """Wait for the simulator's own threads, on an event that must come."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with start_wechat(tmp_path_factory.mktemp("wechat")) as simulator:
        yield simulator


@pytest.fixture
def wechat(process):
    process.as_it_began()
    process.relax()
    return process


@pytest.fixture
def own_wechat(tmp_path):
    """A WeChat Pay of this test's own: to kill it, or to count everything in it."""
    with start_wechat(tmp_path) as simulator:
        simulator.relax()
        yield simulator


@pytest.fixture
def merchant(wechat):
    return Merchant(wechat)


@pytest.fixture
def inbox():
    box = Inbox(answer=ACKNOWLEDGED)
    yield box
    box.close()


@pytest.mark.processes
class TestItsBooks:
    def test_a_killed_wechat_remembers_everything_and_goes_on_with_it(self, own_wechat, inbox):
        merchant = Merchant(own_wechat)
        fresh, waiting = own_wechat.agree(new_ref("B")), own_wechat.agree(new_ref("B"))
        own_wechat.age(waiting)
        paid = merchant.paid(fresh)
        later = merchant.order(waiting, notify_url=inbox.url)
        merchant.code("/pay/pappayapply", later)
        own_wechat.set(refund_delay_s=3600, mode="notify")
        merchant.refund(out_trade_no=paid, total_fee="5000", refund_fee="2000", out_refund_no="F1")
        announced = own_wechat.agree(new_ref("B"))
        assert merchant.announce(announced) == (204, "")
        own_wechat.payer(POOR, balance_minor=777)
        page = requests.get(
            merchant.page("/papay/entrustweb"), allow_redirects=False, timeout=10
        ).headers["Location"]
        own_wechat.advance(300)
        before = {
            name: own_wechat.control("GET", name)
            for name in ("contracts", "orders", "payers", "settings")
        }
        hour = own_wechat.now()

        own_wechat.stop()
        own_wechat.start()

        assert {name: own_wechat.control("GET", name) for name in before} == before
        assert own_wechat.now() >= hour
        assert requests.get(f"{own_wechat.url}{page}", timeout=10).status_code == 200
        assert merchant.announce(announced) == (400, "RESOURCE_ALREADY_EXISTS")
        assert merchant.code("/pay/pappayapply", later) == "ORDER_ACCEPTED"
        own_wechat.advance(DAY_S)
        assert own_wechat.charges() == {paid: 5000, later["out_trade_no"]: 5000}
        assert own_wechat.refunds() == {"F1": 2000}
        assert later["out_trade_no"].encode() in inbox.wait_for(1)[0]

    def test_what_nobody_acknowledged_is_sent_again_after_a_kill(self, own_wechat, inbox):
        inbox.answer = "no"
        own_wechat.agree("B1", notify_url=inbox.url)
        (first,) = inbox.wait_for(1)
        own_wechat.stop()
        inbox.answer = ACKNOWLEDGED
        own_wechat.start()
        assert inbox.wait_for(2) == [first, first]
        until(lambda: own_wechat.notifications()[0]["is_accepted"])
        own_wechat.stop()
        own_wechat.start()
        own_wechat.advance(DAY_S)
        assert len(inbox.received) == 2

    def test_half_a_line_left_by_a_kill_is_cut_off_and_nothing_else(self, own_wechat):
        own_wechat.agree("B1")
        before = own_wechat.journal()
        own_wechat.stop()
        with own_wechat.journal_file.open("a") as journal:
            journal.write('{"seq": 2, "kind": "cha')
        own_wechat.start()
        assert own_wechat.control("GET", "journal")["entries"] == before
        own_wechat.agree("B2")
        numbers = [entry["seq"] for entry in own_wechat.journal()]
        assert numbers == list(range(1, len(numbers) + 1))

    def test_no_secret_of_the_merchants_is_in_them_or_in_its_log(self, own_wechat):
        merchant = Merchant(own_wechat)
        merchant.paid(own_wechat.agree("B1"))
        merchant.send("/pay/pappayapply", b"<xml>")
        written = own_wechat.journal_file.read_text()
        written += (own_wechat.directory / "wechat.log").read_text()
        for name in ("api_v2_key.txt", "api_v3_key.txt"):
            assert own_wechat.key(name) not in written

    def test_what_is_no_order_is_refused(self, wechat):
        wrong = [
            ("faults", {"kind": "nonsense"}),
            ("clock", {"advance_s": -5}),
            ("clock", {"advance_s": True}),
            ("clock", ["x"]),
            ("settings", {"nonsense": 1}),
            ("settings", {"mode": "nonsense"}),
            ("settings", {"max_charge_minor": "5"}),
            (f"payers/{RICH}", {"nonsense": 1}),
            ("bills", {"kind": "nonsense"}),
            ("bills", {"kind": "amount", "amount_minor": "5"}),
            ("contracts", {"contract_code": "not allowed!"}),
        ]
        settings = wechat.control("GET", "settings")
        for path, body in wrong:
            answer = requests.post(f"{wechat.url}/_control/{path}", json=body, timeout=10)
            assert answer.status_code == 400, (path, body)
            assert answer.json()["error"]
        assert wechat.control("GET", "settings") == settings


def refs_in(bodies: list[bytes], reference: str) -> int:
    return sum(reference.encode() in body for body in bodies)


@pytest.mark.processes
class TestItsNotifications:
    def test_of_a_deduction_are_repeated_ten_times(self, own_wechat, inbox):
        inbox.answer = "success"  # Alipay's word; here it is not enough
        Merchant(own_wechat).paid(own_wechat.agree("B1"), notify_url=inbox.url)
        waits = [15, 15, 30, 180, 1800, 1800, 1800, 1800, 3600]
        for count, wait_s in enumerate(waits, start=1):
            until(lambda: self.of_order(own_wechat)["waits"] == count)  # noqa: B023
            own_wechat.advance(wait_s + 1)
        inbox.wait_for(10)
        assert len(set(inbox.received)) == 1  # each repeat byte for byte the same
        until(lambda: self.of_order(own_wechat)["is_over"])
        own_wechat.advance(10 * DAY_S)
        assert self.of_order(own_wechat)["tries"] == 10

    def of_order(self, wechat):
        return next(one for one in wechat.notifications() if "out_trade_no" in one["about"])

    @pytest.mark.parametrize(
        "answer",
        [
            "success",
            "",
            '{"return_code": "SUCCESS"}',
            "<xml><return_code>FAIL</return_code></xml>",
        ],
    )
    def test_are_acknowledged_by_nothing_but_the_message(self, own_wechat, inbox, answer):
        inbox.answer = answer
        own_wechat.agree("B1", notify_url=inbox.url)
        until(lambda: own_wechat.notifications()[0]["waits"] == 1)
        assert own_wechat.notifications()[0]["is_accepted"] is False
        inbox.answer = ACKNOWLEDGED
        own_wechat.advance(11)
        until(lambda: own_wechat.notifications()[0]["is_accepted"])
        own_wechat.advance(DAY_S)
        assert own_wechat.notifications()[0]["tries"] == 2

    def test_of_an_ending_go_to_the_templates_address(self, wechat, merchant, inbox):
        wechat.set(contract_notify_url=inbox.url)
        by_payer, by_us = wechat.agree("BP" + new_ref()[:20]), wechat.agree("BM" + new_ref()[:20])
        wechat.revoke(by_payer)
        merchant.call(
            "/papay/deletecontract",
            {"contract_id": by_us, "version": "1.0", "contract_termination_remark": "停机"},
        )
        bodies = inbox.wait_for(2)
        assert all(b"<change_type><![CDATA[DELETE]]>" in body for body in bodies)
        modes = {fields_of(body)["contract_termination_mode"] for body in bodies}
        assert modes == {"2", "3"}

    def test_come_doubled_forged_late_or_never_if_so_ordered(self, own_wechat, inbox):
        merchant, contract_id = Merchant(own_wechat), own_wechat.agree("B1")
        own_wechat.fault("pappayapply", "notify_duplicate", copies=2, reference="DOUBLED")
        own_wechat.fault("pappayapply", "notify_forged", reference="FORGED")
        own_wechat.fault("pappayapply", "notify_reordered", seconds=600, reference="LATE")
        own_wechat.fault("pappayapply", "notify_never", reference="NEVER")
        own_wechat.fault("pappayapply", "notify_before_answer", reference="EARLY")
        for number in ("DOUBLED", "FORGED", "LATE", "NEVER", "EARLY"):
            merchant.paid(contract_id, out_trade_no=number, notify_url=inbox.url)
            if number == "EARLY":
                assert refs_in(inbox.received, "EARLY") == 1
        bodies = inbox.wait_for(6)
        assert [refs_in(bodies, one) for one in ("DOUBLED", "FORGED", "EARLY")] == [3, 2, 1]
        own_wechat.advance(601)
        bodies = inbox.wait_for(7)
        assert refs_in(bodies[-1:], "LATE") == 1
        assert refs_in(bodies, "NEVER") == 0

    def test_of_a_failure_may_look_like_a_success(self, wechat, merchant, inbox):
        """The vendor's sample: whoever believes result_code delivers for nothing."""
        contract_id = wechat.agree(new_ref("B"), payer=POOR)
        wechat.set(odd_failures=True)
        order = merchant.order(contract_id, total_fee="1201", notify_url=inbox.url)
        merchant.code("/pay/pappayapply", order)
        (body,) = inbox.wait_for(1)
        assert b"<result_code><![CDATA[SUCCESS]]></result_code>" in body
        assert b"transaction_id" not in body
        assert b"err_code" not in body
        assert merchant.state(order["out_trade_no"]) == "CLOSED"


@pytest.mark.processes
class TestItsFaults:
    def test_by_chance_are_the_same_for_the_same_seed(self, own_wechat):
        merchant, contract_id = Merchant(own_wechat), own_wechat.agree("B1")
        told = []
        for run in ("A", "B"):
            kinds = ["lose_after", "lose_before", "system_error", "http_500"]
            own_wechat.chance(rate=0.4, kinds=kinds, seed=7, methods=["pappayapply"])
            told.append([self.outcome(merchant, contract_id, f"{run}{n}") for n in range(40)])
            own_wechat.calm()
        assert told[0] == told[1]
        assert len(set(told[0])) == 4
        answered = told[0].count("SUCCESS")
        taken = [number for number in own_wechat.charges() if number.startswith("A")]
        assert len(taken) > answered  # some answers were lost after the charge

    def outcome(self, merchant, contract_id, number):
        signed = message(merchant.signed(merchant.order(contract_id, out_trade_no=number)))
        try:
            answer = requests.post(
                f"{merchant.wechat.url}/pay/pappayapply", data=signed, timeout=10
            )
        except requests.RequestException:
            return "broken off"
        if answer.status_code != 200:
            return str(answer.status_code)
        return "SYSTEMERROR" if b"SYSTEMERROR" in answer.content else "SUCCESS"

    @pytest.mark.parametrize(
        ("kind", "is_taken"),
        [("system_error", False), ("system_error_after", True), ("decline", False)],
    )
    def test_answer_with_a_code_with_and_without_the_effect(self, wechat, merchant, kind, is_taken):
        order = merchant.order(wechat.agree(new_ref("B")))
        wechat.fault("pappayapply", kind, code="RULELIMIT")
        code = merchant.code("/pay/pappayapply", order)
        assert code == ("RULELIMIT" if kind == "decline" else "SYSTEMERROR")
        assert (order["out_trade_no"] in wechat.charges()) is is_taken

    @pytest.mark.parametrize("kind", ["bad_signature", "unsigned"])
    def test_answer_without_a_good_signature_after_the_effect(self, wechat, merchant, kind):
        order = merchant.order(wechat.agree(new_ref("B")))
        wechat.fault("pappayapply", kind)
        answer = merchant.send("/pay/pappayapply", message(merchant.signed(order)))
        assert answer["result_code"] == "SUCCESS"
        assert answer.get("sign") != merchant.signature(answer)
        assert order["out_trade_no"] in wechat.charges()

    def test_can_come_late_on_the_virtual_clock(self, wechat, merchant):
        order = merchant.order(wechat.agree(new_ref("B")))
        wechat.fault("pappayapply", "late", seconds=3600)
        assert self.outcome(merchant, order["contract_id"], order["out_trade_no"]) == "broken off"
        assert merchant.state(order["out_trade_no"]) == "ORDERNOTEXIST"
        wechat.advance(3601)
        assert merchant.state(order["out_trade_no"]) == "SUCCESS"

    def test_of_one_reference_spare_the_others(self, wechat, merchant):
        contract_id = wechat.agree(new_ref("B"))
        marked, spared = merchant.order(contract_id), merchant.order(contract_id)
        wechat.fault("pappayapply", "decline", code="X", reference=marked["out_trade_no"], times=-1)
        codes = [merchant.code("/pay/pappayapply", one) for one in (spared, marked, marked)]
        assert codes == ["SUCCESS", "X", "X"]


def test_the_starter_says_why_it_did_not_start(tmp_path):
    broken = WechatSimulator(tmp_path, port=1, secure_port=1, arguments=("--mode", "nonsense"))
    with pytest.raises(RuntimeError, match="invalid choice"):
        broken.start()
