"""Reads a Markdown page into its code blocks, inline code, pictures and links, with what comments say about testing them.

A comment `<!-- test: WORD ARGUMENTS; WORD ARGUMENTS -->` speaks of the code block that follows it; tests/docs/README.md lists
the words. An indented block holds commands; a fenced block holds what its language says.
"""

import re
from dataclasses import dataclass, field

COMMENT = re.compile(r"<!--\s*test:\s*(.*?)\s*-->", re.S)
INLINE_CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)*)`(?!`)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)[^)]*\)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)[^)]*\)")
OF_THE_PAGE = ("pictures", "flags")
COMMAND_LANGUAGES = ("sh", "bash", "shell", "console")


@dataclass
class Block:
    page: str
    line: int  # of the block's first line, from 1
    language: str  # "sh" for indented blocks
    lines: list
    directives: list = field(default_factory=list)  # (word, arguments)

    @property
    def holds_commands(self):
        return self.language in COMMAND_LANGUAGES

    @property
    def text(self):
        return "\n".join(self.lines)

    def directive(self, word):
        """The arguments of the first directive of that word, or None."""
        return next((arguments for name, arguments in self.directives if name == word), None)

    def all(self, word):
        return [arguments for name, arguments in self.directives if name == word]


@dataclass
class Page:
    path: str
    blocks: list
    page_directives: list  # what speaks of the whole page: (word, arguments)
    loose: list  # (line, word) of comments that no block follows
    inline: list  # (line, text)
    pictures: list  # (line, target)
    links: list  # (line, target)
    headings: list  # anchors


def directives_of(text):
    """`small -n 2; picture a = b` -> [("small", "-n 2"), ("picture", "a = b")]"""
    found = []
    for part in re.split(r";\s+|;$", text):
        part = " ".join(part.split())
        if part:
            word, _, arguments = part.partition(" ")
            found.append((word.rstrip(":"), arguments.strip()))
    return found


def anchor(heading):
    """The name that the forges give a heading."""
    text = re.sub(r"`|\*|!?\[([^\]]*)\]\([^)]*\)", lambda m: m.group(1) or "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def without_code(lines, taken):
    """The page's text with its code blocks emptied, so that line numbers stay."""
    return ["" if number in taken else line for number, line in enumerate(lines)]


def read_page(path, name):
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    page = Page(name, [], [], [], [], [], [], [])
    pending, taken, i = [], set(), 0
    paragraph_is_list = False

    def give_up_pending():
        if pending:
            page.loose.append((i + 1, pending[0][0]))
        pending.clear()

    def add(start, end, language, text):
        page.blocks.append(Block(name, start + 1, language, text, list(pending)))
        pending.clear()
        taken.update(range(start, end))

    while i < len(lines):
        line = lines[i]
        fence = re.match(r"^( {0,3})(```+|~~~+)\s*([\w+-]*)", line)
        if fence:
            end = i + 1
            while end < len(lines) and not re.match(r"^ {0,3}" + re.escape(fence.group(2)) + r"\s*$", lines[end]):
                end += 1
            add(i, end + 1, fence.group(3) or "none", lines[i + 1 : end])
            i = end + 1
            continue
        if "<!--" in line and not line.startswith("    "):
            end = i
            while "-->" not in lines[end] and end + 1 < len(lines):
                end += 1
            comment = COMMENT.search("\n".join(lines[i : end + 1]))
            if comment:
                for word, arguments in directives_of(comment.group(1)):
                    (page.page_directives if word in OF_THE_PAGE else pending).append((word, arguments))
            i = end + 1
            continue
        if re.match(r"^ {4}\S", line) and not paragraph_is_list and (i == 0 or not lines[i - 1].strip() or "-->" in lines[i - 1]):
            end = i
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            add(i, end, "sh", [text[4:] for text in lines[i:end]])
            i = end
            continue
        if line.strip():
            give_up_pending()
            heading = re.match(r"^#{1,6}\s+(.*?)\s*#*$", line)
            if heading:
                page.headings.append(anchor(heading.group(1)))
            paragraph_is_list = bool(re.match(r"^\s*([-*+]|\d+[.)])\s", line)) or (paragraph_is_list and line.startswith(" "))
        i += 1
    give_up_pending()

    prose = "\n".join(without_code(lines, taken))
    prose = re.sub(r"<!--.*?-->", lambda m: re.sub(r"[^\n]", " ", m.group(0)), prose, flags=re.S)

    def at(match):
        return prose.count("\n", 0, match.start()) + 1

    page.inline = [(at(m), " ".join(m.group(1).split())) for m in INLINE_CODE.finditer(prose)]
    bare = INLINE_CODE.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), prose)
    page.pictures = [(at(m), m.group(1)) for m in PICTURE.finditer(bare)]
    page.links = [(at(m), m.group(1)) for m in LINK.finditer(bare)]
    return page
