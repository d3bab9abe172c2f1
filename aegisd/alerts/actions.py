"""The actions of alerts: a line in the log, Slack, a webhook, mail.

``perform`` does one action, or raises ActionFailed with a line for the log. Addresses and passwords
are secrets, so that line names none.
"""

import hashlib
import hmac
import json
import smtplib
import ssl
import time
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Any

import httpx
import structlog
import trio

from aegisd import __version__
from aegisd.alerts.alert import RESOLVED, Alert, as_json
from aegisd.alerts.mail import port_of, send_mail
from aegisd.config.settings import Action, EmailAction, LogAction, SlackAction, WebhookAction
from aegisd.errors import AegisdError
from aegisd.times import rfc3339

TIMEOUT_SECONDS = 30
"""For a whole action. Some mail servers greet late on purpose; others send a byte now and then."""

PAUSE_SECONDS = 30.0
"""Before the next try at a receiver that answered 429 (too much to do) or 5xx (a fault), unless it
names a time itself (Retry-After)."""

LONGEST_PAUSE_SECONDS = 300.0
"""Even where the receiver asks for more: a later alert helps nobody."""

SIGNATURE_HEADER = "X-Aegisd-Signature"

log = structlog.get_logger()


class ActionFailed(AegisdError):
    """An action did not reach its receiver.

    ``again_after``: another try makes sense after so many seconds; None where none does.
    """

    def __init__(self, why: str, again_after: float | None = None) -> None:
        super().__init__(why)
        self.again_after = again_after


def receiver_of(action: Action) -> str:
    """Whom an action reaches. The actions of one receiver run one after the other."""
    match action:
        case LogAction():
            return "log"
        case SlackAction():
            return action.webhook_url
        case WebhookAction():
            return action.url
        case EmailAction():
            return f"{action.host}:{port_of(action)}"


async def perform(action: Action, alert: Alert) -> None:
    """Do one action. Raises ActionFailed, within TIMEOUT_SECONDS."""
    with trio.move_on_after(TIMEOUT_SECONDS):
        await _perform(action, alert)
        return
    raise ActionFailed(f"no answer within {TIMEOUT_SECONDS} s")


async def _perform(action: Action, alert: Alert) -> None:
    event = "resolved" if alert.status == RESOLVED else "triggered"  # repeats included
    match action:
        case LogAction():
            _log(alert, event)
        case SlackAction():
            await _post(action.webhook_url, {"text": _text(alert, event)}, {}, "")
        case WebhookAction():
            body = {"event": event, "alert": as_json(alert)}
            await _post(action.url, body, dict(action.headers), action.secret)
        case EmailAction():
            await _send_mail(action, alert, event)


def _text(alert: Alert, event: str) -> str:
    return f"[{alert.severity}] {alert.rule_name} {event}: {alert.message}"


def _log(alert: Alert, event: str) -> None:
    write = log.warning if event == "triggered" else log.info
    write(f"alert {event}", rule=alert.rule_name, severity=alert.severity, message=alert.message)


async def _post(url: str, body: dict[str, Any], own_headers: dict[str, str], secret: str) -> None:
    content = json.dumps(body).encode()
    headers = httpx.Headers(
        {"Content-Type": "application/json", "User-Agent": f"aegisd/{__version__}"}
    )
    try:
        headers.update(own_headers)  # they win, whatever the case of their names
        if secret:
            digest = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
            headers[SIGNATURE_HEADER] = f"sha256={digest}"
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=_tls()) as client,
            client.stream("POST", url, content=content, headers=headers) as response,
        ):
            pass  # the status is enough, the body stays unread
    except httpx.TimeoutException:
        raise ActionFailed(f"no answer within {TIMEOUT_SECONDS} s") from None
    except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError):  # texts quote secrets
        raise ActionFailed("the address or a header has characters that can't be sent") from None
    except (httpx.HTTPError, ssl.SSLError) as error:
        raise ActionFailed(str(error).replace(url, "the address") or type(error).__name__) from None
    if not response.is_success:
        status = response.status_code
        again = status == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error
        pause = _pause(response.headers.get("retry-after", "")) if again else None
        raise ActionFailed(f"answered with status {status}", pause)


def _pause(retry_after: str) -> float:
    """Seconds until the next try, from a Retry-After of seconds or a date (RFC 9110, 10.2.3)."""
    try:
        seconds = float(int(retry_after))
    except ValueError:
        try:
            date = parsedate_to_datetime(retry_after)
        except ValueError:
            return PAUSE_SECONDS
        seconds = date.timestamp() - time.time()
    except OverflowError:
        seconds = LONGEST_PAUSE_SECONDS
    return min(seconds, LONGEST_PAUSE_SECONDS) if seconds > 0 else PAUSE_SECONDS


@cache
def _tls() -> ssl.SSLContext:
    """Made once: to read the certificate authorities blocks the loop for tens of milliseconds."""
    return httpx.create_ssl_context()


def _mail_of(action: EmailAction, alert: Alert, event: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = action.from_
    mail["To"] = action.to
    mail["Subject"] = f"[{alert.severity}] {alert.rule_name} {event}"
    mail["Date"] = formatdate(usegmt=True)
    mail["Message-ID"] = make_msgid(domain="aegisd.invalid")
    mail.set_content(
        f"{alert.message}\n\nTriggered: {rfc3339(alert.triggered_at)}\n"
        + (f"Resolved: {rfc3339(alert.resolved_at)}\n" if alert.resolved_at is not None else "")
    )
    return mail


async def _send_mail(action: EmailAction, alert: Alert, event: str) -> None:
    try:
        await send_mail(action, _mail_of(action, alert, event))
    except (OSError, smtplib.SMTPException) as error:
        text = str(error) or type(error).__name__
        if action.password:
            text = text.replace(action.password, "***")  # a server may quote what it refuses
        raise ActionFailed(text) from None
    except (ValueError, LookupError, MessageError):  # not ASCII or no address; texts quote it
        raise ActionFailed("an address, name or password can't be sent by mail") from None
