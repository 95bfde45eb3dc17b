"""Settings common to development, production and test, which add what differs between them."""

import os
from datetime import timedelta

from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from settings import env
from settings.unfold import UNFOLD as UNFOLD

BASE_DIR = env.BASE_DIR
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"

INSTALLED_APPS = [
    "rest",
    "jobs",
    "mail",
    "project",
    "project.page",
    "monitor",
    # Its default app would replace the admin site; ours is monitor.site.MonitorSite.
    "unfold.apps.BasicAppConfig",
    "monitor.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_q",
    "rest_framework",
    "knox",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "anymail",
]

MIDDLEWARE = [
    "project.middleware.RequestIdMiddleware",
    "project.health.HealthMiddleware",
    "project.middleware.ResponseMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "project.csp.PagePolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "project.replicas.middleware.RoutingMiddleware",
]

# For pages: the admin, Swagger UI, the unsubscribe page. Other responses may load nothing at all
# (rest/security_headers.py). A script or style in a page needs the nonce, {{ request.csp_nonce }} in a template.
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ("/api/", "/webhooks/", "/static/", "/healthz", "/readyz", "/metrics"),
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    },
}

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Seconds after which PostgreSQL ends a transaction of ours that idles, or (17 or newer) that is still open. 0: never.
IDLE_TRANSACTION_TIMEOUT = env.integer("IDLE_TRANSACTION_TIMEOUT", 600)
TRANSACTION_TIMEOUT = env.integer("TRANSACTION_TIMEOUT", 21_600)

# Read-only standbys of the primary: DATABASES entries replica1, replica2, …
REPLICAS = env.replicas("REPLICA_URLS")
# True if a replica's address may lead to the primary, as HAProxy's read port does when no replica is left.
REPLICAS_FALL_BACK = env.boolean("REPLICAS_FALL_BACK", default=False)
DATABASE_ROUTERS = ["routers.PrimaryReplicaRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "project.formats"
STATIC_URL = "static/"
# Served from the apps' folders, so that no deployment needs collectstatic.
WHITENOISE_USE_FINDERS = True
STATIC_ROOT = None
# A POST without its last slash cannot be redirected; instead the 404 names the right URL.
APPEND_SLASH = False

# Holds the counters of requests and password tries; with the default of 300 entries many clients would evict them.
CACHES = {"default": env.cache("CACHE_URL", "locmem://")}
# Data that all processes must see: results of django-q's Iter and of cached tasks, and the status of clusters.
CACHES["shared"] = CACHES["default"]
if CACHES["default"]["BACKEND"].endswith(".LocMemCache"):
    CACHES["shared"] = {"BACKEND": "jobs.models.database_cache.DatabaseCache"}

# Refuse connections from other machines (settings/development.py).
LOOPBACK_ONLY = False
WEB_THREADS = env.integer("WEB_THREADS", 4, minimum=1)

# --- the task monitor -------------------------------------------------------------------------------------------
# The deployed version: charts mark when its first cluster started, and an error group names the one that it began with.
RELEASE = env.text("RELEASE", "")[:50]
# Who may read /metrics: whoever sends `Authorization: Bearer TOKEN`, or calls from one of these addresses or networks.
METRICS_TOKEN = env.text("METRICS_TOKEN", "")
METRICS_ALLOWED = env.texts("METRICS_ALLOWED", [])
# Errors are reported to this Sentry project; empty: the SDK is not even imported.
SENTRY_DSN = env.text("SENTRY_DSN", "")
SENTRY_ENVIRONMENT = env.text("SENTRY_ENVIRONMENT", "production")
# Attempts at jobs become spans of traces. OpenTelemetry reads its variables itself; without an address it is not even
# imported.
TRACING = bool(env.text("OTEL_EXPORTER_OTLP_ENDPOINT", "") or env.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""))

