"""The login of a browser: a token in, a session's cookie out."""

from attrs import evolve

from aegisd.web.access import Guard
from aegisd.web.answers.parameters import json_body
from aegisd.web.http import Request, Response, bad_request, success


class SessionAnswers:
    """``/api/session``. The token is read from the body alone, so no URL ever has it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def show(self, request: Request) -> Response:
        """Who asks: ``authentication`` says whether tokens are needed at all."""
        return self._answer(request)

    async def begin(self, request: Request) -> Response:
        """Log in. Raises HttpError where the token is wrong."""
        token = json_body(request).get("token")
        if not isinstance(token, str):
            raise bad_request("token takes text")
        return self._answer(*self._guard.log_in(request, token))

    async def end(self, request: Request) -> Response:
        """Log out."""
        return self._answer(*self._guard.log_out(request))

    def _answer(self, request: Request, cookie: str = "") -> Response:
        known = request.name is not None or not self._guard.needs_token
        role = "admin" if request.admin else "viewer"
        answer = success(
            {
                "authentication": self._guard.needs_token,
                "name": request.name,
                "role": role if known else None,
            }
        )
        return evolve(answer, headers={"Set-Cookie": cookie}) if cookie else answer
