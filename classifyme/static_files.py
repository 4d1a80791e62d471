"""How static files are stored: by the hash of their content, for ever in a browser's cache."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Follows the imports between JavaScript modules too.

    Otherwise a module would be loaded twice: by its hashed name from a page, by its plain name from
    another module.
    """

    support_js_module_import_aggregation = True
