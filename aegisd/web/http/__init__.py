"""HTTP and the hand-over to WebSocket, on one port."""
