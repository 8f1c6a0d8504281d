"""The addresses of version 1. None ends in a slash but the document and its pages."""

from collections.abc import Mapping
from typing import Any

from django.urls import URLPattern, path, re_path, register_converter

from lines.references import is_reference
from portal.api.views.base import View
from portal.api.views.bindings import BindingView
from portal.api.views.catalog import CarrierView, RailView
from portal.api.views.docs import DocsView, SchemaView
from portal.api.views.lines import LineView
from portal.api.views.notices import NoticeView
from portal.api.views.nowhere import NowhereView
from portal.api.views.readings import ReadingView
from portal.api.views.recharges import RechargeView
from portal.api.views.rules import RuleView


class ReferenceConverter:
    """What cannot be a reference is nowhere, and never reaches a query."""

    regex = "[0-9A-Z]{26}"

    def to_python(self, value: str) -> str:
        if not is_reference(value):
            raise ValueError("no reference")
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(ReferenceConverter, "ref")


def _at(
    address: str, view: type[View], methods: Mapping[str, str], *, name: str = ""
) -> URLPattern:
    return path(address, view.as_view(dict(methods)), name=name)


urlpatterns: list[Any] = [
    path("schema/", SchemaView.as_view(), name="api-schema"),
    path("docs/", DocsView.as_view(), name="api-docs"),
    _at("carriers", CarrierView, {"get": "list"}),
    _at("rails", RailView, {"get": "list"}),
    _at("lines", LineView, {"get": "list", "post": "create"}),
    _at(
        "lines/<ref:line>",
        LineView,
        {"get": "retrieve", "patch": "rename", "delete": "destroy"},
        name="api-line",
    ),
    _at("lines/<ref:line>/proof", LineView, {"post": "send_code"}),
    _at("lines/<ref:line>/prove", LineView, {"post": "prove"}),
    _at("lines/<ref:line>/activation-code", LineView, {"get": "activation_code"}),
    _at("lines/<ref:line>/readings", LineView, {"get": "readings"}),
    _at("lines/<ref:line>/decisions", LineView, {"get": "decisions"}),
    _at("lines/<ref:line>/rule", RuleView, {"get": "retrieve", "put": "save_draft"}),
    _at("lines/<ref:line>/rule/preview", RuleView, {"post": "preview"}),
    _at("lines/<ref:line>/rule/confirm", RuleView, {"post": "confirm"}),
    _at("lines/<ref:line>/rule/pause", RuleView, {"post": "pause"}),
    _at("lines/<ref:line>/rule/resume", RuleView, {"post": "resume"}),
    _at("lines/<ref:line>/rule/skip", RuleView, {"post": "skip"}),
    _at("lines/<ref:line>/rule/unskip", RuleView, {"post": "unskip"}),
    _at("lines/<ref:line>/rule/stop", RuleView, {"post": "stop"}),
    _at("rules", RuleView, {"get": "list"}),
    _at("readings", ReadingView, {"post": "create"}),
    _at("bindings", BindingView, {"get": "list", "post": "create"}),
    _at("bindings/<ref:binding>", BindingView, {"get": "retrieve"}, name="api-binding"),
    _at("bindings/<ref:binding>/refresh", BindingView, {"post": "refresh"}),
    _at("bindings/<ref:binding>/default", BindingView, {"post": "make_default"}),
    _at("bindings/<ref:binding>/resume", BindingView, {"post": "resume"}),
    _at("bindings/<ref:binding>/end", BindingView, {"post": "end"}),
    _at("recharges", RechargeView, {"get": "list", "post": "create"}),
    _at("recharges/<ref:recharge>", RechargeView, {"get": "retrieve"}, name="api-recharge"),
    _at("recharges/<ref:recharge>/cancel", RechargeView, {"post": "cancel"}),
    _at("notices", NoticeView, {"get": "list"}),
    _at("notices/<int:notice>/read", NoticeView, {"post": "mark_read"}),
    re_path("", NowhereView.as_view(dict.fromkeys(NowhereView.METHODS, "nowhere"))),
]
