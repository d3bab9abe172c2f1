"""Alerts: when a rule fires (``rules``, pure), and what happens then.

``manager`` is the task that checks, ``actions`` tells people, ``archive`` keeps the alerts in
the database.
"""
