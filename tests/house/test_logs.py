"""What the last net under the logs lets through."""

import logging
import sys

import pytest
from django.conf import settings

from portal.logs import MaskingFormatter, line_for_suspicious, mask


class TestMask:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("Key (msisdn)=(+8613800000021) exists", "Key (msisdn)=(…0021) exists"),
            ("GET /bucket?resource=8613800000021&x=1", "GET /bucket?resource=…0021&x=1"),
            ("card 8944538532008160222", "card …0222"),
            ("eid 89049032123451234512345678901235.", "eid …1235."),
            ("code LPA:1$smdp.example.com$K2-ABC, kept", "code LPA:1$…, kept"),
            ("/install?carddata=LPA%3A1%24smdp.example%24K2-ABC", "/install?carddata=LPA%3A1%24…"),
            ("('1$smdp.example.com$K2-ABC',)", "('1$smdp.example.com$…',)"),
            ("Authorization: Bearer abc-DEF_123", "Authorization: Bearer …"),
            ("kl_IPx3cbOnuNl0lBJJLajqYymL51 is unknown", "kl_… is unknown"),
            ("key sk_live_51Keepline and whsec_abc", "key sk_live_… and whsec_…"),
        ],
    )
    def test_cuts_long_numbers_to_four_figures_and_secrets_whole(self, text, shown):
        assert mask(text) == shown

    @pytest.mark.parametrize(
        "text",
        [
            "recharge 01M82J837ATG8RKCCV01C7P33K is quarantined",
            "2026-11-22T04:00:00.123456+00:00 swept",
            "CNY 5000 of 1234567890",
            "task_timeout 60, risk_test_1, $1$ of 3",
        ],
    )
    def test_leaves_references_instants_and_amounts(self, text):
        assert mask(text) == text

    def test_covers_the_traceback(self):
        try:
            raise ValueError("+8613800000021")
        except ValueError as error:
            info = (ValueError, error, error.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "broken", (), info)
        shown = MaskingFormatter("%(message)s").format(record)
        assert "13800000021" not in shown
        assert "…0021" in shown


class TestASuspiciousRequest:
    def test_is_one_line(self, client, capsys):
        handler = logging.StreamHandler(sys.stdout)
        handler.addFilter(line_for_suspicious)
        logger = logging.getLogger("django.security.DisallowedHost")
        logger.addHandler(handler)
        try:
            refused = client.get("/healthz", headers={"host": "evil.example"})
        finally:
            logger.removeHandler(handler)
        assert refused.status_code == 400
        [said] = capsys.readouterr().out.splitlines()
        assert "evil.example" in said

    def test_is_told_by_the_handler_that_all_logs_go_through(self):
        console = settings.LOGGING["handlers"]["console"]
        assert settings.LOGGING["root"]["handlers"] == ["console"]
        assert console["filters"] == ["line_for_suspicious"]

    def test_leaves_every_other_traceback(self):
        record = logging.LogRecord("django.request", logging.ERROR, "f", 1, "x", (), (1, 2, 3))
        assert line_for_suspicious(record)
        assert record.exc_info == (1, 2, 3)
