"""The OpenAPI document, and pages to read and try it. Nothing is fetched from elsewhere."""

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.permissions import AllowAny

from portal.api.throttles import CallerThrottle


class SchemaView(SpectacularAPIView):
    permission_classes = [AllowAny]
    throttle_classes = [CallerThrottle]


class DocsView(SpectacularSwaggerSplitView):
    """Its script is an address of its own: the site's policy allows no script in a page."""

    permission_classes = [AllowAny]
    throttle_classes = [CallerThrottle]
    url_name = "api-schema"
    template_name = "api/docs.html"
