"""Every address: the portal at the root, then the other faces. `/healthz` is for monitors."""

from django.contrib import admin
from django.urls import include, path

from portal import languages
from portal.views.account import Register
from portal.views.health import healthz

urlpatterns = [
    path("", include("portal.views.urls")),
    path("", include("portal.api.incoming_urls")),
    path("account/signup/", Register.as_view(), name="account_signup"),
    path("account/", include("allauth.urls")),
    path("language/", languages.choose, name="set_language"),
    path("api/v1/", include("portal.api.urls")),
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
]
