"""An activation code as a picture that a phone's camera reads."""

from itertools import groupby

import segno
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

_QUIET_ZONE = 4  # modules of white around it: ISO/IEC 18004 asks for four


def activation_qr_svg(text: str) -> str:
    """Inline SVG of `text` (e.g. `ActivationCode.qr_text`), safe to put into a page as it is.

    Black on white in any theme, or cameras fail; as large as its container. It holds no style and
    no script, so it passes a strict Content-Security-Policy, and no word of the secret: what is
    drawn is the secret itself, so the page must be the owner's. Raises ValueError when `text` is
    too long for a QR code.
    """
    code = segno.make_qr(text, error="m")  # never a Micro QR, which phones do not read
    runs = (
        (x + _QUIET_ZONE, y + _QUIET_ZONE, length)
        for y, row in enumerate(code.matrix)
        for x, length in _dark_runs(row)
    )
    return format_html(
        '<svg class="qr" role="img" aria-label="{}" viewBox="0 0 {size} {size}"'
        ' shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{size}v{size}H0z"/>'
        '<path d="{}"/></svg>',
        _("QR code that installs the eSIM"),
        format_html_join("", "M{0} {1}h{2}v1H{0}z", runs),
        size=len(code.matrix) + 2 * _QUIET_ZONE,
    )


def _dark_runs(row: bytearray) -> list[tuple[int, int]]:
    """Where dark modules stand side by side in a row: (start, length)."""
    runs, x = [], 0
    for is_dark, group in groupby(row):
        length = len(list(group))
        if is_dark:
            runs.append((x, length))
        x += length
    return runs
