"""The entry for gunicorn: `gunicorn --worker-class gthread 'api.wsgi:make_app()'`."""

from __future__ import annotations

from flask import Flask

from api.app import create_app
from core.log import configure_logging
from core.settings import load_settings


def make_app() -> Flask:
    """Build the application from `COUNTERFOIL_*`."""
    settings = load_settings()
    configure_logging(settings.log_level, json=settings.log_json)
    return create_app(settings)
