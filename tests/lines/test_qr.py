"""The activation code as a picture: what a camera sees, and what a strict page lets through."""

import re
from xml.etree import ElementTree

import pytest
import segno
from django.utils import translation
from django.utils.safestring import SafeString

from lines.qr import activation_qr_svg

TEXT = "LPA:1$smdp.example.com$04386-AGYFT-A74Y8-3F815"
QUIET = 4


def modules_of(svg: str) -> list[list[int]]:
    """The picture, read back from its path: 1 where it is dark, the white around it included."""
    root = ElementTree.fromstring(svg)  # noqa: S314 our own text
    size = int(root.attrib["viewBox"].split()[2])
    modules = [[0] * size for _ in range(size)]
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1H\1z", root[1].attrib["d"]):
        for column in range(int(x), int(x) + int(length)):
            modules[int(y)][column] = 1
    return modules


class TestActivationQr:
    @pytest.mark.parametrize("text", [TEXT, "1", "LPA:1$h.example$" + "A1-" * 80])
    def test_shows_every_module_of_the_code_within_its_quiet_zone(self, text):
        modules = modules_of(activation_qr_svg(text))

        expected = [list(row) for row in segno.make_qr(text, error="m").matrix]
        inside = [row[QUIET:-QUIET] for row in modules[QUIET:-QUIET]]
        assert inside == expected
        assert sum(map(sum, modules)) == sum(map(sum, expected))  # and around it all is white

    def test_is_never_a_micro_qr_however_short_the_text(self):
        assert len(modules_of(activation_qr_svg("1"))) == 21 + 2 * QUIET

    def test_passes_a_strict_content_security_policy(self):
        root = ElementTree.fromstring(activation_qr_svg(TEXT))  # noqa: S314 our own text

        assert [element.tag for element in root.iter()] == ["svg", "path", "path"]
        attributes = {name for element in root.iter() for name in element.attrib}
        assert attributes == {
            "class", "role", "aria-label", "viewBox", "shape-rendering", "fill", "d",
        }  # fmt: skip

    def test_is_black_on_white_whatever_the_theme(self):
        white, black = ElementTree.fromstring(activation_qr_svg(TEXT))  # noqa: S314 our own text

        assert white.attrib["fill"] == "#fff"
        assert re.fullmatch(r"M0 0h(\d+)v\1H0z", white.attrib["d"])
        assert "fill" not in black.attrib  # SVG's default is black

    def test_names_itself_in_words_that_hold_no_secret(self):
        with translation.override("en"):
            svg = activation_qr_svg(TEXT)

        assert 'role="img" aria-label="QR code that installs the eSIM"' in svg
        assert "A74Y8" not in svg
        assert "smdp" not in svg

    def test_goes_into_a_template_as_it_is(self):
        assert isinstance(activation_qr_svg(TEXT), SafeString)

    def test_of_a_hostile_text_is_only_a_picture(self):
        svg = activation_qr_svg('"><script>alert(1)</script>')

        assert "script" not in svg
        assert "alert" not in svg

    def test_of_a_text_no_code_can_hold_is_refused(self):
        with pytest.raises(ValueError, match="too large"):
            activation_qr_svg("x" * 5000)
