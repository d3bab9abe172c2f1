"""``aegisd top``: the live view of a daemon, in a terminal or as plain text.

``target`` is the daemon, ``subscription`` what it sends (``api``). ``screen`` renders that as the
``controls`` say; ``live_view`` shows it and reads the keys.
"""

from aegisd.cli.top.live_view import show_live_view

__all__ = ["show_live_view"]
