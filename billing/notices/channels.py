"""Ways to reach a person beside the inbox. One that can fail is tried again by `sending.send_due`.

The inbox is no channel here: the notice's row is the entry, and it cannot fail by itself. A further
channel is an object with `send`, registered under the name that rules keep in `channels`.
"""

import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend


class CannotSend(Exception):
    """It did not go out. `is_final`: no later try can help. `is_outage`: nor can others go now."""

    def __init__(self, reason: str, *, is_final: bool = False, is_outage: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final
        self.is_outage = is_outage


@dataclass(frozen=True, slots=True)
class Message:
    """One notice in its reader's words. `reference` is the same on every try."""

    reference: str
    email: str  # empty: the person has none
    title: str
    body: str


class Channel(Protocol):
    """Sends outside any transaction, with a deadline of its own; at least once, not exactly."""

    def send(self, *, message: Message) -> None:
        """Raises CannotSend."""


class Email:
    """Plain text. The subject says all that matters; the reference lets a mailbox drop repeats.

    One connection goes from message to message of a thread, for as long as the server keeps it.
    """

    def __init__(self) -> None:
        self._kept = threading.local()

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        self._kept.connection = get_connection()
        try:
            yield
        finally:
            connection, self._kept.connection = self._kept.connection, None
            _close(connection)

    def send(self, *, message: Message) -> None:
        if not message.email:
            raise CannotSend("no address on file", is_final=True)
        mail = EmailMessage(
            subject=" ".join(message.title.split()),  # a line's name may hold a line break
            body=message.body,
            to=[message.email],
            headers={"Message-ID": f"<{message.reference}@keepline>"},
        )
        try:
            self._post(mail)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            # The server's text may hold the address: only the kind of error is kept.
            raise CannotSend(f"{type(error).__name__} {error.smtp_code}") from error
        except smtplib.SMTPRecipientsRefused as error:
            raise CannotSend("address refused") from error
        except (smtplib.SMTPException, OSError) as error:
            raise CannotSend(type(error).__name__, is_outage=True) from error

    def _post(self, mail: EmailMessage) -> None:
        """A server may end a connection that it has had for long: once, that is no outage."""
        connection = getattr(self._kept, "connection", None)
        if connection is None:
            mail.send()
            return
        is_new = bool(connection.open())
        try:
            connection.send_messages([mail])
        except (smtplib.SMTPServerDisconnected, ConnectionError):
            _close(connection)
            if is_new:
                raise
            connection.open()
            connection.send_messages([mail])


def _close(connection: BaseEmailBackend) -> None:
    """What cannot be closed is closed already."""
    with suppress(smtplib.SMTPException, OSError):
        connection.close()
    if hasattr(connection, "connection"):
        connection.connection = None


EMAIL = Email()
_CHANNELS: dict[str, Channel] = {"email": EMAIL}


def register(name: str, channel: Channel) -> None:
    """Offer `channel` under `name`. The last one registered counts."""
    _CHANNELS[name] = channel


def get(name: str) -> Channel:
    """Raises CannotSend, final, for a name nobody has registered."""
    if name not in _CHANNELS:
        raise CannotSend(f"no channel is called {name}", is_final=True)
    return _CHANNELS[name]


def is_known(name: str) -> bool:
    """Whether a rule may name it: the inbox, or a registered one."""
    return name == "inbox" or name in _CHANNELS
