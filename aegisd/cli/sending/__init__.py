"""The commands that send events: ``send`` and ``import``."""
