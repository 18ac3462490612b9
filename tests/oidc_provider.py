"""A real OpenID Connect provider, as a process of its own: `python -m tests.oidc_provider`.

oidc-provider-mock takes any client and lets whoever is named in. It does not look at PKCE, so this
adds it: a code is exchanged only with the verifier of its challenge. The token of the user "forged"
has a wrong signature. It prints its address.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import oidc_provider_mock
from flask import Flask, Response, abort, request
from werkzeug.serving import make_server


def make_provider(users: dict[str, dict[str, Any]]) -> Flask:
    """Return a provider that knows these users: a subject and its claims."""
    app = Flask(__name__)
    known = [oidc_provider_mock.User(sub=sub, claims=claims) for sub, claims in users.items()]
    challenges: dict[str, str] = {}

    @app.before_request
    def check_verifier() -> None:
        if request.path == "/oauth2/token" and request.method == "POST":
            verifier = request.form.get("code_verifier", "").encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=")
            if challenges.pop(request.form.get("code", ""), None) != digest.decode():
                abort(HTTPStatus.BAD_REQUEST, "PKCE")

    @app.after_request
    def remember_challenge(response: Response) -> Response:
        code = parse_qs(urlsplit(response.headers.get("Location", "")).query).get("code")
        if code:
            assert request.args["code_challenge_method"] == "S256"
            challenges[code[0]] = request.args["code_challenge"]
        return response

    @app.after_request
    def forge(response: Response) -> Response:
        if request.path == "/oauth2/token" and response.status_code == HTTPStatus.OK:
            answer = response.get_json()
            head, claims, signature = answer["id_token"].split(".")
            if json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"] == "forged":
                forged = "A" * len(signature)
                response.set_data(json.dumps(answer | {"id_token": f"{head}.{claims}.{forged}"}))
        return response

    oidc_provider_mock.init_app(app, user_claims=known, require_nonce=True)
    app.secret_key = "of a test"
    return app


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, make_provider(json.loads(sys.argv[1])), threaded=True)
    print(f"http://127.0.0.1:{server.port}", flush=True)  # noqa: T201
    server.serve_forever()
