"""Alipay's bill of one Beijing day: where it is, fetching it, and its rows one by one.

Bills come on the next day after about 09:00. A day without a trade has none either, and Alipay's
codes do not tell the two apart: the caller decides how long it waits. How a bill is read: `bill`.
"""

import tempfile
from collections.abc import Iterator
from datetime import date
from typing import IO

from billing.gateways.alipay import bill, codes
from billing.gateways.alipay.client import AlipayClient, NoAnswer
from billing.gateways.base import StatementNotReady, StatementRow, UnreadableRow

# A bill's URL lives for 30 seconds: a slow start is worth one more.
_TRIES = 2
_NO_BILL = frozenset({"BILL_NOT_EXIST", "NO_BILL_DATA"})
_SPOOLED_BYTES = 4 * 1024 * 1024


def read(client: AlipayClient, *, day: date) -> Iterator[StatementRow | UnreadableRow]:
    """The rows of one Beijing day. Raises StatementNotReady before the first."""
    file = tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES)  # noqa: SIM115
    try:
        _download(client, day, into=file)
        rows = _closing(file, bill.rows(file))
    except BaseException:
        file.close()
        raise
    return rows


def _download(client: AlipayClient, day: date, *, into: IO[bytes]) -> None:
    for tries_left in reversed(range(_TRIES)):
        url = url_of(client, day)
        try:
            into.seek(0)
            into.truncate()
            client.download(url, into=into)
        except NoAnswer as error:
            if not tries_left:
                raise StatementNotReady(f"The bill did not arrive: {error}.") from error
        else:
            into.seek(0)
            return


def url_of(client: AlipayClient, day: date) -> str:
    """Where a day's bill is, for the next 30 seconds. Raises StatementNotReady."""
    reply = client.call(
        method="alipay.data.dataservice.bill.downloadurl.query",
        content={"bill_type": "trade", "bill_date": day.isoformat()},
        reference=day.isoformat(),
    )
    url = reply.text("bill_download_url")
    if reply.code == codes.SUCCESS and url:
        return url
    if reply.sub_code in _NO_BILL:
        raise StatementNotReady(f"Alipay has no bill for {day} (yet): {reply.sub_code}.")
    raise StatementNotReady(f"Alipay did not say where its bill is: {reply.explain()}.")


def _closing(
    file: IO[bytes], rows: Iterator[StatementRow | UnreadableRow]
) -> Iterator[StatementRow | UnreadableRow]:
    with file:
        yield from rows
