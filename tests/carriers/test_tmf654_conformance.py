"""The simulated operator against the published document, so that the adapter learns the protocol
and not merely our idea of it: every answer is valid, and a client made from the document by a
property-based generator finds nothing that is not.
"""

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from ulid import ULID

from tests.carriers.simulators import TOKEN
from tests.carriers.tmf654_document import DOCUMENT, answer_schema, problems

BASE = DOCUMENT["basePath"]
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
]
BOUNDED = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
# What the operator does not offer answers 405 to everything, which is tested by itself.
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(
    path_regex="transferBalance|reserveBalance|accumulatedBalance|listener"
)


class Client:
    """Asks, and holds each answer against the document before handing it on."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, method, template, *, expect, body=None, headers=AUTHORISED, **ids):
        path = template.format(**ids) if "{" in template else template
        answer = requests.request(
            method,
            f"{self._url}{BASE}{path}",
            json=body,
            headers=headers,
            params=ids.get("params"),
            timeout=10,
        )
        assert answer.status_code == expect, answer.text
        expected = answer_schema(method, template, expect)
        if expected is None:
            assert answer.content == b""
            return None
        assert answer.headers["Content-Type"] == "application/json;charset=utf-8"
        document = answer.json()
        assert problems(document, expected) == []
        if isinstance(document, list):
            assert int(answer.headers["X-Result-Count"]) == len(document)
            assert int(answer.headers["X-Total-Count"]) >= len(document)
        return document


@pytest.fixture
def client(carrier):
    return Client(carrier.url)


@pytest.fixture
def bucket(carrier, client, alice):
    [found] = client.ask("GET", "/bucket", expect=200, params={"logicalResource.id": alice.msisdn})
    return found


def order(into, **more):
    return {
        "amount": {"amount": 50.0, "units": "CNY"},
        "usageType": "monetary",
        "bucket": {"id": into["id"]},
        "partyAccount": {"id": into["partyAccount"]["id"]},
        **more,
    }


class TestBuckets:
    def test_are_valid(self, carrier, client):
        carrier.add_line(valid_until="2100-01-01T00:00:00+00:00", reserved_minor=5)
        expired = carrier.add_line()
        carrier.change_line(expired, expire=True)
        carrier.change_line(carrier.add_line(), status="suspended")

        statuses = {each["status"] for each in client.ask("GET", "/bucket", expect=200)}

        assert statuses == {"active", "suspended", "expired"}

    def test_can_be_asked_one_by_one(self, client, bucket):
        assert client.ask("GET", "/bucket/{id}", expect=200, id=bucket["id"])["id"] == bucket["id"]
        client.ask("GET", "/bucket/{id}", expect=404, id="BKT-none")

    def test_of_nobody_are_not_found(self, client):
        params = {"logicalResource.id": "+8613899999999"}
        error = client.ask("GET", "/bucket", expect=404, params=params)

        assert error["code"] == "unknownResource"

    def test_are_paged_and_trimmed_on_request(self, carrier, client):
        for _ in range(3):
            carrier.add_line()

        page = client.ask(
            "GET", "/bucket", expect=200, params={"offset": 1, "limit": 2, "fields": "status"}
        )

        assert [set(each) for each in page] == [{"id", "href", "status"}] * 2

    @pytest.mark.parametrize("params", [{"limit": "-1"}, {"offset": "x"}, {"limit": ""}])
    def test_refuse_a_page_that_is_none(self, client, params):
        client.ask("GET", "/bucket", expect=400, params=params)


class TestOrders:
    def test_are_valid_from_their_creation_to_their_end(self, carrier, client, bucket):
        reference = str(ULID())
        made = client.ask(
            "POST", "/topupBalance", expect=201, body=order(bucket, description=reference)
        )

        assert made["status"] == "completed"
        assert made["description"] == reference
        assert made["amount"] == {"amount": 50.0, "units": "CNY"}
        assert client.ask("GET", "/topupBalance/{id}", expect=200, id=made["id"]) == made
        assert client.ask(
            "GET", "/topupBalance", expect=200, params={"description": reference}
        ) == [made]
        carrier.reverse(made["id"])
        taken = client.ask("GET", "/topupBalance/{id}", expect=200, id=made["id"])
        assert taken["status"] == "cancelled"

    def test_can_be_cancelled_only_before_their_effect(self, carrier, client, bucket):
        carrier.end_topups(after_s=600)
        made = client.ask("POST", "/topupBalance", expect=201, body=order(bucket))
        assert made["status"] == "created"
        assert "confirmationDate" not in made

        change = {"expect": 200, "id": made["id"], "body": {"status": "cancelled"}}
        ended = client.ask("PATCH", "/topupBalance/{id}", **change)

        assert ended["status"] == "cancelled"
        client.ask("PATCH", "/topupBalance/{id}", **{**change, "expect": 409})
        client.ask("PATCH", "/topupBalance/{id}", **{**change, "expect": 404, "id": "TOP-0"})

    def test_of_adjustments_are_valid(self, client, bucket):
        body = order(bucket, amount={"amount": -1.5, "units": "CNY"})
        del body["partyAccount"]
        made = client.ask("POST", "/adjustBalance", expect=201, body=body)

        assert made["amount"]["amount"] == -1.5
        assert client.ask("GET", "/adjustBalance/{id}", expect=200, id=made["id"]) == made
        client.ask("GET", "/topupBalance/{id}", expect=404, id=made["id"])

    def test_of_another_account_or_another_number_are_refused(self, carrier, client, bucket):
        before = len(carrier.journal())
        wrong = {
            "wrongAccount": {"partyAccount": {"id": "ACC-another"}},
            "wrongResource": {"logicalResource": [{"id": "+8613800009999"}]},
            "unknownBucket": {"bucket": {"id": "BKT-none"}},
        }

        codes = {
            (path, code): client.ask("POST", path, expect=400, body=order(bucket, **fields))["code"]
            for path in ("/topupBalance", "/adjustBalance")
            for code, fields in wrong.items()
        }

        assert codes == {(path, code): code for path, code in codes}
        assert len(carrier.journal()) == before

    def test_make_a_history(self, client, bucket):
        made = client.ask("POST", "/topupBalance", expect=201, body=order(bucket))

        history = client.ask("GET", "/balanceActionHistory", expect=200)

        assert made["id"] in [each["id"] for each in history]
        client.ask("GET", "/balanceActionHistory/{id}", expect=200, id=made["id"])
        client.ask("GET", "/balanceActionHistory/{id}", expect=404, id="TOP-0")

    @pytest.mark.parametrize(
        "change",
        [
            {"amount": {"amount": "50", "units": "CNY"}},
            {"amount": {"amount": 0.001, "units": "CNY"}},
            {"amount": {"amount": 0, "units": "CNY"}},
            {"amount": {"amount": -50, "units": "CNY"}},
            {"amount": {"amount": 50, "units": "EUR"}},
            {"amount": {"amount": 1e30, "units": "CNY"}},
            {"amount": None},
            {"usageType": "data"},
            {"bucket": {"id": "BKT-none"}},
            {"bucket": "BKT"},
            {"logicalResource": {"id": "x"}},
            {"validFor": {"endDateTime": "tomorrow"}},
            {"isAutoTopup": "yes"},
        ],
    )
    def test_are_refused_when_they_make_no_sense(self, carrier, client, bucket, change):
        before = len(carrier.journal())

        client.ask("POST", "/topupBalance", expect=400, body=order(bucket, **change))

        assert len(carrier.journal()) == before

    def test_need_the_token(self, carrier, client, bucket):
        before = len(carrier.journal())
        for headers in ({}, {"Authorization": "Bearer guessed"}, {"Authorization": TOKEN}):
            client.ask("POST", "/topupBalance", expect=401, body=order(bucket), headers=headers)

        assert len(carrier.journal()) == before

    def test_are_deleted_only_before_their_effect(self, carrier, client, bucket):
        made = client.ask("POST", "/topupBalance", expect=201, body=order(bucket))
        client.ask("DELETE", "/topupBalance/{id}", expect=409, id=made["id"])
        carrier.end_topups(after_s=600)
        pending = client.ask("POST", "/topupBalance", expect=201, body=order(bucket))

        client.ask("DELETE", "/topupBalance/{id}", expect=204, id=pending["id"])

        ended = client.ask("GET", "/topupBalance/{id}", expect=200, id=pending["id"])
        assert ended["status"] == "cancelled"

    @pytest.mark.parametrize("kind", ["error_before", "error_after"])
    def test_fail_in_the_protocol_s_words(self, carrier, client, bucket, kind):
        carrier.fault(kind, "POST /topupBalance")

        client.ask("POST", "/topupBalance", expect=500, body=order(bucket))


class TestHub:
    def test_subscriptions_come_once_and_go(self, client):
        body = {"callback": "http://127.0.0.1:9/events", "query": "none"}
        made = client.ask("POST", "/hub", expect=201, body=body)

        assert made["callback"] == body["callback"]
        client.ask("POST", "/hub", expect=409, body=body)
        client.ask("DELETE", "/hub/{id}", expect=204, id=made["id"])
        client.ask("DELETE", "/hub/{id}", expect=404, id=made["id"])
        client.ask("POST", "/hub", expect=400, body={"callback": 5})


class TestWhatIsNotOffered:
    @pytest.mark.parametrize(
        ("method", "template"),
        [
            ("GET", "/transferBalance"),
            ("POST", "/transferBalance"),
            ("POST", "/reserveBalance"),
            ("DELETE", "/reserveBalance/{id}"),
            ("GET", "/accumulatedBalance/{id}"),
            ("POST", "/listener/topupBalanceCreateEvent"),
        ],
    )
    def test_says_so_in_the_protocol_s_words(self, client, method, template):
        client.ask(method, template, expect=405, id="x", body={} if method == "POST" else None)


class TestAClientMadeFromTheDocument:
    @schema.parametrize()
    @BOUNDED
    def test_finds_no_answer_the_document_does_not_know(self, case, running_carrier):
        case.call_and_validate(
            base_url=running_carrier.url + BASE, headers=AUTHORISED, checks=CHECKS, timeout=10
        )

    @pytest.mark.parametrize("path", ["/topupBalance", "/adjustBalance"])
    def test_meets_a_real_line(self, running_carrier, path):
        """With the bucket of a line, what it sends reaches the books, or is refused by them."""
        statuses: set[int] = set()

        @given(case=schema[path]["POST"].as_strategy(), is_money=booleans())
        @BOUNDED
        def send(case, is_money):
            case.body["bucket"]["id"] = line["id"]
            case.body.pop("logicalResource", None)
            if is_money:
                case.body["partyAccount"] = {"id": line["account_id"]}
                case.body |= {"amount": {"amount": 7.5, "units": "CNY"}, "usageType": "monetary"}
            before = len(running_carrier.journal())

            answer = case.call(base_url=running_carrier.url + BASE, headers=AUTHORISED, timeout=10)

            expected = answer_schema("POST", path, answer.status_code) or {}
            assert problems(answer.json(), expected) == []
            moved = len(running_carrier.journal()) - before
            assert moved == (answer.status_code == 201)
            statuses.add(answer.status_code)

        line = running_carrier.line(running_carrier.add_line())
        send()
        assert statuses == {201, 400}
