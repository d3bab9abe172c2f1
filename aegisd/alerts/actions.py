"""Tells people: the log, Slack, a webhook, mail. Each raises ActionFailed with a line to log.

Addresses and passwords are secrets: what is raised here names neither.
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
from aegisd.alerts.mail import port_of, send_mail
from aegisd.alerts.rules import RESOLVED, Alert
from aegisd.config.settings import Action, EmailAction, LogAction, SlackAction, WebhookAction
from aegisd.errors import AegisdError
from aegisd.times import rfc3339

TIMEOUT_SECONDS = 30
"""For a whole action: some mail servers greet late on purpose, some others drip on forever."""

PAUSE_SECONDS = 30.0
"""Before a receiver is told again that had too much to do (429) or a fault (5xx), where it doesn't
say itself when."""

LONGEST_PAUSE_SECONDS = 300.0
"""Whatever it says: later, nobody is helped any more."""

SIGNATURE_HEADER = "X-Aegisd-Signature"

log = structlog.get_logger()


class ActionFailed(AegisdError):
    """An action did not reach its addressee.

    ``again_after`` says after how many seconds it may be tried again, where that has a point.
    """

    def __init__(self, why: str, again_after: float | None = None) -> None:
        super().__init__(why)
        self.again_after = again_after


def as_json(alert: Alert) -> dict[str, Any]:
    """The alert as the API, the WebSocket and webhooks show it."""
    return {
        "id": alert.id,
        "ruleId": alert.rule_id,
        "ruleName": alert.rule_name,
        "severity": alert.severity,
        "status": alert.status,
        "message": alert.message,
        "triggeredAt": rfc3339(alert.triggered_at),
        "resolvedAt": _time(alert.resolved_at),
        "acknowledgedAt": _time(alert.acknowledged_at),
        "acknowledgedBy": alert.acknowledged_by,
        "currentValue": alert.current_value,
        "threshold": alert.threshold,
    }


def receiver_of(action: Action) -> str:
    """Whom an action reaches: what one receiver gets, it gets one after the other."""
    match action:
        case LogAction():
            return "log"
        case SlackAction():
            return action.webhook_url
        case WebhookAction():
            return action.url
        case EmailAction():
            return f"{action.host}:{port_of(action)}"


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else rfc3339(microseconds)


async def perform(action: Action, alert: Alert) -> None:
    """Do one action. Raises ActionFailed, within TIMEOUT_SECONDS."""
    with trio.move_on_after(TIMEOUT_SECONDS):
        await _perform(action, alert)
        return
    raise ActionFailed(f"no answer within {TIMEOUT_SECONDS} s")


async def _perform(action: Action, alert: Alert) -> None:
    event = "resolved" if alert.status == RESOLVED else "triggered"
    match action:
        case LogAction():
            _log(alert, event)
        case SlackAction():
            await _post(action.webhook_url, {"text": _text(alert, event)}, {}, "")
        case WebhookAction():
            body = {"event": event, "alert": as_json(alert)}
            await _post(action.url, body, dict(action.headers), action.secret)
        case EmailAction():
            await _mail(action, alert, event)


def _text(alert: Alert, event: str) -> str:
    return f"[{alert.severity}] {alert.rule_name} {event}: {alert.message}"


def _log(alert: Alert, event: str) -> None:
    write = log.warning if event == "triggered" else log.info
    write(f"alert {event}", rule=alert.rule_name, severity=alert.severity, message=alert.message)


async def _post(url: str, body: dict[str, Any], headers: dict[str, str], secret: str) -> None:
    content = json.dumps(body).encode()
    every = httpx.Headers(
        {"Content-Type": "application/json", "User-Agent": f"aegisd/{__version__}"}
    )
    try:
        every.update(headers)  # whatever the case of its names
        if secret:
            digest = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
            every[SIGNATURE_HEADER] = f"sha256={digest}"
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=_tls()) as client,
            client.stream("POST", url, content=content, headers=every) as response,
        ):
            pass  # the rest is unread
    except httpx.TimeoutException:
        raise ActionFailed(f"no answer within {TIMEOUT_SECONDS} s") from None
    except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError):  # their texts quote secrets
        raise ActionFailed("the address or a header has characters that can't be sent") from None
    except (httpx.HTTPError, ssl.SSLError) as error:
        raise ActionFailed(str(error).replace(url, "the address") or type(error).__name__) from None
    if not response.is_success:
        status = response.status_code
        again = status == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error
        pause = _pause(response.headers.get("retry-after", "")) if again else None
        raise ActionFailed(f"answered with status {status}", pause)


def _pause(retry_after: str) -> float:
    """Seconds until the next try, from a header that names them or a moment (RFC 9110, 10.2.3)."""
    try:
        seconds = float(int(retry_after))
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return PAUSE_SECONDS
        seconds = moment.timestamp() - time.time()
    except OverflowError:
        seconds = LONGEST_PAUSE_SECONDS
    return min(seconds, LONGEST_PAUSE_SECONDS) if seconds > 0 else PAUSE_SECONDS


@cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the authorities holds up everything for tens of milliseconds."""
    return httpx.create_ssl_context()


def _letter(action: EmailAction, alert: Alert, event: str) -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = action.from_
    letter["To"] = action.to
    letter["Subject"] = f"[{alert.severity}] {alert.rule_name} {event}"
    letter["Date"] = formatdate(usegmt=True)
    letter["Message-ID"] = make_msgid(domain="aegisd.invalid")
    letter.set_content(
        f"{alert.message}\n\nTriggered: {rfc3339(alert.triggered_at)}\n"
        + (f"Resolved: {rfc3339(alert.resolved_at)}\n" if alert.resolved_at is not None else "")
    )
    return letter


async def _mail(action: EmailAction, alert: Alert, event: str) -> None:
    try:
        await send_mail(action, _letter(action, alert, event))
    except (OSError, smtplib.SMTPException) as error:
        text = str(error) or type(error).__name__
        if action.password:
            text = text.replace(action.password, "***")  # a server may quote what it refuses
        raise ActionFailed(text) from None
    except (ValueError, LookupError, MessageError):  # not ASCII, no address; their texts quote it
        raise ActionFailed("an address, name or password can't be sent by mail") from None
