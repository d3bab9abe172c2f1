"""The sockets that gateways send to: bound (``sockets``) and drained (``datagram``).

Nothing here looks into a message.
"""
