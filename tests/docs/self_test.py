#!/usr/bin/env python3
"""The documentation test finds what it is there to find: small pages with one fault each, run against the real program.

usage: self_test.py PROGRAM
"""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None
FACE = "models/emoji64/examples/emoji_u1f9d0.png"
MADE = f"tessera inpaint -m models/emoji64 -i {FACE} --size 64 --box 16,36,8,8 --steps 2 --sampler confidence --seed 1 --output made.png"


class FindsFaults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A repository of the models, the test itself, and one page at a time."""
        cls.folder = Path(tempfile.mkdtemp(prefix="tessera-docs-self-"))
        shutil.copytree(ROOT / "models/emoji64", cls.folder / "models/emoji64")
        shutil.copytree(HERE, cls.folder / "tests/docs", ignore=shutil.ignore_patterns("__pycache__"))
        (cls.folder / "docs").mkdir()
        for name in ("CMakeLists.txt", "CMakePresets.json"):
            shutil.copy2(ROOT / name, cls.folder / name)
        (cls.folder / "cmake").mkdir()
        made = MADE.replace("tessera", str(PROGRAM), 1).split()
        subprocess.run(made, cwd=cls.folder, check=True, capture_output=True)
        (cls.folder / "made.png").rename(cls.folder / "docs/shown.png")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_page(self, text, *flags):
        (self.folder / "docs/page.md").write_text(text)
        run = subprocess.run([sys.executable, self.folder / "tests/docs/run", PROGRAM, "docs/page.md", "--help-texts", self.folder / "help.json", *flags], capture_output=True, text=True)
        return run.returncode, run.stdout + run.stderr

    def finds(self, text, words, *flags):
        status, output = self.run_page(text, *flags)
        self.assertEqual(status, 1, output)
        self.assertIn(words, output)

    def passes(self, text, words="", *flags):
        status, output = self.run_page(text, *flags)
        self.assertEqual(status, 0, output)
        self.assertIn(words, output)

    def test_a_page_without_faults_passes(self):
        self.passes("# Page\n\nSee [here](#page).\n\n    tessera --version\n", "1 blocks ran")

    def test_a_command_that_fails(self):
        self.finds("# Page\n\n    tessera info nothing-there\n", "exit status 1")

    def test_what_a_block_sets_is_there_in_the_next(self):
        self.passes("# Page\n\n    folder=models/emoji64; cd models\n\nThen\n\n    test -d ../$folder && tessera info emoji64\n")

    def test_an_unknown_flag_in_a_block_that_is_skipped(self):
        self.finds("# Page\n\n<!-- test: skip: takes long -->\n\n    tessera generate -m models/emoji64 --stepz 3\n", "no flag '--stepz'", "--list")

    def test_a_verb_that_is_not_there_in_running_text(self):
        self.finds("# Page\n\nSay `tessera generat -n 3`.\n", "no verb 'generat'", "--list")

    def test_a_flag_that_no_verb_has_in_running_text(self):
        self.finds("# Page\n\nSay `--stepz`.\n", "--stepz: no verb has this flag", "--list")

    def test_a_skip_without_a_reason(self):
        self.finds("# Page\n\n<!-- test: skip -->\n\n    tessera --version\n", "skip without a reason", "--list")

    def test_a_script_that_is_not_there(self):
        self.finds("# Page\n\n<!-- test: skip: takes long -->\n\n    scripts/nothing-there now\n", "scripts/nothing-there: no such file", "--list")

    def test_a_link_and_a_heading_that_are_not_there(self):
        self.finds("# Page\n\n[a](other.md)\n", "other.md: no such file", "--list")
        self.finds("# Page\n\n[a](#other)\n", "has no such heading", "--list")

    def test_a_fence_without_a_language(self):
        self.finds("# Page\n\n```\ntessera --version\n```\n", "without a language", "--list")

    def test_a_comment_that_no_block_follows(self):
        self.finds("# Page\n\n<!-- test: small -n 1 -->\n\nWords.\n", "and none follows", "--list")

    def test_small_with_a_flag_that_no_command_has(self):
        self.finds("# Page\n\n<!-- test: small --stepz 3 -->\n\n    tessera --version\n", "small --stepz")

    def test_a_picture_of_no_command(self):
        self.finds("# Page\n\n![](shown.png)\n", "which this page does not have", "--list")

    def test_a_picture_of_another_command(self):
        page = f"# Page\n\n<!-- test: skip: takes long; picture made.png = docs/shown.png -->\n\n    {MADE}\n\n![](shown.png)\n"
        self.passes(page, "", "--list")
        self.finds(page.replace("16,36,8,8", "20,36,8,8"), "it differs in typed --box 20,36,8,8; recorded --box 16,36,8,8", "--list")
        self.finds(page.replace("--size 64 ", ""), "recorded --size 64", "--list")

    def test_a_picture_that_comes_out_otherwise(self):
        page = f"# Page\n\n<!-- test: picture made.png = docs/shown.png -->\n\n    {MADE}\n\n![](shown.png)\n"
        self.passes(page, "1 pictures compared")
        self.finds(page.replace(FACE, "other.png").replace("    tessera", "    cp models/emoji64/examples/emoji_u1f683.png other.png\n    tessera"),
                   "made.png", )

    def test_pixels_that_differ(self):
        """The same record over other pixels."""
        shown = self.folder / "docs/shown.png"
        kept = shown.read_bytes()
        spoil = self.folder / "spoil.png"
        other = MADE.replace("tessera", str(PROGRAM), 1).replace(FACE, "models/emoji64/examples/emoji_u1f683.png").replace("made.png", "spoil.png").split()
        subprocess.run(other, cwd=self.folder, check=True, capture_output=True)
        shown.write_bytes(with_record_of(spoil, shown))
        try:
            self.finds(f"# Page\n\n<!-- test: picture made.png = docs/shown.png -->\n\n    {MADE}\n\n![](shown.png)\n", "of its 8x8 squares differ")
        finally:
            shown.write_bytes(kept)
            spoil.unlink()

    def test_numbers_that_were_printed_otherwise(self):
        page = "# Page\n\n    echo mean 25.18 dB\n\n<!-- test: prints within 1 % -->\n\n```text\nmean {} dB\n```\n"
        self.passes(page.format("25.1"), "printed as shown")
        self.finds(page.format("24.0"), "was not printed")

    def test_a_server_answers_and_ends(self):
        self.passes("# Page\n\n    tessera serve -m models/emoji64\n\nThen\n\n    curl -fsS http://127.0.0.1:8080/healthz\n", "2 blocks ran")


def with_record_of(pixels, record):
    """The PNG `pixels` with the text chunks of `record` in place of its own."""
    def parts(data):
        at = 8
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            yield data[at + 4 : at + 8], data[at : at + 12 + length]
            at += 12 + length

    texts = [chunk for kind, chunk in parts(record.read_bytes()) if kind in (b"tEXt", b"iTXt")]
    own = [(kind, chunk) for kind, chunk in parts(pixels.read_bytes()) if kind not in (b"tEXt", b"iTXt")]
    return b"\x89PNG\r\n\x1a\n" + own[0][1] + b"".join(texts) + b"".join(chunk for _, chunk in own[1:])


if __name__ == "__main__":
    if PROGRAM is None:
        sys.exit(__doc__.strip())
    unittest.main(verbosity=1)
