"""What can be said of a page without running it: flags that verbs lack, files that are not there, links that lead nowhere."""

import fnmatch
import json
import re
import shlex

from markdown_blocks import read_page
from verb_flags import tessera_calls

IN_THE_REPOSITORY = re.compile(r"(?<![\w/.-])(?:\./)?((?:scripts|recipes|tests|bench|models/emoji64|fuzz)[\w-]*/[\w./-]+)")
OUTSIDE_FLAGS = {"--help", "--version", "--preset", "--build", "--parallel", "--target", "--output-on-failure"}


def wrong_in_commands(text, program, root):
    """Faults of shell text that is not run."""
    faults = []
    for words in tessera_calls(text):
        try:
            program.parse(words)
        except ValueError as error:
            faults.append(str(error))
    for name in IN_THE_REPOSITORY.findall(text):
        name = name.rstrip("./")
        if not (root / name).exists():
            faults.append(f"{name}: no such file")
    options = (root / "CMakeLists.txt").read_text() + "".join(f.read_text() for f in (root / "cmake").glob("*.cmake"))
    for name in re.findall(r"-D(TESSERA_\w+)", text):
        if not re.search(rf"\b{name}\b", options):
            faults.append(f"-D{name}: CMakeLists.txt has no such option")
    presets = {p["name"] for kind in ("configurePresets", "buildPresets", "testPresets")
               for p in json.loads((root / "CMakePresets.json").read_text()).get(kind, [])}
    for name in re.findall(r"--preset[ =](\S+)", text):
        if name not in presets:
            faults.append(f"--preset {name}: expected one of {', '.join(sorted(presets))}")
    return faults


def wrong_inline(page, program):
    """Command lines and flags in the running text that the program does not have."""
    faults = []
    known = set(OUTSIDE_FLAGS)
    for verb in every_verb(program):
        known |= set(verb.canonical)
    elsewhere = {word for arguments in directives(page, "flags") for word in arguments.split(":")[0].split()}
    for line, text in page.inline:
        if text.startswith("tessera ") and not re.search(r"[|]|\.\.\.|^tessera [A-Z]{2}", text):
            try:
                program.parse(shlex.split(text)[1:])
            except ValueError as error:
                faults.append((line, str(error)))
        elif text.startswith("--"):
            for flag in re.findall(r"(?<!\S)--[a-z0-9-]+", text):
                if flag not in known and flag not in elsewhere:
                    faults.append((line, f"{flag}: no verb has this flag"))
    return faults


def every_verb(program, words=()):
    verb, _ = program.verb(list(words))
    found = [verb]
    for name in verb.subcommands:
        found += every_verb(program, (*words, name))
    return found


def directives(page, word):
    return [arguments for name, arguments in page.page_directives if name == word]


def wrong_links(page, root):
    faults = []
    base = (root / page.path).parent
    for line, target in page.links + page.pictures:
        if re.match(r"^[a-z]+:", target):
            continue
        name, _, part = target.partition("#")
        file = (base / name).resolve() if name else root / page.path
        if not file.exists():
            faults.append((line, f"{target}: no such file"))
        elif part and file.suffix == ".md" and part not in read_page(file, str(file)).headings:
            faults.append((line, f"{target}: {name or page.path} has no such heading"))
    return faults


def unexplained_pictures(page, root, mapped):
    """(line, name) of a page's pictures that are neither said to come from a block nor from elsewhere."""
    explained = [arguments.split(":")[0].split() for arguments in directives(page, "pictures")]
    patterns = [pattern for words in explained for pattern in words]
    faults = []
    for line, target in page.pictures:
        name = str(((root / page.path).parent / target).resolve().relative_to(root.resolve()))
        if name not in mapped and not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            faults.append((line, name))
    return faults
