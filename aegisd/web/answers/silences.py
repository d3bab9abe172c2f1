"""Silences: the list, and their making and removal."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, get_args
from uuid import UUID, uuid4

from attrs import evolve

from aegisd.alerts import Silence, Silences, TooManySilences, silence_as_json
from aegisd.config.settings import Severity
from aegisd.events.units import DAY_US
from aegisd.times import rfc3339
from aegisd.web.answers.alerts import ANONYMOUS
from aegisd.web.answers.parameters import json_body, moment_of
from aegisd.web.http import HttpError, Request, Response, bad_request, success

MAX_DAYS = 366
"""Until a silence ends: a rule that nobody wants to hear of for years is better removed."""

MAX_RULE_ID = 255
MAX_COMMENT = 500
"""Characters."""

_KEYS = ("ruleId", "severity", "from", "until", "comment")


class SilenceAnswers:
    """``/api/alerts/silences`` and ``/api/alerts/silences/{id}``.

    ``now`` gives the time in microseconds since 1970.
    """

    def __init__(self, silences: Silences, now: Callable[[], int]) -> None:
        self._silences = silences
        self._now = now

    async def list(self, request: Request) -> Response:
        """The silences that have not ended."""
        del request
        found = await self._silences.list(self._now())
        return success([silence_as_json(silence) for silence in found])

    async def add(self, request: Request) -> Response:
        """Make a silence."""
        now = self._now()
        silence = _silence(json_body(request), request.name or ANONYMOUS, now)
        try:
            await self._silences.add(silence, now)
        except TooManySilences as error:
            raise HttpError(HTTPStatus.CONFLICT, "too_many_silences", str(error)) from None
        return evolve(success(silence_as_json(silence)), status=HTTPStatus.CREATED)

    async def remove(self, request: Request) -> Response:
        """End a silence."""
        name = request.item or request.query.get("id", "")
        try:
            removed = await self._silences.remove(UUID(name))
        except ValueError:
            removed = False
        if not removed:
            raise HttpError(HTTPStatus.NOT_FOUND, "not_found", f"there is no silence '{name}'")
        return success({})


def _silence(body: dict[str, Any], by: str, now: int) -> Silence:
    """The silence that a body describes. A misspelt key is refused: without it, all is silenced."""
    for key in body.keys() - set(_KEYS):
        raise bad_request(f"'{key}' is not one of {' '.join(_KEYS)}")
    starts_at = now if body.get("from") is None else _time("from", body["from"])
    ends_at = _time("until", body.get("until"))
    if not now < ends_at <= now + MAX_DAYS * DAY_US:
        raise bad_request(f"until takes a time to come, of the next {MAX_DAYS} days")
    if starts_at >= ends_at:
        raise bad_request(f"from takes a time before {rfc3339(ends_at)}")
    severities = get_args(Severity)
    if body.get("severity") not in (None, *severities):
        raise bad_request(f"severity takes one of {' '.join(severities)}, or null")
    rule_id = body.get("ruleId")
    if rule_id is not None and not _text("ruleId", rule_id, MAX_RULE_ID):
        raise bad_request("ruleId takes a rule's id, or null")
    comment = body.get("comment")
    if comment is None:
        comment = ""
    return Silence(
        id=str(uuid4()),
        rule_id=rule_id,
        severity=body.get("severity"),
        starts_at=starts_at,
        ends_at=ends_at,
        comment=_text("comment", comment, MAX_COMMENT),
        by=by,
    )


def _time(parameter: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise bad_request(f"{parameter} takes a time (RFC 3339) or seconds since 1970")
    return moment_of(parameter, str(value))


def _text(parameter: str, value: Any, limit: int) -> str:
    if not isinstance(value, str) or "\0" in value or len(value) > limit:  # Postgres knows no NUL
        raise bad_request(f"{parameter} takes a text of at most {limit} characters, without NUL")
    return value
