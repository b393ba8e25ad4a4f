"""The wheel as its users have it: installed into an empty environment and used from an empty folder, no checkout near.

Installs it with the versions of ``constraints.txt`` and runs what a user runs first, down to a tiny artifact that is
made, packaged, signed and verified. But for pip nothing needs a network.

    make wheel-check                                     # what it depends on comes from the package index
    make wheel-check WHEEL_CHECK=--own-dependencies      # from the environment that runs this: seconds, offline
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
WHERE = "import workbench; print(workbench.__file__)"
COMMANDS = (
    ("--version",),
    ("validate",),
    ("plan", "--profile", "rtx4090"),
    ("recipes",),
    ("convert", "--recipe", "gguf-q8_0", "--out", "store/tiny"),
    ("signing-key", "key.pem"),
    ("package", "store/tiny", "--sign-key", "key.pem"),
    ("verify", "store/tiny", "--public-key", "key.pem.pub"),
)


def main() -> None:
    """Install the wheel and run the commands; ends with the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--own-dependencies", action="store_true", help="take them from this environment")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wheel-check-") as folder:
        environment, empty = Path(folder, "environment"), Path(folder, "empty")
        empty.mkdir()
        install(options.wheel.resolve(), environment, options.own_dependencies)
        use(environment, empty)
    print(f"{options.wheel.name}: installed and used in an empty environment")


def install(wheel: Path, environment: Path, own_dependencies: bool) -> None:
    """Make an environment that holds the wheel and what it depends on."""
    venv.create(environment, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(environment)]
    if own_dependencies:
        run([*pip, "install", "--no-deps", "--no-index", str(wheel)])
        # A folder named in a .pth file lends its packages; .pth files of its own, such as an editable install's, rest.
        (site_packages(environment) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    else:
        run([*pip, "install", "-c", str(CONSTRAINTS), str(wheel)])
        run([*pip, "check"])


def use(environment: Path, empty: Path) -> None:
    """Run the commands in an empty folder, with nothing of the caller's environment that Python would look at."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    outside |= {"HF_HUB_OFFLINE": "1", "HOME": str(empty), "XDG_CACHE_HOME": str(empty / "cache")}
    python, workbench = environment / "bin" / "python", environment / "bin" / "workbench"
    where = subprocess.run([python, "-c", WHERE], cwd=empty, env=outside, check=True, capture_output=True, text=True)
    if not Path(where.stdout.strip()).is_relative_to(site_packages(environment)):
        sys.exit(f"error: not the wheel was used but {where.stdout.strip()}")
    for arguments in COMMANDS:
        print(f"$ workbench {' '.join(arguments)}", flush=True)
        run([str(workbench), *arguments], cwd=empty, env=outside)


def site_packages(environment: Path) -> Path:
    """Where an environment's packages lie."""
    return Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))


def run(command: list[str], **options: object) -> None:
    """Run a command; a failure ends this one."""
    done = subprocess.run(command, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"error: {Path(command[0]).name} {' '.join(command[1:])} ended with {done.returncode}")


if __name__ == "__main__":
    main()
