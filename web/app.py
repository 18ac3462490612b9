"""The WSGI application: the API, and beside it the pages that people work in.

    gunicorn --worker-class gthread 'web.app:make_app()'

The pages stand on the queries and transitions of the API. They need no build step and no network:
style, script and pictures come from here, and the policy of their content allows nothing else.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Flask, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as BaseResponse

from api import audit
from api.app import create_app as create_api
from api.problems import ProblemError, answer_with_problem
from core.log import configure_logging
from core.settings import Settings, load_settings
from web import (
    account,
    audit_log,
    balance,
    batches,
    carpet,
    export,
    findings,
    images,
    keys,
    live,
    pages,
    people,
    policy,
    provider,
    signing_in,
    template_edit,
    template_list,
    upload,
    verify,
    words,
    work,
)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def create_app(settings: Settings) -> Flask:
    """Return the application. It connects to nothing before the first request."""
    app = create_api(settings)
    web = Blueprint(
        "web", __name__, template_folder="templates", static_folder="static", static_url_path="/web"
    )
    web.before_request(signing_in.require_same_origin)
    web.before_request(signing_in.require_person)
    web.after_request(_with_policy)
    web.register_error_handler(Exception, _explain)
    web.context_processor(lambda: {"me": signing_in.person_or_none(), "words": words})
    web.context_processor(lambda: {"alarm": policy.is_alarmed})
    for module in (
        signing_in,
        provider,
        account,
        people,
        audit_log,
        batches,
        live,
        export,
        upload,
        pages,
        images,
        verify,
        carpet,
        findings,
        keys,
        work,
        balance,
        template_list,
        template_edit,
        policy,
    ):
        web.register_blueprint(module.blueprint)
    app.register_blueprint(web)
    live.install(app)
    audit.install(app, app.extensions["counterfoil"])
    if settings.proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies
        )
    app.register_error_handler(NotFound, _explain)  # an address that is no page
    return app


def make_app() -> Flask:
    """Build the application from `COUNTERFOIL_*`."""
    settings = load_settings()
    configure_logging(settings.log_level, json=settings.log_json)
    return create_app(settings)


def _with_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _explain(error: Exception) -> BaseResponse | tuple[str, int]:
    """Answer an error with a page in plain words; scripts get the problem itself."""
    signed_out = isinstance(error, ProblemError) and error.code == "not-signed-in"
    if signed_out and request.method == "GET" and "HX-Request" not in request.headers:
        return redirect(url_for("web.signing_in.ask"))
    answer = answer_with_problem(error)
    accepted = request.accept_mimetypes
    if accepted.quality("text/html") <= accepted.quality("application/json"):
        return answer  # no browser, which prefers HTML
    about = answer.get_json()
    title = words.ERROR_TITLES.get(HTTPStatus(answer.status_code), "That did not work")
    page = render_template("error.html", title=title, detail=about["detail"])
    return page, answer.status_code
