"""The gate of scripts/assurance: faults are planted, one at a time, in a copy of the checkout, and the test that is there for such a
fault must fail and name the place. Beforehand each of these tests passes on the copy as it is.
"""
import os
import shutil
import subprocess
import time

PAGE = 'docs/bundle.md'


def change(file, before, after):
    """A fault that puts `after` in the place of `before` in a file; before None: at its end."""
    def plant(root):
        path = os.path.join(root, file)
        with open(path, encoding='utf-8') as source:
            text = source.read()
        assert before is None or before in text, '%s no longer holds %r: plant the fault elsewhere' % (file, before)
        with open(path, 'w', encoding='utf-8') as target:
            target.write(text + after if before is None else text.replace(before, after, 1))
    return plant


# The checksum of a PNG's chunk, among the readers that the fuzz targets have with sanitizers.
READER = 'src/image/png_text.cpp'
CHECKSUM = '  std::uint32_t crc = 0xffffffffU;\n'
TARGET_OF = {'Fuzz': 'tessera_fuzz_sanitized', 'Sanitized': 'tessera_test_tokens'}  # what must be built before a test

# name: (what is planted, the test, words of its output that show that this fault is what it found)
FAULTS = {
    'format': (change('src/tokens/windows.cpp', 'namespace tessera {\n', 'namespace tessera {\nint   planted( );\n'),
               'Style.SourcesAreFormatted', 'src/tokens/windows.cpp:'),
    'tidy': (change('src/tokens/windows.cpp', 'namespace tessera {\n', 'namespace tessera {\n\nint planted(double x) {\n  return x;\n}\n'),
             'Style.ChangedSourcesAreTidy', 'bugprone-narrowing-conversions'),
    'header': (change('src/canvas/stitch.cpp', '#include "runtime/bounded_json.h"\n', ''),
               'Style.ChangedSourcesCompileByThemselves', 'src/canvas/stitch.cpp does not compile by itself'),
    'direction': (change('src/tokens/windows.cpp', '#include "tokens/windows.h"\n', '#include "tokens/windows.h"\n#include "server/service.h"\n'),
                  'Architecture.IncludesFollowTheDeclaredDependencies', 'tokens may not include server'),
    'leak': (change('src/tokens/windows.cpp', '  std::vector<std::int64_t> starts = {0};\n',
                    '  std::vector<std::int64_t> starts = {0};\n  *static_cast<volatile double*>(new double) = 1;\n'),
             'Sanitized.NothingLeaksIn_tokens', 'LeakSanitizer: detected memory leaks'),
    'end': (change(READER, '& 0xff] ^ (crc >> 8)', '& 0x1ff] ^ (crc >> 8)'),
            'Fuzz.TheCorpusOf_image_IsReadWithoutAFault', 'out of bounds for type'),
    'overflow': (change(READER, CHECKSUM, CHECKSUM + '  volatile int planted = 0x7fffffff;\n  planted = planted + 1;\n'),
                 'Fuzz.TheCorpusOf_image_IsReadWithoutAFault', 'signed integer overflow'),
    'page': (change(PAGE, None, '\nOnce more:\n\n    tessera generate -m models/emoji64 -n 1 --steps 2 --sampler eulr --output out/planted.png\n'),
             'Documentation.EveryCommandBlockDoesWhatThePagesShow', 'eulr'),
}


class Copy:
    """The checkout with what is not committed, as a repository of its own, and configured."""

    def __init__(self, root, program, folder):
        self.root, self.program, self.build = os.path.join(folder, 'checkout'), os.path.abspath(program), os.path.join(folder, 'checkout', 'build', 'release')
        listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '-z'], cwd=root, check=True, capture_output=True).stdout.decode()
        for name in filter(None, listed.split('\0')):
            if os.path.exists(os.path.join(root, name)):
                os.makedirs(os.path.dirname(os.path.join(self.root, name)), exist_ok=True)
                shutil.copy2(os.path.join(root, name), os.path.join(self.root, name), follow_symlinks=False)
        os.environ.pop('TESSERA_SINCE', None)  # here the landing is the planted fault
        self.git('init', '-q')
        self.commit('as it is')
        self.call('cmake', '-S', '.', '-B', self.build, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Release', '-DTESSERA_BUILD_TESTS=ON', '-DTESSERA_BUILD_FUZZ=ON')

    def git(self, *words):
        self.call('git', '-c', 'user.name=gate', '-c', 'user.email=gate@localhost', *words)

    def call(self, *words):
        subprocess.run(words, cwd=self.root, check=True, stdout=subprocess.DEVNULL)

    def commit(self, subject):
        self.git('add', '-A')
        self.git('commit', '-q', '-m', subject)

    def outcome(self, test):
        """(whether it passed, what it said). Of the pages' test the one page is run, as it runs every page."""
        if test.startswith('Documentation.'):
            words = [os.path.join(self.root, 'tests', 'docs', 'run'), self.program, PAGE]
        else:
            target = TARGET_OF.get(test.partition('.')[0])
            if target:
                built = subprocess.run(['cmake', '--build', self.build, '--parallel', os.environ.get('JOBS', '2'), '--target', target],
                                       capture_output=True, text=True)
                assert built.returncode == 0, built.stdout[-3000:]
            words = ['ctest', '--test-dir', self.build, '-R', '^' + test.replace('.', '[.]'), '--output-on-failure', '--no-tests=error', '--parallel', '2']
        done = subprocess.run(words, cwd=self.root, capture_output=True, text=True, errors='replace')
        return done.returncode == 0 and 'Skipped' not in done.stdout, done.stdout + done.stderr


def gate(root, program, folder, wanted):
    """Prints a line for each fault; returns how many were not found."""
    copy, missed, passed = Copy(root, program, folder), 0, {}
    wanted = wanted or list(FAULTS)
    for name in wanted:
        plant, test, words = FAULTS[name]
        if test not in passed:
            began = time.time()
            passed[test], said = copy.outcome(test)
            print('%-9s %s: %s without a fault, %.0f s' % ('', test, 'passes' if passed[test] else 'FAILS', time.time() - began), flush=True)
            if not passed[test]:
                print(said[-3000:])
        plant(copy.root)
        copy.commit('planted: ' + name)
        began = time.time()
        held, said = copy.outcome(test)
        found = not held and words in said
        print('%-9s %s: %s, %.0f s' % (name, test, 'fails: ' + words if found else 'DOES NOT FIND IT', time.time() - began), flush=True)
        if not found:
            print(said[-3000:])
        missed += not (found and passed[test])
        copy.git('reset', '-q', '--hard', 'HEAD~1')
    print('%d faults planted, %d missed' % (len(wanted), missed))
    return missed
