"""What the program says about its flags: every verb's --help, read once, and command lines parsed by it."""

import json
import os
import re
import shlex
import subprocess

FLAG = re.compile(r"^  (-[^ ]+?(?:\{false\})?)(?:\s+(.*))?$")
TYPE = re.compile(r"^(TEXT|INT|UINT|FLOAT|PATH|FILE|DIR|ENUM|NUMBER|\{)")


class Verb:
    def __init__(self, name, help_text):
        self.name = name
        self.canonical = {}  # any spelling -> the last long one
        self.takes_value = {}
        count = re.search(r"--count INT(?:=| \[)(\d+)", help_text)  # as two releases of CLI11 write it
        self.default_count = int(count.group(1)) if count else 1
        self.subcommands = set()
        self.takes_positionals = "\nPositionals:" in help_text
        in_subcommands = False
        for line in help_text.split("\n"):
            if line.startswith("Subcommands:"):
                in_subcommands = True
                continue
            if in_subcommands:
                found = re.match(r"^  (\S+)", line)
                if found:
                    self.subcommands.add(found.group(1))
                continue
            found = FLAG.match(line)
            if not found:
                continue
            spellings = [s.replace("{false}", "") for s in found.group(1).split(",")]
            negations = {s for s in spellings if s.startswith("--no-")}
            name_of_flag = next((s for s in reversed(spellings) if s.startswith("--") and s not in negations), spellings[-1])
            for spelling in spellings:
                self.canonical[spelling] = name_of_flag if spelling not in negations else spelling
                self.takes_value[spelling] = bool(TYPE.match(found.group(2) or ""))


class Program:
    """A built tessera. Verbs are looked up as they are needed."""

    def __init__(self, path, cache=None):
        self.path = str(path)
        self.verbs_ = {}
        self.cache_ = cache  # a file that keeps the help texts, for the many short-lived stand-ins

    def help_(self, name):
        kept = {}
        if self.cache_ and os.path.exists(self.cache_):
            with open(self.cache_, encoding="utf-8") as file:
                kept = json.load(file)
        state = os.stat(self.path)
        key = f"{self.path} {state.st_mtime_ns} {state.st_size}: {' '.join(name)}"
        if key not in kept:
            run = subprocess.run([self.path, *name, "--help"], capture_output=True, text=True)
            if run.returncode != 0:
                raise ValueError(f"tessera {' '.join(name)} --help: exit status {run.returncode}")
            kept[key] = run.stdout
            if self.cache_:
                with open(self.cache_ + f".{os.getpid()}", "w", encoding="utf-8") as file:
                    json.dump(kept, file)
                os.replace(self.cache_ + f".{os.getpid()}", self.cache_)
        return kept[key]

    def verb(self, words):
        """The Verb that the first words of a command line name, and how many words that took. Raises ValueError."""
        name, used = (), 0
        while True:
            if name not in self.verbs_:
                self.verbs_[name] = Verb(" ".join(name), self.help_(name))
            verb = self.verbs_[name]
            if used >= len(words) or words[used].startswith("-"):
                return verb, used
            if words[used] not in verb.subcommands:
                if verb.subcommands and not verb.takes_positionals:
                    raise ValueError(f"tessera {' '.join(name)}: no verb '{words[used]}'")
                return verb, used
            name, used = (*name, words[used]), used + 1

    def parse(self, words):
        """Command line without the program -> (Verb, [(canonical flag, value or None)], [positional]). Raises ValueError."""
        verb, used = self.verb(words)
        flags, positional, i = [], [], used
        while i < len(words):
            word = words[i]
            if not word.startswith("-") or re.match(r"^-?[\d.]+$", word):
                positional.append(word)
                i += 1
                continue
            spelling, equals, value = word.partition("=")
            if spelling not in verb.canonical and re.match(r"^-[A-Za-z]\S", word) and word[:2] in verb.canonical:
                spelling, equals, value = word[:2], "=", word[2:]  # -n4
            if spelling not in verb.canonical:
                raise ValueError(f"tessera {verb.name}: no flag '{spelling}'")
            if not verb.takes_value[spelling]:
                flags.append((verb.canonical[spelling], None))
            elif equals:
                flags.append((verb.canonical[spelling], value))
            else:
                i += 1
                if i >= len(words):
                    raise ValueError(f"tessera {verb.name}: '{spelling}' lacks its value")
                flags.append((verb.canonical[spelling], words[i]))
            i += 1
        return verb, flags, positional


