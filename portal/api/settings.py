"""How REST framework and the OpenAPI document are set. `portal.settings` takes both from here."""

from typing import Any

from environs import FileAwareEnv

from portal import environment


def rest_framework(env: FileAwareEnv) -> dict[str, Any]:
    """JSON alone in and out; tokens or the browser's session; every error in one shape."""
    return {
        "DEFAULT_AUTHENTICATION_CLASSES": [
            # The first one names the scheme a 401 asks for.
            "portal.api.authentication.TokenAuthentication",
            "rest_framework.authentication.SessionAuthentication",
        ],
        "DEFAULT_PERMISSION_CLASSES": ["portal.api.permissions.MayCall"],
        "DEFAULT_PARSER_CLASSES": ["portal.api.parsers.SafeJSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_THROTTLE_CLASSES": ["portal.api.throttles.CallerThrottle"],
        "DEFAULT_PAGINATION_CLASS": "portal.api.pagination.Pages",
        "DEFAULT_SCHEMA_CLASS": "portal.api.openapi.Operations",
        "DEFAULT_METADATA_CLASS": None,  # the OpenAPI document says it all
        "EXCEPTION_HANDLER": "portal.api.errors.handle",
        "NUM_PROXIES": env.int("KEEPLINE_PROXY_COUNT", 0, validate=environment.count),
        "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
        # Requests (`rows`: readings) a minute, by `portal.api.throttles.Kind`.
        "DEFAULT_THROTTLE_RATES": {
            "public": env.int(
                "KEEPLINE_API_PUBLIC_PER_MINUTE", 60, validate=environment.at_least_one
            ),
            "read": env.int(
                "KEEPLINE_API_READS_PER_MINUTE", 600, validate=environment.at_least_one
            ),
            "write": env.int(
                "KEEPLINE_API_WRITES_PER_MINUTE", 120, validate=environment.at_least_one
            ),
            "push": env.int(
                "KEEPLINE_API_PUSHES_PER_MINUTE", 6000, validate=environment.at_least_one
            ),
            "rows": env.int(
                "KEEPLINE_API_READINGS_PER_MINUTE", 600_000, validate=environment.at_least_one
            ),
        },
    }


SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Keepline API",
    "VERSION": "1.0.0",
    "DESCRIPTION": (
        "Lines, rules, payment methods and recharges of the caller, and balances reported by "
        "carriers. Amounts are integers in minor units (fen, cents) of `currency`; times are ISO "
        "8601 with an offset. A stranger's object is a 404. Every error is an "
        "`application/problem+json` with a `code` for programs and a `detail` for people."
    ),
    "OAS_VERSION": "3.1.0",
    "TAGS": [
        {"name": "lines", "description": "Put in, prove, rename, remove; balances and decisions."},
        {"name": "bindings", "description": "Payment methods, agreed on their own pages."},
        {"name": "rules", "description": "Terms, preview, agreement; pause, skip, stop."},
        {"name": "recharges", "description": "What was and will be charged; begun by hand."},
        {"name": "notices", "description": "The owner's inbox."},
        {"name": "readings", "description": "For carriers: report balances."},
        {"name": "carriers", "description": "What can be bought."},
        {"name": "rails", "description": "How it can be paid."},
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False},
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "portal.api.openapi.close_requests",
        "portal.api.glossary.explain",
    ],
    "PREPROCESSING_HOOKS": ["portal.api.openapi.only_ours"],
    "ENUM_NAME_OVERRIDES": {
        "RechargeStateEnum": "billing.states.RechargeState",
        "TriggerEnum": "billing.states.Trigger",
        "AttemptStateEnum": "billing.states.AttemptState",
        "RefundStateEnum": "billing.states.RefundState",
        "BindingStateEnum": "billing.models.BindingState",
        "DeliveryStateEnum": "lines.models.DeliveryState",
        "LineStatusEnum": "lines.models.LineStatus",
        "LineKindEnum": "lines.models.LineKind",
        "NoticeKindEnum": "billing.models.NoticeKind",
        "TopUpModeEnum": "billing.models.TopUpMode",
        "ChannelEnum": "billing.models.Channel",
    },
}
