"""A reader's shell in a fresh copy of the repository: commands run one after another, with folder and variables kept."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def repository_files(root):
    """What a clone of the working tree would hold."""
    if (root / ".git").exists():
        listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True)
        if listed.returncode == 0:
            return [name for name in listed.stdout.decode().split("\0") if name]
    return [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.relative_to(root).parts[0] not in ("build", "out", "runs")]


class Session:
    def __init__(self, root, folder, program):  # program: a verb_flags.Program
        self.folder = Path(folder)
        self.copy(root)
        self.own_data()
        tools = self.folder.parent / (self.folder.name + "-tools")
        tools.mkdir()
        self.calls_file, self.state_file = tools / "calls.jsonl", tools / "state.sh"
        self.calls_file.touch()
        shim = tools / "tessera"
        shim.symlink_to(HERE / "small_tessera")
        for built in ("build/release/bin", "build/quickstart/bin"):
            (self.folder / built).mkdir(parents=True, exist_ok=True)
            (self.folder / built / "tessera").symlink_to(shim)
        self.environment = {
            **os.environ,
            "HOME": str(tools), "XDG_CACHE_HOME": str(tools / "cache"), "OMP_WAIT_POLICY": "passive",
            "TESSERA": str(shim),  # the scripts' way to another program than build/release/bin/tessera
            "TESSERA_DOCS_PROGRAM": program.path, "TESSERA_DOCS_HELP": program.cache_, "TESSERA_DOCS_CALLS": str(self.calls_file), "TESSERA_DOCS_TOOLS": str(HERE),
        }
        self.state_file.write_text(f"cd {self.folder}\n")
        self.server = None
        self.address = None

    def copy(self, root):
        for name in repository_files(root):
            source, target = root / name, self.folder / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def own_data(self):
        """What the pages take the reader to have: picture.png, pictures/ (48, with captions), pictures.zip, classes/ of two folders."""
        examples = self.folder / "models/emoji64/examples"
        pictures, classes, lines = self.folder / "pictures", self.folder / "classes", []
        for folder in (pictures, classes / "people", classes / "things"):
            folder.mkdir(parents=True)
        described = [json.loads(line) for line in (examples / "metadata.jsonl").read_text().splitlines()]
        for number, picture in enumerate(described * 3):
            name = f"{number:02}.png"
            shutil.copy2(examples / picture["file_name"], pictures / name)
            shutil.copy2(examples / picture["file_name"], classes / ("people" if number % 2 else "things") / name)
            lines.append(json.dumps({**picture, "file_name": name}))
        (pictures / "metadata.jsonl").write_text("\n".join(lines) + "\n")
        shutil.copy2(examples / "emoji_u1f9d0.png", self.folder / "picture.png")
        with zipfile.ZipFile(self.folder / "pictures.zip", "w") as archive:
            for source in sorted(pictures.iterdir()):
                archive.write(source, source.name)

    def calls(self, since=0):
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()[since:]]

    def after_quickstart(self, on):
        """Whether the reader has been through ./quickstart: `tessera` is on the PATH, and out/ is there."""
        if on:
            (self.folder / "out").mkdir(exist_ok=True)
        path = os.environ["PATH"]
        self.environment["PATH"] = f"{self.calls_file.parent}:{path}" if on else path

    def run(self, command, small, limit):
        """-> (exit status, output). A server goes on in the background; its address stands for 127.0.0.1:8080 from then on."""
        if self.address:
            command = command.replace("127.0.0.1:8080", self.address)
        if re.match(r"^(\S*/)?tessera serve\b(?!.*--help)", command):
            return self.serve(command)
        script = f". {self.state_file}\nexport TESSERA_DOCS_SMALL={shlex.quote(small or '')}\nset -aeo pipefail\n{command}\n{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {self.state_file}\n"
        process = subprocess.Popen(["bash", "-c", script], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return 124, output.decode(errors="replace") + f"\n(ended after {limit} s)"
        return process.returncode, output.decode(errors="replace")

    def serve(self, command):
        self.stop_server()
        log = self.calls_file.parent / "server.log"
        with open(log, "wb") as file:
            self.server = subprocess.Popen(["bash", "-c", f". {self.state_file}\nexec {command}"], env=self.environment, stdout=file,
                                           stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        for _ in range(600):
            found = re.search(r"http://(127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
            if found:
                self.address = found.group(1)
                return subprocess.run(["curl", "-fsS", "-o", "/dev/null", f"http://{self.address}/", "-o", "/dev/null", f"http://{self.address}/healthz"],
                                      capture_output=True, text=True).returncode, log.read_text(errors="replace")
            if self.server.poll() is not None:
                return self.server.returncode or 1, log.read_text(errors="replace")
            time.sleep(0.1)
        return 124, log.read_text(errors="replace") + "\n(no address within 60 s)"

    def stop_server(self):
        """-> what was wrong with its end, or None."""
        if self.server is None:
            return None
        self.server.send_signal(signal.SIGTERM)
        try:
            status = self.server.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(self.server.pid, signal.SIGKILL)
            status = self.server.wait()
        self.server = self.address = None
        return None if status == 0 else f"tessera serve ended with status {status} on SIGTERM"
