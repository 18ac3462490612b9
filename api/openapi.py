"""The OpenAPI 3.1 document, generated from the routes, `api.requests` and `api.answers`.

`@operation` states what the signature of a view does not say. /docs renders the document on the
server, so that the page needs no script and no network.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response, current_app, jsonify, render_template, request
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import BaseConverter, Rule

from api import problems
from api.answers import Problem
from api.requests import ID_PATTERN

_REF = "#/components/schemas/{model}"
_View = TypeVar("_View", bound=Callable[..., Any])
_Q = TypeVar("_Q", bound=BaseModel)

TAGS = {
    "batches": "Files that are uploaded together and followed together.",
    "results": "Pages, their fields and what was read in them.",
    "exports": "A whole batch, as a file or into a database table.",
    "service": "The state of the server, and this documentation.",
}

blueprint = Blueprint(
    "openapi", __name__, template_folder="docs_page", static_folder="docs_page/static"
)


class IdConverter(BaseConverter):
    """`<id:batch_id>` matches 32 hex digits; any other text is no id, so that the answer is 404."""

    regex = "[0-9a-f]{32}"


# Of a response: a JSON object, another content by its media types, or nothing.
Content = type[BaseModel] | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a request may carry."""

    name: str
    description: str
    pattern: str | None = None  # regular expression that its value matches


@dataclass(frozen=True, slots=True)
class Operation:
    tag: str
    responses: Mapping[int, Content]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    request_body: Mapping[str, Any] | None = None  # media type -> schema, in addition to `body`
    problems: tuple[int, ...] = ()  # status codes, besides those that every operation may answer
    headers: tuple[Header, ...] = ()
    public: bool = False  # needs no API key


def operation(tag: str, responses: Mapping[int, Content], **more: Any) -> Callable[[_View], _View]:
    """Describe a view for the document. `more` are the other members of `Operation`.

    The first line of the view's docstring is the summary, the rest the description.
    """

    def note(view: _View) -> _View:
        view.__dict__["operation"] = Operation(tag, responses, **more)
        return view

    return note


def parse_query(model: type[_Q]) -> _Q:
    """Return the query string as a `model`. Raises ValidationError, which is answered with 422."""
    return model.model_validate(request.args.to_dict())


@blueprint.get("/openapi.json")
@operation("service", {200: ("application/json",)}, public=True)
def openapi_json() -> Response:
    """Return this document."""
    return jsonify(document(current_app))


@blueprint.get("/docs")
@operation("service", {200: ("text/html",)}, public=True)
def docs() -> str:
    """Show this documentation as a web page."""
    return render_template("docs.html", spec=document(current_app), tags=TAGS)


def document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of `app`."""
    noted = [
        (rule, view.__dict__["operation"], view)
        for rule in app.url_map.iter_rules()
        if "operation" in (view := app.view_functions[rule.endpoint]).__dict__
    ]
    modes: set[tuple[type[BaseModel], Any]] = {(Problem, "serialization")}
    for _, about, _ in noted:
        modes |= {(m, "serialization") for m in about.responses.values() if isinstance(m, type)}
        modes |= {(m, "validation") for m in (about.body, about.query) if m}
    names, definitions = models_json_schema(
        sorted(modes, key=lambda item: (item[0].__name__, item[1])), ref_template=_REF
    )
    schemas = definitions["$defs"]
    paths: dict[str, dict[str, Any]] = {}
    for rule, about, view in sorted(noted, key=lambda item: item[0].rule):
        path = _path(rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(
                rule, about, view, method, names, schemas
            )
    for _, about, _ in noted:
        if about.query:
            schemas.pop(about.query.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Counterfoil",
            "version": _version(),
            "summary": "Reads handwritten numbers off scanned cheques and forms, in bulk.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _version() -> str:
    try:
        return version("counterfoil")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


def _path(rule: Rule) -> str:
    path = rule.rule
    for name in rule.arguments:
        path = path.replace(f"<id:{name}>", f"{{{name}}}")
    return path


def _operation(
    rule: Rule,
    about: Operation,
    view: Callable[..., Any],
    method: str,
    names: Mapping[Any, Any],
    schemas: Mapping[str, Any],
) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(view) or "").partition("\n")
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": ID_PATTERN},
        }
        for name in sorted(rule.arguments)
    ]
    if about.query:
        model = schemas[about.query.__name__]
        parameters += [
            {
                "name": name,
                "in": "query",
                "required": name in model.get("required", ()),
                "description": schema.get("description", ""),
                "schema": _not_null(schema),
            }
            for name, schema in model["properties"].items()
        ]
    parameters += [_header(header) for header in about.headers]
    result: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "summary": summary.rstrip("."),
        "description": description.strip(),
        "tags": [about.tag],
        "parameters": parameters,
        "responses": _responses(about, names, bool(about.query), bool(rule.arguments)),
    }
    content = dict(about.request_body or {})
    if about.body:
        content["application/json"] = names[about.body, "validation"]
    if content:
        result["requestBody"] = {
            "required": True,
            "content": {media: {"schema": schema} for media, schema in content.items()},
        }
    if about.public:
        result["security"] = []
    return result


def _header(header: Header) -> dict[str, Any]:
    schema = {"type": "string"} | ({"pattern": header.pattern} if header.pattern else {})
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "schema": schema,
    }


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without null, which a query string cannot express."""
    schema = {k: v for k, v in schema.items() if k not in ("title", "description")}
    options = [o for o in schema.pop("anyOf", ()) if o != {"type": "null"}]
    if options:
        schema |= options[0]
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    return schema


def _responses(
    about: Operation, names: Mapping[Any, Any], query: bool, path: bool
) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in about.responses.items():
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if isinstance(model, tuple):
            answer["content"] = {media: {} for media in model}
        elif model is not None:
            schema = names[model, "serialization"]
            answer["content"] = {"application/json": {"schema": schema}}
        responses[str(status)] = answer
    failing = set(about.problems) | {500}
    if not about.public:
        failing |= {401, 503}
    if query or about.body or about.request_body:
        failing.add(422)
    if path:
        failing.add(404)
    for status in sorted(failing - set(about.responses)):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {problems.MEDIA_TYPE: {"schema": names[Problem, "serialization"]}},
        }
    return responses
