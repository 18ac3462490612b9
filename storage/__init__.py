"""The object store: uploaded files and page images, each under its sha256.

`open_store(settings)` in `storage.open` picks S3 when a bucket is set, else a local directory.
"""
