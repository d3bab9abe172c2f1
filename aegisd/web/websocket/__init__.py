"""Pushes live figures and alerts to dashboards over WebSocket.

The hub makes each topic once an interval for all clients. ``connection`` serves one client.
"""

from aegisd.web.websocket.connection import serve_websocket
from aegisd.web.websocket.hub import MAX_CLIENTS, Hub

__all__ = ["MAX_CLIENTS", "Hub", "serve_websocket"]
