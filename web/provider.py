"""Signing in by an identity provider: OpenID Connect, the code flow with state, nonce and PKCE.

The settings say which claim of the ID token lets whom in, and with which role. What a browser must
bring back (state, nonce, verifier) is in a cookie of ten minutes that only this flow sees.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, cast

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import (
    parse_authorization_code_response,
    prepare_grant_uri,
    prepare_token_request,
)
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from flask import Blueprint, current_app, redirect, request, url_for
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from werkzeug.wrappers import Response

from api.context import services
from core.errors import NotFoundError, TransientError
from core.limits import MAX_NAME
from core.log import get_logger
from core.roles import Role, SignInMethod
from core.settings import Settings
from core.text import printable
from db.transitions import people, sessions
from db.transitions.tenants import ensure_tenant
from web.signing_in import let_in, sign_in_page

log = get_logger(__name__)
blueprint = Blueprint("provider", __name__)

COOKIE: Final = "counterfoil-provider"
_COOKIE_SECONDS: Final = 600
_METADATA_SECONDS: Final = 3600
_TIMEOUT: Final = 5.0
# A provider that does not answer is left alone so long: else each who asks would hold a thread.
_AWAY_SECONDS: Final = 10.0
_LEEWAY: Final = 120  # seconds that the provider's clock may be off
_MAX_SUBJECT: Final = 600
# With a key that the provider alone has; "none" and those by a shared secret are not among them.
_ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
_EXTENSION: Final = "counterfoil-provider"


class _RefusedError(Exception):
    """The provider, or what came back from it, does not let this person in."""


@dataclass
class _Provider:
    settings: Settings
    _known: dict[str, Any] = field(default_factory=dict)
    _known_until: float = 0.0
    _away_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def address(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return the address at the provider where a person proves who she is."""
        return cast(
            str,
            prepare_grant_uri(
                self._metadata()["authorization_endpoint"],
                client_id=self.settings.oidc_client_id,
                response_type="code",
                redirect_uri=redirect_uri,
                scope=self.settings.oidc_scopes,
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            ),
        )

    def claims(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> dict[str, Any]:
        """Exchange a code for an ID token, and return its claims, verified."""
        secret = self.settings.oidc_client_secret
        auth = ClientAuth(
            self.settings.oidc_client_id,
            secret.get_secret_value() if secret else None,
            "client_secret_basic" if secret else "none",
        )
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier
        )
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        uri, headers, body = auth.prepare("POST", self._metadata()["token_endpoint"], headers, body)
        answer = httpx.post(uri, headers=headers, content=body, timeout=_TIMEOUT)
        if answer.status_code != HTTPStatus.OK:
            raise _RefusedError(f"the token endpoint answered {answer.status_code}")
        return self._verified(answer.json(), nonce)

    def _verified(self, answer: dict[str, Any], nonce: str) -> dict[str, Any]:
        metadata = self._metadata()
        offered = metadata.get("id_token_signing_alg_values_supported", ["RS256"])
        registry = JWSRegistry(
            algorithms=sorted(_ALGORITHMS.intersection(offered)), strict_check_header=False
        )
        token = answer["id_token"]
        try:
            signed = jwt.decode(token, key=self._keys(), registry=registry)
        except InvalidKeyIdError:  # the provider has new keys
            signed = jwt.decode(token, key=self._keys(anew=True), registry=registry)
        claims = CodeIDToken(
            signed.claims,
            signed.header,
            {
                "iss": {"essential": True, "value": metadata["issuer"]},
                "aud": {"essential": True, "value": self.settings.oidc_client_id},
            },
            {
                "nonce": nonce,
                "client_id": self.settings.oidc_client_id,
                "access_token": answer.get("access_token"),
            },
        )
        claims.validate(leeway=_LEEWAY)
        return dict(claims)

    def _metadata(self) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() < self._away_until:
                raise httpx.ConnectError("it did not answer a moment ago")
            if time.monotonic() >= self._known_until:
                try:
                    self._known = self._fetched()
                except httpx.TransportError:
                    self._away_until = time.monotonic() + _AWAY_SECONDS
                    raise
                self._known_until = time.monotonic() + _METADATA_SECONDS
            return self._known

    def _fetched(self) -> dict[str, Any]:
        issuer = str(self.settings.oidc_issuer).rstrip("/")
        found = _get_json(f"{issuer}/.well-known/openid-configuration")
        if str(found["issuer"]).rstrip("/") != issuer:
            raise _RefusedError("the provider calls itself otherwise than oidc_issuer")
        return found | {"keys": _get_json(found["jwks_uri"])}

    def _keys(self, *, anew: bool = False) -> KeySet:
        metadata = self._metadata()
        if anew:
            metadata["keys"] = _get_json(metadata["jwks_uri"])
        return KeySet.import_key_set(metadata["keys"])


