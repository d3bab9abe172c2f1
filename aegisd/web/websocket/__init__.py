"""Pushes live figures and alerts to dashboards over WebSocket.

The hub makes each topic once an interval for all clients. A session serves one connection.
"""

from aegisd.web.websocket.hub import Hub
from aegisd.web.websocket.session import serve_websocket

__all__ = ["Hub", "serve_websocket"]
