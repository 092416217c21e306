"""The service and the command line: HTTP routes over the core, joined in ``app.py``."""