@blueprint.get("/sign-in/provider")
def begin() -> Response | tuple[str, int]:
    """Send the browser to the provider."""
    provider = _provider()
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    try:
        with _explained():
            there = provider.address(_back_here(), state, nonce, verifier)
    except _RefusedError as exc:
        return _refusal(provider, exc)
    response = redirect(there)
    response.set_cookie(
        COOKIE,
        f"{state}.{nonce}.{verifier}",
        max_age=_COOKIE_SECONDS,
        path=url_for("web.provider.begin"),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


@blueprint.get("/sign-in/provider/back")
def arrive() -> Response | tuple[str, int]:
    """Let a person in who comes back from the provider."""
    provider = _provider()
    settings = provider.settings
    try:
        with _explained():
            claims = _claims(provider)
        role = role_of(claims, settings)
        if role is None:
            raise _RefusedError("no setting lets this person in")
        subject = f"{settings.oidc_issuer} {claims['sub']}"
        if len(subject) > _MAX_SUBJECT:
            raise _RefusedError("the subject is too long")
        with services().db.transaction() as session:
            tenant_id = ensure_tenant(session, settings.oidc_tenant).id
            names = names_of(claims)
            found = people.person_of_provider(session, tenant_id, subject, names, role)
            if found is None:
                raise _RefusedError("this person is disabled")
            token = sessions.start_session(
                session, found.id, SignInMethod.PROVIDER, address=request.remote_addr or ""
            )
    except _RefusedError as exc:
        return _refusal(provider, exc)
    response = let_in(token)
    response.delete_cookie(COOKIE, path=url_for("web.provider.begin"))
    return response


def _refusal(provider: _Provider, why: _RefusedError) -> tuple[str, int]:
    log.warning("provider.refused", why=str(why), address=request.remote_addr)
    said = f"Signing in with {provider.settings.oidc_name} did not work."
    hint = "Try again, or ask whoever manages Counterfoil."
    return sign_in_page(f"{said} {hint}"), HTTPStatus.FORBIDDEN


def role_of(claims: dict[str, Any], settings: Settings) -> Role | None:
    """Return the highest role that the settings give to somebody with these claims, or None.

    An e-mail address counts only if the provider says that it has verified it.
    """
    said = claims.get(settings.oidc_claim)
    values = {one for one in (said if isinstance(said, list) else [said]) if isinstance(one, str)}
    if settings.oidc_claim == "email" and claims.get("email_verified") is not True:
        values = set()
    roles = [role for value, role in settings.oidc_roles.items() if value == "*" or value in values]
    return max(roles, key=list(Role).index, default=None)


def names_of(claims: dict[str, Any]) -> list[str]:
    """Return what a person may be called here, the best first, the last surely free."""
    said = (claims.get(key) for key in ("name", "preferred_username", "email"))
    given = [one for text in said if isinstance(text, str) and (one := " ".join(text.split()))]
    sub = str(claims["sub"])
    best = given[0] if given else sub
    longer = [f"{best} ({one})" for one in (*given[1:], sub)]
    return [printable(name)[:MAX_NAME] for name in (best, *longer)]


def _claims(provider: _Provider) -> dict[str, Any]:
    parts = request.cookies.get(COOKIE, "").split(".")
    if len(parts) != 3:
        raise _RefusedError("the cookie of this flow is missing")
    state, nonce, verifier = parts
    given = request.args.get("state", "")
    if not hmac.compare_digest(given.encode(), state.encode()):
        raise _RefusedError("the state is another")
    code = parse_authorization_code_response(request.url, state)["code"]
    return provider.claims(code, _back_here(), nonce, verifier)


@contextmanager
def _explained() -> Iterator[None]:
    """Raise what fails on the way as _RefusedError, or TransientError if the provider is away."""
    try:
        yield
    except httpx.TransportError as exc:
        raise TransientError(
            "The identity provider does not answer.", code="provider-away"
        ) from exc
    except (AuthlibBaseError, JoseError, httpx.HTTPError) as exc:
        raise _RefusedError(f"{type(exc).__name__}: {exc}") from exc
    except (KeyError, TypeError, ValueError) as exc:  # an answer that is not as the standard says
        raise _RefusedError(f"{type(exc).__name__}: {exc}") from exc


def _get_json(uri: str) -> dict[str, Any]:
    answer = httpx.get(uri, timeout=_TIMEOUT, headers={"Accept": "application/json"})
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise _RefusedError(f"{uri} is no JSON object")
    return found


def _back_here() -> str:
    return url_for("web.provider.arrive", _external=True)


def _provider() -> _Provider:
    settings = services().settings
    if settings.oidc_issuer is None:
        raise NotFoundError("No identity provider is set up.", code="no-provider")
    made = _Provider(settings)
    return cast(_Provider, current_app.extensions.setdefault(_EXTENSION, made))
