"""``aegisd top``: the live view of a daemon, in a terminal or as plain text.

``target`` is the daemon, ``subscription`` what it sends (``api``). ``screen`` renders that with
``sparkline`` and ``cells``; ``live_view`` draws it on the ``terminal``.
"""

from aegisd.cli.top.live_view import show_live_view

__all__ = ["show_live_view"]
