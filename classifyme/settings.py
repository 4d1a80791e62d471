"""Django settings of ClassifyMe: every value comes from the environment, with a typed default.

``.env`` beside ``manage.py`` is read first; what the process's own environment says wins.
``.env.example`` explains every variable that is read here.
"""

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

from classifyme.environment import Environment, cloudinary_account
from classifyme.folders import make_private

BASE_DIR = Path(__file__).resolve().parent.parent
ENV_FILE = os.environ.get("ENV_FILE", ".env")
env = Environment(BASE_DIR / ENV_FILE if ENV_FILE else None)

# --- What every installation sets -------------------------------------------------------------

SECRET_KEY = env.text("SECRET_KEY")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is missing. `make run` writes a .env with a random one; elsewhere set "
        "SECRET_KEY in the environment or copy .env.example to .env and fill it in."
    )
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
DEBUG = env.boolean("DEBUG", default=False)

HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, minimum=1, maximum=65535)
ALLOWED_HOSTS = [
    *env.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"]),
    f"[{HOST}]" if ":" in HOST else HOST,
]

# --- HTTPS: off for http://localhost, one switch for an installation behind TLS ---------------

HTTPS = env.boolean("HTTPS", default=False)
SECURE_SSL_REDIRECT = env.boolean("SECURE_SSL_REDIRECT", default=HTTPS)
# Health checks ask the process itself, over plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = env.integer(
    "SECURE_HSTS_SECONDS", 3600 if HTTPS else 0, minimum=0, maximum=63_072_000
)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.boolean("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.boolean("SECURE_HSTS_PRELOAD", default=False)
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
# Only behind a proxy that sets or strips X-Forwarded-Proto itself: else a client could forge it.
TRUST_PROXY = env.boolean("TRUST_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUST_PROXY else None
X_FRAME_OPTIONS = "DENY"

# --- Pictures: limits, where they live, who else keeps them -----------------------------------

IMAGE_MAX_BYTES = env.integer("IMAGE_MAX_BYTES", 20_000_000, minimum=1_000, maximum=500_000_000)
IMAGE_MAX_PIXELS = env.integer("IMAGE_MAX_PIXELS", 50_000_000, minimum=1_000, maximum=500_000_000)
# The picture and, beside it, the form's other fields and the multipart framing.
REQUEST_MAX_BYTES = IMAGE_MAX_BYTES + 1_000_000
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
# One picture is read whole to be decoded: a file in between would only be written and read again.
FILE_UPLOAD_MAX_MEMORY_SIZE = REQUEST_MAX_BYTES
FILE_UPLOAD_HANDLERS = ["classifyme.uploads.InMemory", "classifyme.uploads.OnDisk"]
FILE_UPLOAD_PERMISSIONS = 0o640

MEDIA_ROOT = env.path("MEDIA_ROOT", Path("var/media"), base=BASE_DIR)
BUNDLES_ROOT = env.path("BUNDLES_ROOT", Path("var/bundles"), base=BASE_DIR)
# Bundles that are kept elsewhere are fetched to here, by all processes of this machine together.
BUNDLE_CACHE = env.path("BUNDLE_CACHE", Path("var/bundle-cache"), base=BASE_DIR)
BUNDLE_CACHE_BYTES = env.integer(
    "BUNDLE_CACHE_BYTES", 5_000_000_000, minimum=0, maximum=1_000_000_000_000_000
)
DATASETS_ROOT = env.path("DATASETS_ROOT", Path("var/datasets"), base=BASE_DIR)
RUNS_ROOT = env.path("RUNS_ROOT", Path("var/runs"), base=BASE_DIR)
STATIC_ROOT = env.path("STATIC_ROOT", Path("var/static"), base=BASE_DIR)
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]

# Not CLOUDINARY: the SDK takes a setting of that name for its own configuration.
CLOUDINARY_ACCOUNT = cloudinary_account(env)
CLOUDINARY_FOLDER = env.text("CLOUDINARY_FOLDER", "classifyme")
CLOUDINARY_TIMEOUT_SECONDS = env.integer("CLOUDINARY_TIMEOUT_SECONDS", 20, minimum=1, maximum=600)

STORAGES: dict[str, dict[str, object]] = {
    "default": {"BACKEND": "classifier.storage.PictureFolder"},
    "staticfiles": {
        "BACKEND": "classifyme.static_files.StaticFiles",
        # They are for everybody; FILE_UPLOAD_PERMISSIONS would hide from the user of an image
        # what was collected while the image was built.
        "OPTIONS": {"file_permissions_mode": 0o644},
    },
    # Any Django storage: of one that is no folder of this machine, bundles are fetched.
    "bundles": {
        "BACKEND": env.text("BUNDLES_STORAGE", "classifier.bundle_storage.BundlesFolder"),
        "OPTIONS": env.options("BUNDLES_STORAGE_OPTIONS"),
    },
}
if CLOUDINARY_ACCOUNT.configured:
    STORAGES["cloud"] = {
        "BACKEND": "classifier.storage.CloudinaryStorage",
        "OPTIONS": {
            "cloud_name": CLOUDINARY_ACCOUNT.cloud_name,
            "api_key": CLOUDINARY_ACCOUNT.api_key,
            "api_secret": CLOUDINARY_ACCOUNT.api_secret,
            "folder": CLOUDINARY_FOLDER,
            "timeout": CLOUDINARY_TIMEOUT_SECONDS,
            **CLOUDINARY_ACCOUNT.options,
        },
    }

# --- Serving ----------------------------------------------------------------------------------

RUNTIME: dict[str, Any] = {
    "BACKEND": env.text("RUNTIME_BACKEND", "classifier.runtimes.onnx.OnnxRuntime"),
    # One thread an inference: the processes and threads of the web server fill the cores.
    "OPTIONS": {
        "threads": env.integer("RUNTIME_THREADS", 1, minimum=1, maximum=256),
        **env.options("RUNTIME_OPTIONS"),
    },
}
# What `manage.py classify` does with a whole folder; 0 threads: one for each core.
BULK_THREADS = env.integer("BULK_THREADS", 0, minimum=0, maximum=256)
BULK_BATCH_SIZE = env.integer("BULK_BATCH_SIZE", 32, minimum=1, maximum=4096)
ACTIVE_VERSION_POLL_SECONDS = env.decimal(
    "ACTIVE_VERSION_POLL_SECONDS", 0.5, minimum=0.0, maximum=60.0
)
# Versions that stay loaded in each process beside the active ones, when they are asked for.
SERVING_EXTRA_VERSIONS = env.integer("SERVING_EXTRA_VERSIONS", 2, minimum=0, maximum=64)
# Whether a web process loads the active versions of all registered models when it starts.
SERVING_PRELOAD = env.boolean("SERVING_PRELOAD", default=True)

# Of the review queue so much is drawn at random; the rest is what the model is least sure of.
REVIEW_RANDOM_SHARE = env.decimal("REVIEW_RANDOM_SHARE", 0.1, minimum=0.0, maximum=1.0)

# --- Pictures that a request names by their URL -------------------------------------------------

URL_FETCHING = env.boolean("URL_FETCHING", default=True)
URL_FETCHING_ALLOWED_HOSTS = env.words("URL_FETCHING_ALLOWED_HOSTS")
URL_FETCHING_PRIVATE_HOSTS = env.words("URL_FETCHING_PRIVATE_HOSTS")
URL_FETCHING_SECONDS = env.decimal("URL_FETCHING_SECONDS", 10.0, minimum=0.1, maximum=120.0)
# All URLs of a batch together; a process fetches one batch at a time.
URL_FETCHING_BATCH_SECONDS = env.decimal(
    "URL_FETCHING_BATCH_SECONDS", 30.0, minimum=0.1, maximum=600.0
)
# Of a process' threads so many may wait for the servers of others.
URL_FETCHING_CONCURRENCY = env.integer("URL_FETCHING_CONCURRENCY", 2, minimum=1, maximum=256)

# --- The API ----------------------------------------------------------------------------------

API_ANONYMOUS = env.boolean("API_ANONYMOUS", default=True)
API_RATE_PER_TOKEN = env.rate("API_RATE_PER_TOKEN")
# On from the start: without a token anybody may call, and nobody knows who it is.
API_RATE_PER_ADDRESS = env.rate("API_RATE_PER_ADDRESS", "1200/min")
API_BATCH_MAX_ITEMS = env.integer("API_BATCH_MAX_ITEMS", 32, minimum=1, maximum=1000)
API_BATCH_MAX_BYTES = env.integer(
    "API_BATCH_MAX_BYTES", 100_000_000, minimum=1_000, maximum=2_000_000_000
)
# Django counts the files of any request; one more, so that ours is the answer to too many.
DATA_UPLOAD_MAX_NUMBER_FILES = API_BATCH_MAX_ITEMS + 1
PREDICT_MODEL = env.text("PREDICT_MODEL", "front-back")
# Pages of these origins may call the API from a browser; they never send cookies along.
API_CORS_ORIGINS = env.words("API_CORS_ORIGINS")
CORS_ALLOW_ALL_ORIGINS = API_CORS_ORIGINS == ["*"]
CORS_ALLOWED_ORIGINS = [] if CORS_ALLOW_ALL_ORIGINS else API_CORS_ORIGINS
CORS_URLS_REGEX = r"^/(?:api/|predict/?$)"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_METHODS = ["DELETE", "GET", "HEAD", "POST"]
CORS_ALLOW_HEADERS = [
    *("accept", "authorization", "content-type", "idempotency-key", "if-none-match"),
]
CORS_EXPOSE_HEADERS = [
    *("ETag", "Idempotency-Replayed", "Location", "RateLimit", "RateLimit-Policy", "Retry-After"),
    "X-Request-ID",
]

# --- Database and background tasks ------------------------------------------------------------

DATABASES = {"default": env.database("DATABASE_URL", base=BASE_DIR)}
DATABASES["default"]["CONN_MAX_AGE"] = env.integer(
    "DATABASE_CONN_MAX_AGE", 60, minimum=0, maximum=86_400
)
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Django's own checks open the database, before any command of ours could make its folder.
    if DATABASES["default"]["NAME"] != ":memory:":
        try:
            make_private(Path(DATABASES["default"]["NAME"]).parent)
        except OSError as exc:
            raise ImproperlyConfigured(
                f"The folder of the database cannot be made: {exc.filename}: {exc.strerror}. "
                "DATABASE_URL says where it is."
            ) from exc
    # WAL lets readers go on while one writes. With synchronous=NORMAL a power cut may lose the
    # last commits but never corrupts the file; a crash of the process loses nothing.
    # IMMEDIATE: a deferred transaction that starts to write under WAL fails at once,
    # whatever the busy timeout.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TASKS = {
    "default": {
        "BACKEND": "django_tasks_db.DatabaseBackend",
        "QUEUES": ["default", "training"],
    }
}

