"""How the files of a form come in: Django's two ways, in larger pieces.

The web server reads ahead and moves up what is left after each piece. In pieces of 64 KB, which are
Django's, a picture of some megabytes is copied several times over.
"""

from django.core.files.uploadhandler import MemoryFileUploadHandler, TemporaryFileUploadHandler

PIECE_BYTES = 262_144


class InMemory(MemoryFileUploadHandler):
    """Keeps the files of a request up to FILE_UPLOAD_MAX_MEMORY_SIZE in memory."""

    chunk_size = PIECE_BYTES


class OnDisk(TemporaryFileUploadHandler):
    """Puts those of a larger request into temporary files."""

    chunk_size = PIECE_BYTES
