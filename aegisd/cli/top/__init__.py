"""The command ``top``: the live view in a terminal."""
