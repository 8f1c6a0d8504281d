"""What the edge itself must remember: so far, the signs of life of the machinery behind it."""

from django.db import models

from portal.api.models import ApiClient, IdempotentRequest, RequestCount, Scope

__all__ = ["ApiClient", "Heartbeat", "IdempotentRequest", "RequestCount", "Scope"]


class Heartbeat(models.Model):
    """The last sign of life of one part. One row per name; `portal.heartbeats` alone writes it."""

    name = models.CharField(max_length=40, primary_key=True)  # "cluster:money", "sweep"
    asked_at = models.DateTimeField(null=True)  # database time of the last question put to it
    answered_at = models.DateTimeField(null=True)  # database time of its last answer

    def __str__(self) -> str:
        return self.name
