"""Addresses that are registered at rails and carriers: changing one loses their messages."""

from django.urls import path

from portal.api import incoming

urlpatterns = [
    path("hooks/<slug:rail>/notify", incoming.rail, name="incoming-rail"),
    path("hooks/<slug:rail>/gateway", incoming.rail, name="incoming-gateway"),
    path("hooks/carriers/<slug:code>/events", incoming.carrier_events, name="incoming-carrier"),
]