DOES_NOT_CHANGE_A_PICTURE = {"--output", "--batch", "--threads", "--json", "--show-mask", "--images-per-call", "--sheet-only"}


def what_is_made(program, words, without=()):
    """A command line reduced to what decides its picture: (verb, sorted flags, positional)."""
    verb, flags, positional = program.parse(words)
    left_out = DOES_NOT_CHANGE_A_PICTURE | set(without)
    kept = sorted((name, (value or "").rstrip("/")) for name, value in flags if name not in left_out)
    return verb.name, kept, positional


def output_of(program, words):
    """Where a command line writes, or None."""
    _, flags, _ = program.parse(words)
    return next((value for name, value in flags if name == "--output"), None)


def made_small(program, words, small):
    """`words` with the flags of `small` in place of their own where the verb has them; and the flags that were used.
    A number of pictures is never made larger by it."""
    verb, used = program.verb(words)
    wanted, used_flags, i = [], [], 0
    while i < len(small):
        takes = small[i] in verb.canonical and verb.takes_value[small[i]]
        known = small[i] in verb.canonical
        if known and verb.canonical[small[i]] == "--count":
            given = any(verb.canonical.get(word.partition("=")[0]) == "--count" for word in words[used:])
            known = given or int(small[i + 1]) < verb.default_count
        value = i + 1 < len(small) and not re.match(r"^-[A-Za-z-]", small[i + 1])
        if known:
            wanted.append((small[i], small[i + 1] if takes else None))
            used_flags.append(small[i])
        i += 2 if value else 1
    replaced = {verb.canonical[spelling] for spelling, _ in wanted}
    result, i = list(words[:used]), used
    while i < len(words):
        spelling = words[i].partition("=")[0]
        if verb.canonical.get(spelling) in replaced:
            i += 2 if verb.takes_value[spelling] and "=" not in words[i] else 1
            continue
        result.append(words[i])
        i += 1
    for spelling, value in wanted:
        result += [spelling] if value is None else [spelling, value]
    return result, used_flags


def split_commands(text):
    """A block's text into commands as bash would take them: [(first line in the block, text)]."""
    commands, gathered, first = [], [], 0
    for number, line in enumerate(text.split("\n")):
        if not gathered:
            first = number
            if not line.strip() or line.lstrip().startswith("#"):
                continue
        gathered.append(line)
        candidate = "\n".join(gathered)
        whole = subprocess.run(["bash", "-n", "-c", candidate], capture_output=True).returncode == 0
        if whole and not line.rstrip().endswith("\\"):
            commands.append((first, candidate))
            gathered = []
    if gathered:
        commands.append((first, "\n".join(gathered)))
    return commands


def tessera_calls(text):
    """Every call of tessera in shell text, as words without the program."""
    return [call for line in text.replace("\\\n", " ").split("\n") for call in calls_of_line(line)]


def calls_of_line(line):
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
        lexer.whitespace_split = True
        words = list(lexer)  # up to a comment
    except ValueError:
        return []
    calls, gathering, at_start = [], None, True
    for word in words:
        if set(word) <= set(";&|()"):
            gathering, at_start = None, True
        elif at_start and word.rsplit("/", 1)[-1] == "tessera":
            gathering, at_start = [], False
            calls.append(gathering)
        elif gathering is not None:
            gathering.append(word)
        elif not re.match(r"^\w+=", word) and word not in ("nohup", "time", "env", "nice"):
            at_start = False
    return calls
