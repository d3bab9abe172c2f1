"""One port for HTTP and WebSocket.

``server`` takes connections, ``api`` routes requests to ``views``, ``websocket`` pushes live
figures, ``guard`` says who may ask, ``exposition`` speaks to Prometheus.
"""
