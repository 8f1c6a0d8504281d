"""The portal's pages. Names in addresses are public ones, never a key of a row, never a number."""

from django.urls import path

from portal.views import account, history, home, lines, notices, payment, rules, setup

app_name = "portal"

_line = "lines/<slug:public_id>/"
_binding = "payment/<slug:ref>/"
_recharge = "history/<slug:ref>/"

urlpatterns = [
    path("", home.home, name="home"),
    path("lines/add/", lines.add, name="add"),
    path("lines/add/<slug:kind>/", lines.add_kind, name="add-kind"),
    path(_line, lines.show, name="line"),
    path(f"{_line}verify/", lines.prove, name="prove"),
    path(f"{_line}verify/send/", lines.send_code, name="send-code"),
    path(f"{_line}story/", lines.story, name="story"),
    path(f"{_line}install/", lines.install, name="install"),
    path(f"{_line}rename/", lines.rename, name="rename"),
    path(f"{_line}remove/", lines.remove, name="remove"),
    path(f"{_line}recharge/", lines.recharge, name="by-hand"),
    path("auto/", rules.hub, name="rules"),
    path("auto/new/", rules.choose_line, name="choose-line"),
    path(f"{_line}auto/", setup.begin, name="setup"),
    *(
        path(f"{_line}auto/{name}/", setup.step, {"name": name}, name=f"setup-{name}")
        for name in setup.STEPS
    ),
    path(f"{_line}auto/review/", setup.review, name="setup-review"),
    path(f"{_line}auto/on/", setup.done, name="setup-done"),
    path(f"{_line}auto/pause/", rules.pause, name="pause"),
    path(f"{_line}auto/resume/", rules.resume, name="resume"),
    path(f"{_line}auto/skip/", rules.skip, name="skip"),
    path(f"{_line}auto/unskip/", rules.unskip, name="unskip"),
    path(f"{_line}auto/stop/", rules.stop, name="stop"),
    path("payment/", payment.index, name="payment"),
    path("payment/bind/", payment.bind, name="bind"),
    path(_binding, payment.show, name="binding"),
    path(f"{_binding}default/", payment.make_default, name="binding-default"),
    path(f"{_binding}resume/", payment.resume, name="binding-resume"),
    path(f"{_binding}remove/", payment.remove, name="binding-remove"),
    path("history/", history.index, name="history"),
    path("history/export.csv", history.csv, name="csv"),
    path("history/charges.ics", history.calendar, name="calendar"),
    path(_recharge, history.show, name="recharge"),
    path(f"{_recharge}receipt/", history.receipt, name="receipt"),
    path(f"{_recharge}cancel/", history.cancel, name="recharge-cancel"),
    path("notices/", notices.index, name="notices"),
    path("notices/read/", notices.mark_read, name="notices-read"),
    path("me/", account.show, name="account"),
    path("me/close/", account.leave, name="leave"),
]
