"""The commands of ``ledgergrid``: each file one subject, joined in ``api/cli.py``."""
