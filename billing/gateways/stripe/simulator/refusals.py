"""How the API says no: a status and Stripe's error object."""

# The one version whose shapes this simulator knows. Without the header Stripe answers in that of
# the account, whichever it is: somebody who relies on that learns it here.
API_VERSION = "2026-10-28.endive"


class Refusal(Exception):
    """Answered instead of success. `is_kept`: what the call did stays, and its answer is saved."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        is_kept: bool = False,
        **more: object,
    ) -> None:
        super().__init__(message)
        self.status, self.is_kept = status, is_kept
        told = {name: value for name, value in more.items() if value not in ("", None)}
        self.error: dict[str, object] = {"message": message, "type": kind, **told}

    def body(self) -> dict[str, object]:
        return {"error": self.error}


def missing(kind: str, number: str, param: str) -> Refusal:
    message = f"No such {kind}: '{number}'"
    return Refusal(404, message, code="resource_missing", param=param)


def invalid(message: str, *, param: str = "", code: str = "") -> Refusal:
    return Refusal(400, message, param=param, code=code)


def check_version(said: str) -> None:
    """Raises Refusal for any version but the one that is spoken here."""
    if not said:
        raise invalid("No Stripe-Version was sent: the account's default is an older one.")
    if said != API_VERSION:
        raise invalid(f"Invalid Stripe API version: {said}")


def broken() -> Refusal:
    return Refusal(500, "An unknown error occurred.", kind="api_error")


def fault(kind: str) -> Refusal:
    """What a fault of that kind answers."""
    match kind:
        case "conflict":
            text = "There is currently another in-progress request using this Idempotent Key."
            return Refusal(409, text, kind="idempotency_error", code="idempotency_key_in_use")
        case "rate_limit":
            return Refusal(429, "Too many requests hit the API too quickly.", code="rate_limit")
        case "unauthorized":
            return Refusal(401, "Invalid API Key provided: sk_test_***")
        case "forbidden":
            text = "The provided key does not have the required permissions for this endpoint."
            return Refusal(403, text, code="more_permissions_required")
    return broken()


def mismatch() -> Refusal:
    text = (
        "Keys for idempotent requests can only be used with the same parameters"
        " they were first used with."
    )
    return Refusal(400, text, kind="idempotency_error")