# --- login ------------------------------------------------------------------------------------------------------
KNOX_TOKEN_MODEL = "project.Token"  # noqa: S105 a model's name
# knox's migrations would create a table for its own model, which is replaced by ours.
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {"TOKEN_TTL": timedelta(days=env.integer("TOKEN_TTL_DAYS", 30, minimum=1)), "AUTO_REFRESH": False}
# Cancel what a deactivated user has waiting or running, unless this is set.
KEEP_WORK_OF_INACTIVE_USERS = env.boolean("KEEP_WORK_OF_INACTIVE_USERS", default=False)
SESSION_ENGINE = "project.login.session_store"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
AUTHENTICATION_BACKENDS = ["project.login.passwords.ThrottledBackend"]
# The only login form is the admin's.
LOGIN_REDIRECT_URL = "admin:index"
CSRF_FAILURE_VIEW = "rest.problems.csrf_failure"
PASSWORD_TRIES_PER_MINUTE = 5
# Checking a password takes a third of a second of CPU, whether it is right or wrong.
LOGINS_PER_MINUTE = env.integer("LOGINS_PER_MINUTE", 60, minimum=1)
RATE_LIMIT_PER_MINUTE = env.integer("RATE_LIMIT_PER_MINUTE", 30_000, minimum=1)
# The number of proxies before us: only their entries in X-Forwarded-For are trusted.
NUM_PROXIES = env.integer("NUM_PROXIES", 0)

# --- the API ----------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "project.login.authentication.TokenAuthentication",
        "project.login.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated", "rest.requests.query.KnownParameters"],
    "DEFAULT_PARSER_CLASSES": ["rest.json.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest.json.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "rest.json.OnlyJSON",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
    "DEFAULT_PAGINATION_CLASS": "rest.pagination.NewestFirst",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_THROTTLE_CLASSES": ["rest.throttling.RateLimit"],
    "DEFAULT_SCHEMA_CLASS": "rest.openapi.schema.AutoSchema",
    "EXCEPTION_HANDLER": "rest.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# Requests per minute from one address (an IPv6 /64) to what is not the API, by prefix of the path.
PAGE_RATES = {
    "/webhooks/": env.integer("WEBHOOK_RATE_PER_MINUTE", 60_000, minimum=1),
    "/unsubscribe/": env.integer("UNSUBSCRIBE_RATE_PER_MINUTE", 600, minimum=1),
    "/admin/login/": 60,
}
# The client's address in log lines: full, masked (its /24, or /48 of IPv6) or off.
LOG_CLIENT_ADDRESS = env.choice("LOG_CLIENT_ADDRESS", "masked", ("full", "masked", "off"))
# The maximum bytes of a request body, in general and by path prefix, and the maximum seconds for its arrival.
BODY_LIMIT = 1024 * 1024
BODY_LIMITS: dict[str, int] = {"/api/v1/mail/": 10 * BODY_LIMIT}
BODY_SECONDS = 30
# The bytes of a body that is read before the caller is known, and of all bodies that a web process holds.
ANONYMOUS_BODY_LIMIT = 64 * 1024
BODY_BUDGET = env.integer("BODY_BUDGET_MIB", 64, minimum=16) * 1024 * 1024
# The characters of a request's path and query.
URL_LIMIT = 8 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * BODY_LIMIT

SPECTACULAR_SETTINGS = {
    "TITLE": "Legwork",
    "VERSION": "1",
    "DESCRIPTION": "Runs jobs and sends e-mail in the background: each POST is answered at once.",
    "CONTACT": {"name": "The operators of this server"},
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    # Relative to the document's own URL, so that it is right behind any proxy and any host name.
    "SERVERS": [{"url": "/", "description": "The server that this document comes from."}],
    "TAGS": [
        {"name": "jobs", "description": "Work that is done in the background."},
        {"name": "job-kinds", "description": "Which jobs can be posted, and with which params."},
        {"name": "messages", "description": "E-mail, and what becomes of it."},
        {"name": "broadcasts", "description": "One template to many addresses."},
        {"name": "templates", "description": "Texts of mail with variables."},
        {"name": "streams", "description": "Lists of mail that people unsubscribe from one by one."},
        {"name": "suppressions", "description": "Addresses that get no mail."},
        {"name": "tokens", "description": "Login for programs."},
        {"name": "session", "description": "Login for browsers."},
        {"name": "leases", "description": "Jobs that programs elsewhere carry out."},
        {"name": "limits", "description": "What the caller may have and use."},
        {"name": "index", "description": "The collections that there are."},
    ],
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "JobStatusEnum": "jobs.models.states.Status",
        "MessageStatusEnum": "mail.status.Status",
        "SuppressionScopeEnum": "mail.reasons.Scope",
        "TokenScopeEnum": "rest.scopes.Scope",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "rest.openapi.schema.add_shared_parts",
    ],
}

