"""The published document (Swagger 2) as something answers and events can be held against."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, FormatChecker

PATH = Path(__file__).resolve().parents[3] / "shared" / "specs" / "TMF654-v4.0.0.swagger.json"
if not PATH.exists():
    pytest.skip("the TMF654 document is not beside this checkout", allow_module_level=True)
DOCUMENT: dict[str, Any] = json.loads(PATH.read_text())
_FORMATS = FormatChecker(())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    """RFC 3339: jsonschema itself checks this format only with a package more."""
    return not isinstance(value, str) or bool(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value)
    )


def problems(instance: Any, schema: dict[str, Any]) -> list[str]:
    """What the document finds wrong with it; nothing, if all is well."""
    whole = {**schema, "definitions": DOCUMENT["definitions"]}
    found = Draft4Validator(whole, format_checker=_FORMATS).iter_errors(instance)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def named(definition: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{definition}"}


def answer_schema(method: str, template: str, status: int) -> dict[str, Any] | None:
    """The schema of an answer; None for one without a body. KeyError: not documented."""
    responses = DOCUMENT["paths"][template][method.lower()]["responses"]
    schema: dict[str, Any] = responses[str(status)].get("schema", {})
    return schema or None
