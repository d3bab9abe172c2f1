"""Puts the description together, for the paths that a daemon has."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from aegisd import __version__
from aegisd.web.openapi.forms import ERROR
from aegisd.web.openapi.operations import JSON, OPERATIONS

ERRORS = {
    400: "a parameter, the body or the request itself is wrong; the message says what is taken",
    401: "tokens are configured, and the request has no valid one",
    403: "not with this token, or not from this site's page",
    404: "there is no such thing",
    408: "the body came too slowly",
    409: "it is in a state that does not allow this",
    413: "the body is too large",
    415: "the body is not JSON",
    421: "the Host is not this service's",
    429: "too many are asked from this address",
    503: "the database is away, or too many are asked",
}
SESSION = {
    "type": "apiKey",
    "in": "cookie",
    "name": "aegisd_session",
    "description": "of /api/session; a number of the daemon's follows in its name",
}
RETRY_AFTER = {
    "Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}
}


def document(routes: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """The description of these paths with these methods."""
    paths = {}
    for route, methods in routes.items():
        path = route.replace("{*", "{")  # OpenAPI has no name of several segments
        paths[path] = {method.lower(): OPERATIONS[path][method] for method in methods}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aegisd",
            "version": __version__,
            "description": "Figures of an API gateway. Where no tokens are configured, only this"
            " machine reaches it and needs none.",
        },
        "paths": paths,
        "security": [{"bearer": []}, {"session": []}, {}],
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": SESSION,
            },
            "responses": {str(status): _error(status) for status in ERRORS},
            "schemas": {"Error": ERROR},
        },
    }


def _error(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        response["headers"] = RETRY_AFTER
    return response
