"""What there is to choose from: carriers with the amounts they sell, and rails."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing import gateways
from billing.models import Rail
from lines.models import Carrier
from portal.api.serializers.bindings import RailOut
from portal.api.serializers.lines import CarrierOut
from portal.api.views.base import View


class CarrierView(View):
    """Carriers that are served now."""

    tag = noun = "carriers"
    queryset = Carrier.objects.filter(is_enabled=True)

    @extend_schema(summary="Carriers and what they sell", responses=CarrierOut(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self.get_queryset(), CarrierOut)


class RailView(View):
    """Rails that are configured and switched on."""

    tag = noun = "rails"
    queryset = Rail.objects.none()

    @extend_schema(summary="Ways to pay", responses=RailOut(many=True))
    def list(self, request: Request) -> Response:
        return self.page(offered_rails(), RailOut)


def offered_rails() -> QuerySet[Rail]:
    """What an agreement can be made with now."""
    return Rail.objects.filter(is_enabled=True, code__in=gateways.available())
