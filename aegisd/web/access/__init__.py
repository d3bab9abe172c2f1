"""Who may ask: proxies and their word, hosts and origins, tokens, sessions.

``Guard`` puts the parts together. The parts know no clock and no socket.
"""

from aegisd.web.access.guard import HEALTH_PATHS, Guard

__all__ = ["HEALTH_PATHS", "Guard"]
