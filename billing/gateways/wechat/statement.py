"""WeChat Pay's bill of one Beijing day: fetching it, and its rows one by one.

Bills come on the next day after about 10:00. A day without a trade has none either, and WeChat
Pay's codes do not tell the two apart: the caller decides how long it waits. How a bill is read:
`bill`.
"""

import tempfile
from collections.abc import Iterator
from datetime import date
from typing import IO

from billing.gateways.base import StatementNotReady, StatementRow, UnreadableRow
from billing.gateways.wechat import bill
from billing.gateways.wechat.client import WechatClient
from billing.gateways.wechat.wire import NoAnswer

_BILL = "/pay/downloadbill"
_SPOOLED_BYTES = 4 * 1024 * 1024


def read(client: WechatClient, *, day: date) -> Iterator[StatementRow | UnreadableRow]:
    """The rows of one Beijing day. Raises StatementNotReady before the first."""
    file = tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES)  # noqa: SIM115
    try:
        _download(client, day, into=file)
        rows = _closing(file, bill.rows(file))
    except BaseException:
        file.close()
        raise
    return rows


def _download(client: WechatClient, day: date, *, into: IO[bytes]) -> None:
    fields = {"bill_date": day.strftime("%Y%m%d"), "bill_type": "ALL", "tar_type": "GZIP"}
    try:
        client.download(_BILL, fields, into=into)
    except NoAnswer as error:
        raise StatementNotReady(f"The bill did not arrive: {error}.") from error
    into.seek(0)


def _closing(
    file: IO[bytes], rows: Iterator[StatementRow | UnreadableRow]
) -> Iterator[StatementRow | UnreadableRow]:
    with file:
        yield from rows
