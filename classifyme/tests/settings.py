"""The project's settings as the tests run them: no ``.env``, no folder of yours, no slow hashing.

Variables of the person who runs the tests are dropped first, so that a configured Cloudinary
account or a real database is never touched. ``TEST_DATABASE_URL`` names the database to test on.
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

_root = Path(tempfile.mkdtemp(prefix="classifyme-tests-"))
atexit.register(shutil.rmtree, _root, ignore_errors=True)

_example = Path(__file__).resolve().parents[2] / ".env.example"
for _name in re.findall(r"^#?\s?([A-Z_]+)=", _example.read_text("utf-8"), re.MULTILINE):
    os.environ.pop(_name, None)
os.environ.update(
    ENV_FILE="",
    SECRET_KEY="only-for-tests-and-long-enough-to-be-taken-for-a-key",
    MEDIA_ROOT=str(_root / "media"),
    BUNDLES_ROOT=str(_root / "bundles"),
    BUNDLE_CACHE=str(_root / "bundle-cache"),
    STATIC_ROOT=str(_root / "static"),
    # Not `:memory:`: pytest-django's live server may look before the test database has its own
    # name, and would share one connection among all threads, which crashes SQLite.
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL", f"sqlite:///{_root / 'unused.sqlite3'}"),
    # What counts calls is switched on by the tests of counting.
    API_RATE_PER_ADDRESS="off",
    # A live server's threads must not hold a test database open past the test.
    DATABASE_CONN_MAX_AGE="0",
)

from classifyme.settings import *  # noqa: E402, F403
from classifyme.settings import DATABASES, STORAGES  # noqa: E402

for _folder in ("media", "bundles", "static"):
    (_root / _folder).mkdir()

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, not memory: threads of a live server get connections of their own, as in real life.
    DATABASES["default"]["TEST"] = {"NAME": str(_root / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# The manifest exists only after collectstatic; tests take the files where they lie.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True
