"""A card number in a request is refused, wherever it hides, and never kept or logged."""

import json
import logging
from typing import Any

import pytest

from portal.api import card_numbers
from portal.api.models import IdempotentRequest
from tests.api.callers import Caller
from tests.api.conftest import Belongings

VISA = "4111111111111111"
CARDS = [VISA, "378282246310005", "5555555555554444", "6200000000000005", "6304000000000000000"]


class TestHoldsOne:
    @pytest.mark.parametrize("card", CARDS)
    def test_sees_it_as_text_as_a_number_and_as_a_name(self, card: str) -> None:
        for data in ({"label": card}, {"label": int(card)}, {card: 1}, [[{"a": {"b": card}}]]):
            assert card_numbers.holds_one(data), data

    @pytest.mark.parametrize(
        "text",
        ["4111 1111 1111 1111", "4111-1111-1111-1111", "my card: 4111 1111 1111 1111, thanks"],
    )
    def test_sees_it_written_as_on_the_card(self, text: str) -> None:
        assert card_numbers.holds_one({"label": text})

    @pytest.mark.parametrize(
        "data",
        [
            {"label": "4111111111111112"},  # fails the check digit
            {"label": "411111111111"},  # 12 digits
            {"label": "49927398716" + "0" * 9},  # 20
            {"label": "01M82HCSNS8D7SWNTZFD8SAKRP"},
            {"label": f"A{VISA}"},  # part of a longer name
            {"iccid": "8944538532008160222"},
            {"eid": "89049032123451234512345678901235"},
            {"msisdn": "+8613800138000"},
            {"sequence": 1732276800007},
            {"balance_minor": 1500, "is_on": True, "none": None},
        ],
    )
    def test_takes_nothing_else_for_one(self, data: Any) -> None:
        assert not card_numbers.holds_one(data)


class TestRequest:
    def test_with_one_is_refused_kept_nowhere_and_not_logged(
        self, as_alice: Caller, alice: Belongings, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            answer = as_alice.call("PATCH", f"lines/{alice.line.public_id}", {"label": VISA})
        assert (answer.status_code, answer.json()["code"]) == (400, "card_number")
        assert VISA not in json.dumps(answer.json()) + caplog.text
        alice.line.refresh_from_db()
        assert alice.line.label == "妈妈的手机"
        assert not IdempotentRequest.objects.exists()

    def test_that_puts_one_in_a_field_for_a_sim_is_refused_there(
        self, as_alice: Caller, alice: Belongings
    ) -> None:
        body = {"kind": "fm", "carrier": "cmcc", "msisdn": "+8613800138000", "iccid": VISA}
        answer = as_alice.post("lines", body)
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == ["iccid"]
        assert alice.owner.lines.count() == 3
