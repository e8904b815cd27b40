"""Service: collections that answer over HTTP, and the page that asks them."""
