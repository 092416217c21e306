"""Makes the verifier one file: ``python tools/build_zipapp.py build/ledgergrid-verify.pyz``.

In it: the verifier, what it imports of ledger_core, and the base dependencies at the versions and
hashes of requirements/base.txt. It runs with a bare Python of the version and platform that made
it. The same source gives the same file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipapp
import zipfile
from pathlib import Path
from typing import Final

from zipapp_main import BUILT_FOR, PACKAGES, describe_python

ROOT: Final = Path(__file__).resolve().parents[1]
REQUIREMENTS: Final = ROOT / "requirements/base.txt"
LIST_MODULES: Final = """
import sys, verifier.__main__
for name, module in sorted(sys.modules.items()):
    if name.partition(".")[0] in ("ledger_core", "verifier"):
        print(module.__file__)
"""


def install_requirements(folder: Path) -> None:
    """Put the pinned dependencies into a folder: wheels alone, so nothing is run or compiled."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--require-hashes", "--only-binary", ":all:", "--no-compile", "--no-deps"]
    subprocess.run([*command, "--requirement", REQUIREMENTS, "--target", folder], check=True)
    shutil.rmtree(folder / "bin", ignore_errors=True)


def copy_own_modules(folder: Path) -> None:
    """Copy the modules that the verifier loads, and the templates it reads."""
    command = [sys.executable, "-c", LIST_MODULES]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for source in map(Path, listed.splitlines()):
        target = folder / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    shutil.copytree(ROOT / "verifier/templates", folder / "verifier/templates")


def pack(folder: Path, target: Path) -> None:
    """Write a zip file in which neither times nor the order of files depend on this machine."""
    with zipfile.ZipFile(target, "w") as made:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            made.writestr(member, path.read_bytes(), zipfile.ZIP_DEFLATED)


def build(target: Path) -> None:
    """Write the file; nobody sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        folder = Path(temporary, "app")
        packages = folder / PACKAGES
        packages.mkdir(parents=True)
        install_requirements(packages)
        copy_own_modules(packages)
        shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
        shutil.copyfile(ROOT / "tools/zipapp_main.py", folder / "__main__.py")
        (folder / BUILT_FOR).write_text(f"{describe_python()}\n", "utf-8")
        packed, made = Path(temporary, "packed"), Path(temporary, "made")
        pack(folder, packed)
        zipapp.create_archive(packed, made, "/usr/bin/env python3")
        made.replace(target)


def main() -> int:
    """Build what the command line names."""
    if len(sys.argv) != 2:
        print("usage: python tools/build_zipapp.py FILE", file=sys.stderr)
        return 2
    build(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
