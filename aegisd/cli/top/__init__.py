"""``aegisd top``: the live view of a daemon, in a terminal or as plain text.

``target`` is the daemon, ``subscription`` what it sends (``api``); ``screen`` renders that with
``sparkline`` and ``cells``, and ``terminal`` shows it.
"""

from aegisd.cli.top.top import top

__all__ = ["top"]
