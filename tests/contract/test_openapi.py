"""The OpenAPI document is valid and complete, and the server does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from core.settings import Settings
from tests.api_under_test import Api, api_under_test, png

# A valid request to these may be refused: the template or export target that it names must exist,
# and a value must be one of the field's grammar, which a schema cannot state.
NAMES_THINGS = {
    "POST /v1/batches",
    "POST /v1/batches/{batch_id}/documents",
    "POST /v1/batches/{batch_id}/exports",
    "POST /v1/fields/{field_id}/verify",
}
OF_AN_OPEN_BATCH = {
    "POST /v1/batches/{batch_id}/documents",
    "POST /v1/batches/{batch_id}/cancel",
    "DELETE /v1/batches/{batch_id}",
}


@pytest.fixture
def api(sqlite_url: str, tmp_path: Path) -> Iterator[Api]:
    with api_under_test(Settings(home=tmp_path, database_url=sqlite_url)) as api:
        yield api


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    document: dict[str, Any] = api.get("/openapi.json", key="").json()
    return document


def test_it_names_every_address(api: Api, document: dict[str, Any]) -> None:
    served = {
        (method.lower(), rule.rule.replace("<id:", "{").replace(">", "}"))
        for rule in api.app.url_map.iter_rules()
        if rule.endpoint != "openapi.static" and not rule.endpoint.startswith("web.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    written = {(method, path) for path, item in document["paths"].items() for method in item}
    assert written == served


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    operations = [op for item in document["paths"].values() for op in item.values()]
    ids = [op["operationId"] for op in operations]
    assert len(ids) == len(set(ids))
    for op in operations:
        assert op["summary"], op["operationId"]
        for reference in _references(op):
            assert reference.rpartition("/")[2] in document["components"]["schemas"], reference


def test_the_page_for_people_needs_no_network(api: Api) -> None:
    page = api.get("/docs", key="")
    assert page.status_code == 200
    assert "/v1/batches/{batch_id}/export" in page.text
    assert "<script" not in page.text
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    assert api.get("/static/docs.css", key="").status_code == 200
    assert "style-src 'self'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("examples", [4, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_server_does_what_it_says(api: Api, mode: GenerationMode, examples: int) -> None:
    """Schemathesis makes inputs from the document. No answer is a 5xx or undocumented."""
    ready = api.upload([("a.png", png(1))]).json()
    api.read(ready)
    (page,) = api.items(f"/v1/batches/{ready['id']}/pages")
    still_open = api.post("/v1/batches", json={}).json()
    schema = schemathesis.openapi.from_wsgi("/openapi.json", api.app)
    asked = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        known = {
            "batch_id": (still_open if operation.label in OF_AN_OPEN_BATCH else ready)["id"],
            "page_id": page["id"],
            "field_id": page["fields"][0]["id"],
        }
        path = {name: known[name] for name in known if f"{{{name}}}" in operation.path}
        takes_nothing = not (operation.query or operation.body or operation.headers)
        if mode is GenerationMode.NEGATIVE and takes_nothing:
            continue
        strategy = operation.as_strategy(mode, path_parameters=path or None)
        asked += _ask(api.key, operation, strategy, examples)
    assert asked >= 20


def _ask(key: str, operation: Any, strategy: Any, examples: int) -> int:
    excluded: list[Any] = [positive_data_acceptance] if operation.label in NAMES_THINGS else []
    asked = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case: Any) -> None:
        nonlocal asked
        asked += 1
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, excluded_checks=excluded)

    ask()
    return asked


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
