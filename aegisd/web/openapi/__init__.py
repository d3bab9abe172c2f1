"""The API's description (OpenAPI 3.1), as data: ``/openapi.json`` is made of it."""

from aegisd.web.openapi.description import document

__all__ = ["document"]
