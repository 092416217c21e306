"""Starts the verifier out of one file: becomes ``__main__.py`` of what build_zipapp.py makes.

Compiled extensions cannot be imported out of a zip file. So the packages are unpacked into a
private folder, which is removed at the end, and imported from there, before anything that the
machine may have installed. Worker processes find them too: they are forked, or are given this
process's ``sys.path``.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = "packages/"
BUILT_FOR = "built-for.txt"
USAGE = 4


def describe_python() -> str:
    """Say for which Python compiled extensions must be made to be imported here."""
    return f"{sys.implementation.cache_tag} on {sys.platform} {platform.machine()}"


def main() -> int:
    """Verify as the command line says; return the exit code."""
    with zipfile.ZipFile(Path(__file__).parent) as app:
        built_for = app.read(BUILT_FOR).decode("utf-8").strip()
        if built_for != describe_python():
            reason = f"this file is for {built_for}, this is {describe_python()}"
            print(f"ledgergrid-verify: {reason}", file=sys.stderr)
            return USAGE
        # Made for this user alone (mode 0700). On Windows, what is in use outlives the attempt.
        with tempfile.TemporaryDirectory(
            prefix="ledgergrid-verify-", ignore_cleanup_errors=True
        ) as folder:
            names = [name for name in app.namelist() if name.startswith(PACKAGES)]
            app.extractall(folder, names)
            sys.path.insert(0, str(Path(folder, PACKAGES)))
            from verifier.__main__ import main as verify

            return verify()


if __name__ == "__main__":
    sys.exit(main())