# --- quotas: what users may have at a time; GET limits/ shows them --------------------------------------------
MAX_QUEUED_JOBS = env.integer("MAX_QUEUED_JOBS", 50_000, minimum=1)
MAX_QUEUED_JOBS_TOTAL = env.integer("MAX_QUEUED_JOBS_TOTAL", 1_000_000, minimum=1)
MAX_UNSENT_MESSAGES = env.integer("MAX_UNSENT_MESSAGES", 200_000, minimum=1)
MAX_UNSENT_MESSAGES_TOTAL = env.integer("MAX_UNSENT_MESSAGES_TOTAL", 1_000_000, minimum=1)
MAX_TEMPLATES = env.integer("MAX_TEMPLATES", 1000, minimum=1)
MAX_TOKENS = env.integer("MAX_TOKENS", 1000, minimum=1)
MAX_OUTPUT_BYTES = env.integer("MAX_OUTPUT_MIB", 1024, minimum=1) * 1024 * 1024
# Streams and held responses (`Prefer: wait`) of a user in one web process.
MAX_WATCHES = env.integer("MAX_WATCHES", 1000, minimum=1)
# Calls of http.request per minute to one host, of all users together.
MAX_CALLS_PER_HOST = env.integer("MAX_CALLS_PER_HOST", 6000, minimum=1)

# --- the queue --------------------------------------------------------------------------------------------------
WORKERS = env.integer("WORKERS", os.cpu_count() or 1)
# Processes for kinds with threads (mail, HTTP calls) only, so that a long job of another kind never delays those.
IO_WORKERS = env.integer("IO_WORKERS", os.cpu_count() or 1)
# Jobs that a user may have running while others wait. 0: half of the workers, at least one.
MAX_RUNNING_PER_USER = env.integer("MAX_RUNNING_PER_USER", 0)
# Whether the kinds demo.* exist: any user may occupy a worker with them.
DEMO_KINDS = env.boolean("DEMO_KINDS", default=False)
WORKER_GRACE = env.integer("WORKER_GRACE", 30)
JOB_RETENTION = {
    "succeeded": timedelta(days=env.integer("JOB_RETENTION", 7, minimum=1)),
    "cancelled": timedelta(days=env.integer("JOB_RETENTION", 7, minimum=1)),
    "failed": timedelta(days=env.integer("JOB_RETENTION_FAILED", 30, minimum=1)),
}
# Where the storage backend in STORAGES keeps output files of jobs. Web and worker processes must share it.
MEDIA_ROOT = BASE_DIR / env.text("MEDIA_ROOT", "var/output")
FILE_UPLOAD_PERMISSIONS = 0o640
HTTP_REQUEST_ALLOWED_HOSTS = env.texts("HTTP_REQUEST_ALLOWED_HOSTS", [])
# Functions that django-q's schedules may call besides the project's own: dotted paths, or `package.module.*`.
Q_FUNCTIONS = env.texts("Q_FUNCTIONS", [])
# Ports that http.request may call besides 80 and 443; hosts of HTTP_REQUEST_ALLOWED_HOSTS may have any.
HTTP_REQUEST_ALLOWED_PORTS = env.integers("HTTP_REQUEST_ALLOWED_PORTS", [])
BROKER = env.broker("BROKER_URL", "orm://")
Q_CLUSTER = {
    "name": "legwork",
    "orm": "default",
    "broker_class": BROKER["class"],
    "workers": WORKERS,
    # For django-q tasks only: jobs have their own timeouts and retries.
    "timeout": 3600,
    "retry": 3660,
    "max_attempts": 3,
    "save_limit": 1000,
    "cache": "shared",
    # After how many jobs and tasks, or KiB of memory, a worker process is replaced. 0: no limit.
    "recycle": env.integer("WORKER_RECYCLE", 0),
    "max_rss": env.integer("WORKER_MAX_RSS", 0),
    "ALT_CLUSTERS": {},
    "label": "Django Q",
}

# --- Amazon -----------------------------------------------------------------------------------------------------
# The namespace in CloudWatch that gets the figures by which workers are scaled; empty: none is published.
CLOUDWATCH_NAMESPACE = env.text("CLOUDWATCH_NAMESPACE", "")
# True: an instance of an Auto Scaling group is protected from scale-in while a long job runs on it.
SCALE_IN_PROTECTION = env.boolean("SCALE_IN_PROTECTION", False)