# --- Training -----------------------------------------------------------------------------------

# Trainings that run at the same time, on all machines together; others wait in order.
TRAINING_AT_ONCE = env.integer("TRAINING_AT_ONCE", 1, minimum=1, maximum=64)
# Seconds without a word after which a training counts as left, and another worker goes on with it.
TRAINING_LEASE_SECONDS = env.decimal("TRAINING_LEASE_SECONDS", 30.0, minimum=2.0, maximum=3600.0)
# How much a training gives way to what serves on the same machine, as `nice` counts it.
TRAINING_NICENESS = env.integer("TRAINING_NICENESS", 10, minimum=0, maximum=19)
# The Python that trains: `make run` starts a training worker with it where it stands.
TRAINING_PYTHON = env.text("TRAINING_PYTHON", ".venv-training/bin/python")
TRAINING_WORKER = env.boolean("TRAINING_WORKER", default=True)
# What the admin tells people to type where no training worker is alive.
TRAINING_WORKER_COMMAND = env.text("TRAINING_WORKER_COMMAND", "make training-worker")

# --- The application --------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "django_htmx",
    "django_tasks_db",
    "classifier",
    "training",
]
MIDDLEWARE = [
    "classifyme.middleware.ObservationMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if API_CORS_ORIGINS else []),
    "classifier.api.middleware.ApiMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "classifyme.middleware.RequestLimitMiddleware",
    "classifyme.middleware.PageCompressionMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "classifyme.urls"
WSGI_APPLICATION = "classifyme.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "classifyme.appearance.appearance",
            ]
        },
    }
]

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "pages:index"
LOGOUT_REDIRECT_URL = "pages:index"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

