"""Mails, against a real SMTP server."""

from email import message_from_string
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest
import trio
from alerts.servers import certificate, smtp_server
from alerts.test_actions import ALERT, ENDED
from store.cluster import bounded
from structlog.testing import capture_logs

from aegisd.alerts import actions
from aegisd.alerts.actions import ActionFailed, perform
from aegisd.config.settings import EmailAction, LogAction

PASSWORD = "S3CRET"


def mail(port: int, **others: Any) -> EmailAction:
    return EmailAction(
        **{
            "to": "ops@example.com",
            "from_": "aegisd@example.com",
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            **others,
        }
    )


@pytest.fixture
def trusted(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate that clients of this process trust."""
    file = certificate(directory)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return file


@bounded
async def test_mail_has_alert_text_and_times() -> None:
    for alert, event in ((ALERT, "triggered"), (ENDED, "resolved")):
        with smtp_server() as server:
            await perform(mail(server.port), alert)
        (text,) = server.letters
        letter = message_from_string(text)
        assert (letter["From"], letter["To"]) == ("aegisd@example.com", "ops@example.com")
        subject = str(make_header(decode_header(letter["Subject"])))
        assert subject == f"[critical] Zu viele Fehler: é {event}"
        assert letter["Date"]
        assert letter["Message-ID"]
        body = letter.get_payload()
        assert ALERT.message in body
        assert "Triggered: 2023-11-14T22:13:20.123Z" in body
        assert ("Resolved: 2023-11-14T22:14:20.000Z" in body) == (alert is ENDED)
        assert "mail FROM:<aegisd@example.com>" in server.commands
        assert "rcpt TO:<ops@example.com>" in server.commands


@pytest.mark.parametrize("security", ["starttls", "tls"])
@bounded
async def test_encrypted_mail_logs_in_with_name_and_password(trusted: Path, security: str) -> None:
    login = ("me", PASSWORD)
    with smtp_server(trusted, tls_at_once=security == "tls", login=login) as server:
        await perform(mail(server.port, security=security, username="me", password=PASSWORD), ALERT)
    assert server.encrypted == [True]
    assert any(command.startswith("AUTH") for command in server.commands)


@pytest.mark.parametrize("security", ["starttls", "tls"])
@bounded
async def test_untrusted_certificate_is_refused(directory: Path, security: str) -> None:
    file = certificate(directory)
    with smtp_server(file, tls_at_once=security == "tls") as server:
        text = await failure(mail(server.port, security=security, username="me", password=PASSWORD))
    assert "certificate" in text
    assert not server.letters
    assert not any(command.startswith("AUTH") for command in server.commands)


@bounded
async def test_server_without_starttls_gets_no_password() -> None:
    with smtp_server(login=("me", PASSWORD)) as server:
        await failure(mail(server.port, security="starttls", username="me", password=PASSWORD))
    assert not any(command.startswith("AUTH") for command in server.commands)


@bounded
async def test_refused_login_fails_without_naming_the_password() -> None:
    with smtp_server(login=("me", "other")) as server:
        text = await failure(mail(server.port, username="me", password=PASSWORD))
    assert "535" in text
    assert not server.letters


@bounded
async def test_unsendable_password_fails_without_naming_it() -> None:
    with smtp_server(login=("me", "x")) as server:
        await failure(mail(server.port, username="me", password=f"{PASSWORD}é"))


@pytest.mark.parametrize("to", ["ops@example.com\nBcc: x@example.com", "é@example.com", "<"])
@bounded
async def test_invalid_mail_address_fails_the_action(to: str) -> None:
    with smtp_server() as server, pytest.raises(ActionFailed):
        await perform(mail(server.port, to=to), ALERT)
    assert not server.letters


@bounded
async def test_refused_connection_fails_with_its_reason() -> None:
    with smtp_server() as server:
        port = server.port
    assert "refused" in await failure(mail(port))


@bounded
async def test_server_that_never_greets_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "TIMEOUT_SECONDS", 0.3)
    with smtp_server(silent=True) as server:
        assert await failure(mail(server.port)) in ("no answer within 0.3 s", "timed out")


async def failure(action: EmailAction) -> str:
    with pytest.raises(ActionFailed) as caught:
        await perform(action, ALERT)
    assert caught.value.__cause__ is None
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


@bounded
async def test_log_action_writes_a_line() -> None:
    with capture_logs() as logs:
        for alert in (ALERT, ENDED):
            await perform(LogAction(), alert)
        await trio.lowlevel.checkpoint()
    common = {"rule": ALERT.rule_name, "severity": "critical", "message": ALERT.message}
    assert logs == [
        {"event": "alert triggered", "log_level": "warning", **common},
        {"event": "alert resolved", "log_level": "info", **common},
    ]
