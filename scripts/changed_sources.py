"""What check_sources and check_tidy share: which sources changed, and with which flags a folder of src/ is compiled.

In: a build folder with compile_commands.json. Flags are those of any unit of the folder's CMake library, without its files.
"""
import json
import os
import shlex
import subprocess
import sys

NO_HISTORY = 77  # ctest's code for a skipped test


def answer_of_git(*words):
    """A line, or None where git has none."""
    done = subprocess.run(["git", *words], capture_output=True, text=True)
    return done.stdout.strip() or None if done.returncode == 0 else None


def base_of(since, last):
    """The commit since which changes count; None: there is no history. since: a number of commits, a revision, or "landing": what this
    branch has beyond its upstream (or TESSERA_SINCE, a revision), else so many last commits, of which a fresh checkout's last is all of
    a landing."""
    if since == "landing":
        upstream = os.environ.get("TESSERA_SINCE") or answer_of_git("rev-parse", "@{upstream}") or answer_of_git("rev-parse", "origin/HEAD")
        shared = upstream and answer_of_git("merge-base", "HEAD", upstream)
        if os.environ.get("TESSERA_SINCE") and not shared:
            sys.exit(f"TESSERA_SINCE is {upstream}, expected a revision that HEAD comes from")
        if shared and shared != answer_of_git("rev-parse", "HEAD"):
            return shared
        since = str(last)
    if since.isdigit():
        # A checkout without so much history (or none) has its own first commit for a beginning.
        commits = answer_of_git("rev-list", f"--max-count={int(since) + 1}", "HEAD")
        return commits.split()[-1] if commits else None
    return answer_of_git("merge-base", "HEAD", since) or sys.exit(f"{since}: expected a number of commits, a revision, landing or all")


def changed_sources(since, last=1, endings=(".cpp", ".h")):
    """Files under src/ that changed since then (base_of) and in the working tree; since "all": every one."""
    if since == "all":
        found = [os.path.join(folder, name) for folder, _, names in os.walk("src") for name in names]
    else:
        base = base_of(since, last)
        if not base:
            print("skipped: no history says what changed")
            sys.exit(NO_HISTORY)
        found = subprocess.run(["git", "diff", "--name-only", "--diff-filter=d", base, "--", "src"],
                               capture_output=True, text=True, check=True).stdout.split()
    return sorted(name for name in found if name.endswith(endings))


def flags_of_folders(build):
    """{folder of src/: [compiler, flags ...]}; paths in them are relative to the build folder."""
    flags = {}
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        units = json.load(file)
    for unit in units:
        words = shlex.split(unit["command"])
        compiler = next(i for i, word in enumerate(words) if os.path.basename(word) in ("c++", "g++", "gcc", "cc"))
        target = next((word for word in words if word.startswith("CMakeFiles/tessera")), "")
        folder = target.split("/")[1].removesuffix(".dir").removeprefix("tessera_") if target else ""
        if target and "precompiled" not in folder:
            name = {"tessera": "cli", "shared": "library"}.get(folder, folder)
            flags.setdefault(name, without_files(words[compiler:]))
    return flags


def without_files(words):
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-MT", "-MF"):
            skip = True
        elif word not in ("-c", "-MD") and not word.endswith((".cpp", ".cxx")):
            kept.append(word)
    return kept
