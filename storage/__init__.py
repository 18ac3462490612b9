"""Files: the object store of scans and page images, and the site's own models.

`storage.open.open_store(settings)` returns the object store: S3 if a bucket is set, else a local
directory. `storage.site_models` keeps models in the data directory.
"""
