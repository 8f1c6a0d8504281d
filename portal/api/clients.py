"""Programs that call the API: tokens issued, shown once, recognised, revoked."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth.models import Permission
from django.db import transaction

from lines.models import Carrier
from portal.accounts.models import User
from portal.api.models import ApiClient, Scope

# The prefix lets secret scanners recognise a leaked token.
PREFIX = "kl_"
PUSH_PERMISSION = "lines.push_readings"
_USE_PRECISION = timedelta(minutes=1)


class UnknownToken(Exception):
    """No such token, or it was revoked, or its owner may no longer sign in."""


def issue(
    *, owner: User, name: str, scopes: Sequence[str], carrier: Carrier | None, at: datetime
) -> tuple[ApiClient, str]:
    """A new client and its token of 256 random bits, which nobody can read again.

    For a `carrier`, the owner is given the permission to push readings along with it.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        if carrier is not None:
            _allow_pushing(owner)
        client = ApiClient.objects.create(
            name=name,
            owner=owner,
            carrier=carrier,
            token_hash=_hash(token),
            token_hint=token[-4:],
            scopes=sorted(set(scopes)),
            created_at=at,
        )
    return client, token


def default_scopes(carrier: Carrier | None) -> list[str]:
    """A carrier's system reports balances; a person's program reads and changes what is theirs."""
    return [Scope.PUSH_READINGS] if carrier else [Scope.READ, Scope.WRITE]


def revoke(*, client: ApiClient, at: datetime) -> None:
    """Refuse its token from now on. May be called twice: the first time counts."""
    ApiClient.objects.filter(pk=client.pk, revoked_at=None).update(revoked_at=at)


def find(*, token: str, at: datetime) -> ApiClient:
    """The client that holds `token`, marked as used. Raises UnknownToken."""
    found = ApiClient.objects.filter(
        token_hash=_hash(token), revoked_at=None, owner__is_active=True
    )
    client = found.select_related("owner", "carrier").first()
    if client is None:
        raise UnknownToken
    _mark_used(client, at=at)
    return client


def may_push(client: ApiClient | None) -> bool:
    """Whether it may report balances: its scope, its carrier, and its owner's permission."""
    return (
        client is not None
        and client.carrier_id is not None
        and Scope.PUSH_READINGS in client.scopes
        and client.owner.has_perm(PUSH_PERMISSION)
    )


def _mark_used(client: ApiClient, *, at: datetime) -> None:
    # To the minute: a write for every request would be one row all requests wait for.
    if client.last_used_at is None or client.last_used_at < at - _USE_PRECISION:
        ApiClient.objects.filter(pk=client.pk).update(last_used_at=at)


def _allow_pushing(owner: User) -> None:
    app_label, codename = PUSH_PERMISSION.split(".")
    permission = Permission.objects.get(content_type__app_label=app_label, codename=codename)
    owner.user_permissions.add(permission)


def _hash(token: str) -> str:
    # Plain SHA-256 is enough for 256 random bits: there is nothing to guess.
    return hashlib.sha256(token.encode()).hexdigest()