# --- mail -------------------------------------------------------------------------------------------------------
# In the order of use: names of Anymail backends, or NAME=BACKEND for a second account with the same backend.
MAIL_PROVIDERS = env.providers("MAIL_PROVIDERS", ["mailgun"])
# The base of links in mail, such as unsubscribe links.
PUBLIC_URL = env.text("PUBLIC_URL", "http://127.0.0.1:8000")
MAIL_FROM = env.text("MAIL_FROM", "Legwork <legwork@mg.example.org>")
# Further domains, besides MAIL_FROM's, that a message may be sent from.
MAIL_FROM_DOMAINS = env.texts("MAIL_FROM_DOMAINS", [])
# Check by DNS that a recipient's domain accepts mail. Turn it off without a network, or without real recipients.
MAIL_CHECK_DNS = env.boolean("MAIL_CHECK_DNS", default=True)
# Seconds for the connection to a provider, and for its response.
MAIL_TIMEOUT = (5.0, env.number("MAIL_TIMEOUT", 30.0, minimum=0.1))
# Messages that one worker process sends at the same time, as each mostly waits for the provider. Each uses a database
# connection while there is mail to send.
MAIL_THREADS = env.integer("MAIL_THREADS", 32, minimum=1)
# Seconds until a provider that failed is tried with one message; doubled after each failure, up to ten minutes.
MAIL_PROBE_AFTER = env.number("MAIL_PROBE_AFTER", 30.0, minimum=0.1)
# Providers index events late: only so long after an ambiguous attempt does the absence of its events prove that nothing
# was sent.
MAIL_SETTLED_AFTER = timedelta(seconds=env.integer("MAIL_SETTLED_AFTER", 1800))
# Rate limits by provider name and by recipient's domain, in addition to the table in mail/sending/rates.py:
# mailgun=100/s,gmail.com=20/s.
MAIL_RATES = env.rates("MAIL_RATES", [])
# Providers whose volume is raised slowly, each with its first day: mailgun=2026-03-01.
MAIL_WARM_UP = env.days("MAIL_WARM_UP", [])
# Stop a broadcast or stream if more than these percentages of its mail bounce or are complained about, once the
# outcome of MINIMUM messages is known (mail/policy/guard_limits.py).
MAIL_GUARD = env.boolean("MAIL_GUARD", default=True)
MAIL_GUARD_MINIMUM = env.integer("MAIL_GUARD_MINIMUM", 200, minimum=1)
MAIL_GUARD_BOUNCES = env.number("MAIL_GUARD_BOUNCES", 5.0, minimum=0.01)
MAIL_GUARD_COMPLAINTS = env.number("MAIL_GUARD_COMPLAINTS", 0.3, minimum=0.01)
MAIL_BODY_RETENTION = timedelta(days=env.integer("MAIL_BODY_RETENTION", 30, minimum=1))
# How long messages are kept. Their bodies are erased earlier.
MAIL_RETENTION = timedelta(days=env.integer("MAIL_RETENTION", max(365, MAIL_BODY_RETENTION.days), minimum=1))
if MAIL_RETENTION < MAIL_BODY_RETENTION:
    raise ImproperlyConfigured("MAIL_RETENTION must not be less than MAIL_BODY_RETENTION.")
# Where alerts are sent besides the log: an e-mail address, or a URL that accepts a POST.
MAIL_ALERT_TO = env.text("MAIL_ALERT_TO", "")
MAILGUN_API_KEY = env.text("MAILGUN_API_KEY", "")
MAILGUN_SENDER_DOMAIN = env.text("MAILGUN_SENDER_DOMAIN", "")
MAILGUN_WEBHOOK_SIGNING_KEY = env.text("MAILGUN_WEBHOOK_SIGNING_KEY", "")
# user:password in the webhook URLs that providers call (Anymail's WEBHOOK_SECRET).
MAIL_WEBHOOK_SECRET = env.text("MAIL_WEBHOOK_SECRET", "")
ANYMAIL = {"MAILGUN_WEBHOOK_SIGNING_KEY": MAILGUN_WEBHOOK_SIGNING_KEY}
if MAIL_WEBHOOK_SECRET:
    ANYMAIL["WEBHOOK_SECRET"] = MAIL_WEBHOOK_SECRET
