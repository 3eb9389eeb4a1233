"""The wire protocol from the other side: an ASGI app, its store and its trainers."""
