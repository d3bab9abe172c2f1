"""The configuration.

``settings`` says what can be set, ``load`` where it comes from, ``checks`` what is right.
"""
