"""The OpenAPI document is true: it names every address, and the server keeps to it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from jsonschema import Draft202012Validator

from billing import gateways
from portal.api import clients, glossary
from portal.api.models import Scope
from tests import world
from tests.api.conftest import belongings
from tests.api.test_matrix import ROWS
from tests.fakes import FakeGateway


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    out = StringIO()
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out
    )
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


class TestDocument:
    def test_names_every_address_and_method(self, document: dict[str, Any]) -> None:
        said = {
            (path, method.upper())
            for path, item in document["paths"].items()
            for method in item
            if method != "parameters"
        }
        assert len(said) == len(ROWS)

    def test_says_what_every_write_does_with_a_key(self, document: dict[str, Any]) -> None:
        for path, item in document["paths"].items():
            for method, operation in item.items():
                keys = [p for p in operation["parameters"] if p["name"] == "Idempotency-Key"]
                is_write = method != "get" and not path.endswith("/preview")
                assert len(keys) == int(is_write), f"{method} {path}"

    def test_closes_every_request_to_names_it_does_not_know(self, document: dict[str, Any]) -> None:
        requests = [
            schema
            for name, schema in document["components"]["schemas"].items()
            if name.endswith("In")
        ]
        assert len(requests) >= 9
        assert all(schema["additionalProperties"] is False for schema in requests)

    def test_says_what_every_plain_name_means_with_a_value_that_is_possible(
        self, document: dict[str, Any]
    ) -> None:
        for schema_name, schema in document["components"]["schemas"].items():
            for name, prop in schema.get("properties", {}).items():
                if prop.get("type", "array") != "array":
                    assert prop["description"], f"{schema_name}.{name}"
                for value in prop.get("examples", []):
                    assert _wrong(value, prop, document) == [], f"{schema_name}.{name}"

    @pytest.mark.parametrize("name", glossary.REQUESTS)
    def test_shows_requests_that_it_allows(self, name: str, document: dict[str, Any]) -> None:
        [shown] = document["components"]["schemas"][name]["examples"]
        assert _wrong(shown, {"$ref": f"#/components/schemas/{name}"}, document) == []

    def test_explains_no_name_that_is_not_there(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        there = {name for schema in schemas.values() for name in schema.get("properties", {})}
        there |= {
            f"{name}.{prop}" for name in schemas for prop in schemas[name].get("properties", {})
        }
        assert set(glossary.WORDS) - there == set()
        assert set(glossary.REQUESTS) - set(schemas) == set()

    def test_asks_for_no_card_number_anywhere(self, document: dict[str, Any]) -> None:
        names = {
            name
            for schema in document["components"]["schemas"].values()
            for name in schema.get("properties", {})
        }
        assert not names & {"pan", "card_number", "cvv", "cvc", "number_of_card"}

    def test_is_served_to_everybody_with_its_pages_and_nothing_from_elsewhere(
        self, client: Any, db: Any
    ) -> None:
        served = client.get("/api/v1/schema/", headers={"Accept": "application/json"})
        assert served.status_code == 200
        page = client.get("/api/v1/docs/")
        text = page.content.decode()
        assert page.status_code == 200
        assert "http://" not in text
        assert "https://" not in text
        assert "<style" not in text  # the site's policy would refuse it
        assert "<script>" not in text
        script = client.get("/api/v1/docs/?script=")
        assert script["Content-Type"].startswith("application/javascript")


def _wrong(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """What JSON Schema finds wrong with `value`."""
    whole = {**schema, "components": document["components"]}
    return [error.message for error in Draft202012Validator(whole).iter_errors(value)]


@pytest.fixture
def server(transactional_db: Any, live_server: Any, settings: Any) -> Iterator[str]:
    """A real server over HTTP, where Alice and Bob have one of everything; its URL."""
    settings.CARRIER_TOKENS = {"cmcc": "secret"}
    rates = dict.fromkeys(("public", "read", "write", "push", "rows"), 10**9)
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": rates}
    with gateways.override("alipay", FakeGateway()):
        yield live_server.url


@pytest.mark.processes
class TestServer:
    def test_keeps_to_the_document_whatever_it_is_sent(self, server: str) -> None:
        """Schemathesis: every check it has, but those that schemathesis.toml gives a reason for."""
        mine = belongings("alice")
        belongings("bob")
        _client, token = clients.issue(
            owner=mine.owner,
            name="all",
            scopes=Scope.values,
            carrier=world.carrier(),
            at=world.NOON,
        )
        command = [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
            *("run", f"{server}/api/v1/schema/", "--header", f"Authorization: Bearer {token}"),
        ]
        told = os.environ | {"SCHEMATHESIS_HOOKS": "tests.api.examiner"}
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=480, check=False, env=told
        )
        assert ran.returncode == 0, ran.stdout[-6000:]
        assert re.search(rf"Tested: {len(ROWS)}\b", ran.stdout), ran.stdout[-2000:]
        world.assert_balanced()