# blob: is the preview of a picture that was chosen and not sent yet; data: are Bootstrap's icons.
SECURE_CSP: dict[str, list[str]] = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:", "blob:"],
    "manifest-src": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}
if CLOUDINARY_ACCOUNT.configured:
    SECURE_CSP["img-src"].append(CLOUDINARY_ACCOUNT.delivery_origin)

# --- Monitoring and logs ------------------------------------------------------------------------

METRICS_TOKEN = env.text("METRICS_TOKEN")
LOG_FORMAT = env.choice("LOG_FORMAT", "line", ["line", "json"])
LOG_REQUESTS = env.boolean("LOG_REQUESTS", default=True)
LOG_ADDRESSES = env.boolean("LOG_ADDRESSES", default=False)
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"])
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {request_id} {name}: {message}", "style": "{"},
        "json": {"()": "classifyme.logs.json_lines"},
    },
    "filters": {
        "request_id": {"()": "classifyme.logs.WithRequestId"},
        "refusals": {"()": "classifyme.logs.RefusalInOneLine"},
        "not_twice": {"()": "classifyme.logs.NotTwice"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": [
                "request_id",
                *(["not_twice"] if LOG_REQUESTS else []),
                "refusals",
            ],
        }
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # Django's own console handler speaks only under DEBUG; let everything go through ours.
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        # A line for each request, with all that its address says; ours says less.
        "django.server": {"handlers": [], "level": "CRITICAL", "propagate": True},
        "classifyme.requests": {"level": LOG_LEVEL if LOG_REQUESTS else "ERROR"},
        "gunicorn.error": {"handlers": [], "level": "WARNING", "propagate": True},
        # Warns of the body of every answer to HEAD, which Django leaves to the server to drop.
        "gunicorn.http.wsgi": {"level": "ERROR"},
        # Says of each kind of accelerator that it is not there.
        "jax._src.xla_bridge": {"level": "WARNING"},
    },
}
