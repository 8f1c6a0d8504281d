"""Lines proven at a simulated carrier, over real HTTP, through the registry."""

import re
from datetime import UTC, datetime

import pytest

from lines import carriers, lifecycle
from lines.models import CarrierCall, Line
from tests import world as w
from tests.carriers.simulators import start_tmf654

pytestmark = [pytest.mark.processes, pytest.mark.django_db]

CODE = "LPA:1$smdp.example.com$K2-1F8-ABCD"


@pytest.fixture
def carrier(tmp_path, settings):
    with start_tmf654(tmp_path) as simulator:
        settings.CARRIER_TOKENS = {"cmcc": simulator.token}
        simulator.row = w.carrier(base_url=simulator.url)
        yield simulator


def now():
    return datetime.now(UTC)


def data_only(carrier, iccid):
    return lifecycle.add_esim(
        owner=w.person(),
        carrier=carrier.row,
        activation_code=CODE,
        iccid=iccid,
        timezone="Asia/Shanghai",
        at=now(),
    )


class TestALineAtItsCarrier:
    def test_is_proven_by_the_code_texted_to_it(self, carrier):
        sim = carrier.add_line(number="+8613800138000", iccid="8944538532008160222")
        line = lifecycle.add_fm(
            owner=w.person(),
            carrier=carrier.row,
            msisdn=sim.msisdn,
            iccid=sim.iccid,
            timezone="Asia/Shanghai",
            at=now(),
        )

        assert lifecycle.send_proof(line=line, carriers=carriers, at=now()) is True

        [text] = carrier.texts(sim.msisdn)
        code = re.search(r"\d{6}", text)
        assert code is not None
        assert lifecycle.prove(line=line, code=code[0], at=now()).is_live

    def test_without_a_number_is_proven_by_the_card_the_carrier_knows(self, carrier):
        sim = carrier.add_line(number="", iccid="8997212330099025334")
        line = data_only(carrier, sim.iccid)
        assert lifecycle.prove_by_card(line=line, carriers=carriers, at=now()).is_live
        [call] = CarrierCall.objects.all()
        assert sim.iccid not in f"{call.request} {call.response}"

    def test_without_a_number_is_not_proven_by_a_card_it_does_not_know(self, carrier):
        line = data_only(carrier, "8944538532008160222")
        with pytest.raises(lifecycle.NotAtCarrier):
            lifecycle.prove_by_card(line=line, carriers=carriers, at=now())
        assert not Line.objects.get().is_live

    def test_waits_while_its_carrier_does_not_answer(self, carrier):
        line = data_only(carrier, "8944538532008160222")
        carrier.stop()
        with pytest.raises(lifecycle.CarrierSilent):
            lifecycle.prove_by_card(line=line, carriers=carriers, at=now())
        assert not Line.objects.get().is_live
