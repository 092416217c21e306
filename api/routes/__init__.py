"""The HTTP routes: each file one part of the API, each route a few lines over the core."""
