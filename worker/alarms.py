"""Watches what release policies let through, and tells of an alarm.

A webhook gets an alarm at least once, signed as Standard Webhooks asks for it
(https://www.standardwebhooks.com): it is repeated until it was taken.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import httpx

from core.log import get_logger
from core.settings import Settings
from db.session import Database
from db.transitions.policies import (
    Alarm,
    alarms_to_send,
    policies_to_watch,
    record_alarm_sent,
    watch_policy,
)

log = get_logger(__name__)

_SECONDS = 5.0  # the dispatcher has other work
_PREFIX = "whsec_"


def watch_releases(db: Database, settings: Settings) -> None:
    """Raise the alarms that are due, and send those that the webhook has not taken yet."""
    with db.reading() as s:
        due = policies_to_watch(s)
    for tenant_id in due:
        with db.transaction() as s:
            if watch_policy(s, tenant_id):
                log.error("policy.alarm", tenant_id=tenant_id)
    if settings.alarm_webhook_url is None:
        return
    with db.reading() as s:
        alarms = alarms_to_send(s)
    for alarm in alarms:
        try:
            send(alarm, settings)
        except httpx.HTTPError as exc:
            log.warning("alarm.not-sent", policy_id=alarm.policy_id, error=str(exc))
            return
        with db.transaction() as s:
            record_alarm_sent(s, alarm.policy_id)


def send(alarm: Alarm, settings: Settings) -> None:
    """Post an alarm. Raises httpx.HTTPError if it was not taken."""
    body = json.dumps(
        {
            "type": "policy.alarm",
            "timestamp": alarm.at.isoformat(),
            "data": {
                "tenant": alarm.tenant,
                "policy": alarm.number,
                "one_in": alarm.one_in,
                "audited": alarm.audited,
                "wrong": alarm.wrong,
            },
        }
    ).encode()
    headers = {"Content-Type": "application/json"}
    if settings.alarm_webhook_secret is not None:
        secret = settings.alarm_webhook_secret.get_secret_value()
        headers |= signed(body, alarm.policy_id, int(time.time()), secret)
    url = str(settings.alarm_webhook_url)
    httpx.post(url, content=body, headers=headers, timeout=_SECONDS).raise_for_status()


def signed(body: bytes, message_id: str, seconds: int, secret: str) -> dict[str, str]:
    """Return the headers that sign a message with a secret in Base64."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    content = f"{message_id}.{seconds}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
    }
