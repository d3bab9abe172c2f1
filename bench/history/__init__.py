"""How fast history is answered: ``make bench-history``."""
