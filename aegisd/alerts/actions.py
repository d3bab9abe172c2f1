"""Tells people: the log, Slack, a webhook, mail. Each raises ActionFailed with a line to log.

Addresses and passwords are secrets: what is raised here names neither.
"""

import hashlib
import hmac
import json
import smtplib
import ssl
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import cache
from typing import Any

import httpx
import structlog
import trio

from aegisd import __version__
from aegisd.alerts.rules import RESOLVED, Alert
from aegisd.config.settings import Action, EmailAction, LogAction, SlackAction, WebhookAction
from aegisd.errors import AegisdError
from aegisd.times import rfc3339

TIMEOUT_SECONDS = 30
"""For a whole action: some mail servers greet late on purpose, some others drip on forever."""

SIGNATURE_HEADER = "X-Aegisd-Signature"
_DEFAULT_PORTS = {"starttls": 587, "tls": 465, "none": 25}

log = structlog.get_logger()


class ActionFailed(AegisdError):
    """An action did not reach its addressee."""


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
            answered_well, status = response.is_success, response.status_code  # the rest is unread
    except httpx.TimeoutException:
        raise ActionFailed(f"no answer within {TIMEOUT_SECONDS} s") from None
    except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError):  # their texts quote secrets
        raise ActionFailed("the address or a header has characters that can't be sent") from None
    except (httpx.HTTPError, ssl.SSLError) as error:
        raise ActionFailed(str(error).replace(url, "the address") or type(error).__name__) from None
    if not answered_well:
        raise ActionFailed(f"answered with status {status}")


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
        letter = _letter(action, alert, event)
        await trio.to_thread.run_sync(_send_mail, action, letter, abandon_on_cancel=True)
    except (OSError, smtplib.SMTPException) as error:
        text = str(error) or type(error).__name__
        if action.password:
            text = text.replace(action.password, "***")  # a server may quote what it refuses
        raise ActionFailed(text) from None
    except (ValueError, LookupError, MessageError):  # not ASCII, no address; their texts quote it
        raise ActionFailed("an address, name or password can't be sent by mail") from None


def _send_mail(action: EmailAction, letter: EmailMessage) -> None:
    port = action.port or _DEFAULT_PORTS[action.security]
    context = ssl.create_default_context()
    if action.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            action.host, port, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        server = smtplib.SMTP(action.host, port, timeout=TIMEOUT_SECONDS)
    with server:
        if action.security == "starttls":
            server.starttls(context=context)
        if action.username:
            server.login(action.username, action.password)
        server.send_message(letter)
