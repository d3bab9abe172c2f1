"""The configuration: file and environment in, checked settings out.

Other packages use ``settings`` (every key, its type and default), ``load``, ``directories``,
``address``, ``patterns``, ``to_toml`` and ``libpq.conninfo``. The checks are private:
``structure`` (the tree), ``values`` (one key alone), ``consistency`` (keys together), ``keys``.
"""
