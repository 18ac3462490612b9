"""The object store on any S3 server: `<bucket>/<namespace>/<sha256>`."""

from __future__ import annotations

import base64
import hashlib
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, RawIOBase
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from core.errors import CounterfoilError
from core.ids import object_key
from storage.base import (
    ObjectCorruptedError,
    ObjectMissingError,
    ObjectStore,
    StorageDeniedError,
    StorageFullError,
    StorageUnavailableError,
    StoredObject,
)
from storage.keys import CHUNK, FULL, checked_namespace, copy_hashed, split_key

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef
    from typing_extensions import Buffer

# A smaller object stays in memory until its hash, and so its key, is known.
_SPOOL_IN_MEMORY = 4 << 20
# A larger object is sent in parts, so that only a part that fails is sent again.
_PART = 16 << 20
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_EXISTS = frozenset({"PreconditionFailed", "412"})
# Another put of the same key is in progress.
_CONFLICT = frozenset({"ConditionalRequestConflict", "409"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "403",
        "Forbidden",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoSuchBucket",
        "InvalidBucketName",
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
    }
)
_FULL = frozenset({"InsufficientStorage", "507", "QuotaExceeded", "XMinioStorageFull"})


class S3Store(ObjectStore):
    """Objects in a bucket. Threads may share it; make it after a fork."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        timeout: float = 20.0,
        attempts: int = 4,
    ) -> None:
        """`timeout` is the longest silence in seconds; `attempts` is the limit for each request."""
        self.bucket = bucket
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(
                connect_timeout=min(timeout, 5.0),
                read_timeout=timeout,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=32,
                # Other servers than Amazon's have no DNS name for each bucket.
                s3={"addressing_style": "path" if endpoint else "auto"},
            ),
        )

    def put(self, namespace: str, stream: BinaryIO, *, limit: int | None = None) -> StoredObject:
        checked_namespace(namespace)
        with _spool() as spool:

            def write(chunk: bytes) -> None:
                with _translated():
                    spool.write(chunk)

            digest, size = copy_hashed(stream, write, limit)
            sha256 = digest.hex()
            key = object_key(namespace, sha256)
            with _translated():
                spool.seek(0)
                created = self._put(key, spool, digest, size)
                if not created and not self._intact(key):
                    self._client.delete_object(Bucket=self.bucket, Key=key)
                    spool.seek(0)
                    self._put(key, spool, digest, size)
        return StoredObject(key, sha256, size, created)

    def _open(self, key: str) -> tuple[RawIOBase, int]:
        split_key(key)
        with _translated():
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
        return _Stream(answer["Body"]), answer["ContentLength"]

    def size(self, key: str) -> int:
        split_key(key)
        with _translated():
            return self._client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]

    def delete_namespace(self, namespace: str) -> int:
        prefix = f"{checked_namespace(namespace)}/"
        deleted = 0
        with _translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            for page in pages:
                keys = [item["Key"] for item in page.get("Contents", [])]
                if not keys:
                    continue
                answer = self._client.delete_objects(
                    Bucket=self.bucket,
                    Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
                )
                if failed := answer.get("Errors"):
                    raise StorageUnavailableError(
                        f"{len(failed)} objects were not deleted: {failed[0].get('Message')}."
                    )
                deleted += len(keys)
        return deleted

    def check(self) -> None:
        namespace = f"check-{secrets.token_hex(8)}"
        stored = self.put(namespace, BytesIO(namespace.encode()))
        try:
            self.read(stored.key)
        finally:
            self.delete_namespace(namespace)

    def _put(self, key: str, body: IO[bytes], digest: bytes, size: int) -> bool:
        """Store the object and return True; return False if there is one of this key."""
        return self._put_parts(key, body) if size > _PART else self._put_whole(key, body, digest)

    def _intact(self, key: str) -> bool:
        try:
            with self.open(key) as stream:
                while stream.read(CHUNK):
                    pass
        except (ObjectCorruptedError, ObjectMissingError):
            return False
        return True

    def _put_whole(self, key: str, body: IO[bytes], digest: bytes) -> bool:
        try:
            self._client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=body,
                IfNoneMatch="*",
                # The server checks what arrived against this hash.
                ChecksumSHA256=base64.b64encode(digest).decode(),
            )
        except ClientError as exc:
            if _code(exc) in _EXISTS:
                return False
            if _code(exc) in _CONFLICT:
                return self._lost_race(key, exc)
            raise
        return True

    def _put_parts(self, key: str, body: IO[bytes]) -> bool:
        if self._exists(key):
            return False  # rather than send hundreds of megabytes for nothing
        upload = self._client.create_multipart_upload(
            Bucket=self.bucket, Key=key, ChecksumAlgorithm="SHA256"
        )["UploadId"]
        try:
            parts: list[CompletedPartTypeDef] = []
            while chunk := body.read(_PART):
                number = len(parts) + 1
                checksum = base64.b64encode(hashlib.sha256(chunk).digest()).decode()
                answer = self._client.upload_part(
                    Bucket=self.bucket,
                    Key=key,
                    UploadId=upload,
                    PartNumber=number,
                    Body=chunk,
                    ChecksumSHA256=checksum,
                )
                parts.append(
                    {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}
                )
            self._client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            )
        except BaseException as exc:
            # Parts of an upload that is neither completed nor aborted cost money unseen.
            try:
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)
            except (BotoCoreError, ClientError) as failed:
                exc.add_note(f"the upload {upload} could not be aborted: {failed}")
            if isinstance(exc, ClientError) and _code(exc) in _EXISTS:
                return False
            if isinstance(exc, ClientError) and _code(exc) in _CONFLICT:
                return self._lost_race(key, exc)
            raise
        return True

    def _lost_race(self, key: str, exc: ClientError) -> bool:
        """Return False if the put that conflicted with ours has stored the object."""
        if self._exists(key):
            return False
        raise StorageUnavailableError("The same file is being stored by another request.") from exc

    def _exists(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as exc:
            if _code(exc) in _MISSING:
                return False
            raise
        return True


class _Stream(RawIOBase):
    """The body of a response as a stream that raises our own errors."""

    def __init__(self, body: StreamingBody) -> None:
        super().__init__()
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        with _translated():
            data = self._body.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        with _translated():
            return self._body.read()

    def close(self) -> None:
        self._body.close()
        super().close()


@contextmanager
def _spool() -> Iterator[IO[bytes]]:
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_IN_MEMORY) as spool:
        yield cast(IO[bytes], spool)


def _code(exc: ClientError) -> str:
    return exc.response.get("Error", {}).get("Code", "")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except CounterfoilError:
        raise
    except ClientError as exc:
        code = _code(exc)
        if code in _MISSING:
            raise ObjectMissingError("There is no such object.") from exc
        if code in _DENIED:
            raise StorageDeniedError(
                f"The S3 store refuses access ({code}).",
                hint="Check the COUNTERFOIL_S3_* settings: bucket, region and keys.",
            ) from exc
        if code in _FULL:
            raise StorageFullError("The S3 store is full.") from exc
        raise StorageUnavailableError(f"The S3 store does not work ({code}).") from exc
    except (NoCredentialsError, PartialCredentialsError) as exc:
        raise StorageDeniedError(
            "There are no credentials for the S3 store.",
            hint="Set COUNTERFOIL_S3_ACCESS_KEY and COUNTERFOIL_S3_SECRET_KEY.",
        ) from exc
    except BotoCoreError as exc:
        raise StorageUnavailableError(f"The S3 store does not answer: {exc}") from exc
    except OSError as exc:
        if exc.errno in FULL:
            raise StorageFullError("The disk for temporary files is full.") from exc
        raise StorageUnavailableError(f"The S3 store cannot be used: {exc}") from exc
