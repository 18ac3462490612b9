"""The object store that the settings choose."""

from __future__ import annotations

from core.settings import Settings
from storage.base import ObjectStore
from storage.directory import DirectoryStore


def open_store(settings: Settings) -> ObjectStore:
    """Return the S3 store if a bucket is set, else a directory in `home`. It does not connect yet.

    Make it after a fork; threads may share it.
    """
    if settings.s3_bucket is None:
        return DirectoryStore(settings.home / "objects")
    from storage.s3 import S3Store  # importing boto3 takes half a second

    secret = settings.s3_secret_key
    return S3Store(
        settings.s3_bucket,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=secret.get_secret_value() if secret else None,
    )
