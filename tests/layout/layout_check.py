#!/usr/bin/env python3
"""The rules of the house that no compiler checks, as a test.

    layout_check.py [--build DIR] [--rule NAME]... [ROOT]

Each complaint is one line, FILE:LINE: RULE: what is wrong. The exit status is 1 when there is
one. With --build the objects of that build tree are looked at too: what the pure folders reach.
Needs universal-ctags, clang-format and nm. Each rule is proved by a planted violation in
test_layout.py.
"""
import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gen_docs  # noqa: E402

# Who may include whom, bottom up. A folder may always include itself; tests may include
# tests/support as well. Parts of node (PARTS) are libraries of their own, without the daemon.
MAY = {
    "base": [],
    "proto": ["base"],
    "spool": ["base", "proto"],
    "replication": ["base", "proto"],
    "node/smtp": ["base", "proto"],
    "node/policy": ["base", "proto", "node/smtp"],
    "node/delivery": ["base", "proto", "node/smtp"],
    "node/net": ["base", "proto", "node/smtp", "node/delivery"],
    "node/admin": ["base", "proto"],
    "node/config": ["base"],
    "node/idn": ["base"],
    "node/control_core": ["base", "proto", "spool", "replication"],
    "node/identity": ["base", "proto", "spool", "replication", "node/net", "node/control_core"],
    "node": ["base", "proto", "spool", "replication", "node/smtp", "node/policy",
             "node/delivery", "node/net", "node/admin", "node/config", "node/idn",
             "node/control_core", "node/identity"],
    "cluster-tools/common": ["base"],
    "cluster-tools/load": ["base", "cluster-tools/common"],
    "cluster-tools/sink": ["base", "cluster-tools/common"],
    "cluster-tools": ["base", "proto", "spool", "node/config", "node/idn", "node/identity",
                      "cluster-tools/common"],
}
# Files of a folder that count as one of their own.
PARTS = {
    "node/config": re.compile(r"node/config\w*\.[ch]"),
    "node/idn": re.compile(r"node/idn\w*\.[ch]"),
    "node/control_core": re.compile(r"node/(control_core|lease_view)\w*\.[ch]"),
    "node/identity": re.compile(r"node/identity\w*\.[ch]"),
}
# Libraries that have one home each (header prefix: folders), so that they can be replaced.
LIBRARIES = {
    "lmdb.h": ["spool"],
    "yaml.h": ["base"],
    "idn2.h": ["node/idn"],
    "protobuf-c/": ["proto"],
    "ares": ["node/net"],
    "arpa/nameser.h": ["node/net"],
    "resolv.h": ["node/net"],
    "zmq.h": ["node/net"],
    "raft": ["replication"],
    "event2/": ["node/net", "node/admin", "node"],
    "openssl/": ["node/net", "node", "cluster-tools"],
    "jansson.h": ["node/admin", "cluster-tools"],
    "systemd/": ["node"],
}
TESTED = ["base", "proto", "spool", "replication", "node/smtp", "node/policy", "node/delivery"]
PURE = ["node/smtp", "node/policy", "node/delivery", "replication"]
# What a pure module may reach of libc: text and memory that it was given.
PURE_LIBC = set("""
    memchr memcmp memcpy memmem memmove memset memrchr mempcpy bcmp strcasecmp strchr strcmp
    strcspn strlen strncasecmp strncmp strnlen strrchr strspn strstr snprintf vsnprintf qsort
    bsearch abs llabs inet_ntop inet_pton htonl htons ntohl ntohs gmtime_r timegm
    __snprintf_chk __vsnprintf_chk __memcpy_chk __memset_chk __memmove_chk __stack_chk_fail
    __errno_location _GLOBAL_OFFSET_TABLE_
""".split())
PURE_PREFIXES = ("__asan_", "__ubsan_", "__tsan_", "__sanitizer_", "__sancov_", "__llvm_",
                 "__gcov_", "__msan_", "XXH")
# Counted memory with a ceiling that its owner sets (of blobs: the queue that holds them), and the
# assertion's last words.
ALLOCATORS = {"base/arena.c", "base/blob.c", "base/pool.c", "base/map.c", "base/heap.c"}
# The adapter of the Raft engine: libraft does no I/O when it is stepped; its heap is its own.
ENGINE = {"replication/consensus.c", "replication/consensus_engine.c"}
# protobuf-c and what it generates: given the memory that they use, they reach nothing else.
GENERATED = re.compile(r"\w+__(init|pack|unpack|get_packed_size)|protobuf_c_\w+")
HEAP = {"malloc", "calloc", "realloc", "reallocarray", "free"}
LAST_WORDS = {"base/assert.c": {"fprintf", "abort", "stderr", "fflush", "__fprintf_chk"}}
BANNED = re.compile(r"\b(strcpy|stpcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atoll|atof|"
                    r"alloca|setjmp|longjmp|sigsetjmp|siglongjmp|popen|system)\s*\(")
SLEEP = re.compile(r"\b(sleep|usleep|nanosleep)\s*\(")
FUNCTION_LINES, FILE_LINES = 70, 900
CLANG_FORMAT = 14  # of Debian 12; other versions break lines in other places
SKIP_DIRS = re.compile(r"^(\.git|build|build-.*|run|__pycache__|\.cache)$")
WORDS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b")
TEST = re.compile(r"_(test|fuzz|bench)\.c$")


class Tree:
    """The files of a checkout; text is read once."""

    def __init__(self, root, build=None):
        self.root, self.build = Path(root).resolve(), build and Path(build).resolve()
        self.files, self.texts, self.codes, self.users = [], {}, {}, None
        todo = [self.root]
        while todo:
            for p in sorted(todo.pop().iterdir()):
                if p.is_symlink() or p == self.build:
                    continue
                if p.is_dir():
                    if not SKIP_DIRS.match(p.name):
                        todo.append(p)
                elif p.is_file():
                    self.files.append(p.relative_to(self.root).as_posix())
        self.files.sort()
        self.c = [f for f in self.files if re.search(r"\.[ch]$", f)]

    def text(self, f):
        if f not in self.texts:
            data = (self.root / f).read_bytes()
            self.texts[f] = "" if b"\0" in data else data.decode(errors="replace")
        return self.texts[f]

    def code(self, f):
        """The text with comments and what stands in quotes blanked out."""
        if f not in self.codes:
            self.codes[f] = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                                   lambda m: re.sub(r"[^\n]", " ", m[0]), self.text(f),
                                   flags=re.S)
        return self.codes[f]

    def prose(self, f):
        """What is written for people: comments of code, pages as a whole; the rest blanked out."""
        if re.search(r"\.[ch]$", f):
            keep, text = self.code(f), self.text(f)
            quotes = re.sub(r'/\*.*?\*/|//[^\n]*', lambda m: re.sub(r"[^\n]", " ", m[0]), text,
                            flags=re.S)
            return "".join(b if a == " " and q == " " else (b if b == "\n" else " ")
                           for a, b, q in zip(keep, text, quotes))
        if f.endswith((".md", ".scd")):
            return self.text(f)
        return re.sub(r"(?m)^[^#\n]*", lambda m: " " * len(m[0]), self.text(f))

    def is_test(self, f):
        """Tests, fuzzers, benches, and the headers that nobody else includes."""
        if self.users is None:
            self.users = {}
            for c in self.c:
                for m in re.finditer(r'^#include "([^"]+)"', self.text(c), re.M):
                    self.users.setdefault(m[1], []).append(c)
        if TEST.search(f) or f.startswith("tests/"):
            return True
        return f.endswith(".h") and f[:-1] + "c" not in self.files and f in self.users and \
            all(self.is_test(u) for u in self.users[f] if u != f)

    def run(self, *command):
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def home(path):
    """The folder of MAY that a file, or the target of an include, belongs to."""
    for part, files in PARTS.items():
        if files.fullmatch(path):
            return part
    return max((d for d in MAY if path.startswith(d + "/")), key=len, default=None)


def libraries_of(d):
    return [p for p, folders in LIBRARIES.items()
            if not any(d == f or (f == "cluster-tools" and d.startswith(f)) for f in folders)]


def rule_include(t):
    """Folders include downwards only, and each library has one home."""
    for f in t.c:
        d = home(f)
        for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', t.text(f), re.M):
            quoted, name, line = m[1] == '"', m[2], line_of(t.text(f), m.start())
            generated = name.endswith(".pb-c.h")
            if generated and d != "proto":
                yield f, line, f"{name}: only proto may see the generated types"
            if quoted and "/" not in name and not generated:
                yield f, line, f'"{name}": name it from the root, "folder/{name}"'
            if not d:
                continue
            to = home(name) if quoted and "/" in name else None
            if to and to != d and to not in MAY[d]:
                yield f, line, f"{d} may not include {to}"
            if quoted and name.startswith("tests/") and not t.is_test(f):
                yield f, line, f"only tests may include {name}"
            if not quoted and any(name.startswith(p) for p in libraries_of(d)):
                yield f, line, f"<{name}> has its home elsewhere"


def module_names(t):
    """CMake's names of modules: the folder they stand for."""
    names = {}
    for f in t.files:
        if f.endswith("CMakeLists.txt"):
            for m in re.finditer(r"trispool_module\((\w+)([^)]*)\)", t.text(f)):
                only = re.search(r"ONLY\s+(\w+)", m[2])
                folder = f.rpartition("/")[0]
                names[m[1]] = f"{folder}/{only[1]}" if only else folder
    return names


def place_of(d):
    """The folder of MAY that a module of module_names() belongs to."""
    return d if d in MAY else home(d + "/x")


def rule_link(t):
    """What a module links is what it may include."""
    names = module_names(t)
    for f in t.files:
        if not f.endswith("CMakeLists.txt"):
            continue
        for m in re.finditer(r"trispool_module\((\w+)([^)]*)\)", t.text(f)):
            d = names[m[1]]
            depends = re.search(r"DEPENDS\s+([\w\s]*?)(?=\s*(?:LIBS|SOURCES|ONLY|EXCEPT|$))", m[2])
            place = place_of(d)
            for name in depends[1].split() if depends else []:
                to = names.get(name) and place_of(names[name])
                allowed = place and to and (to == place or to in MAY[place])
                if place and not allowed:
                    yield f, line_of(t.text(f), m.start()), f"{d} may not link {name}"


def rule_size(t):
    """Functions of at most 70 lines, files of at most 900."""
    for f in t.c:
        n = t.text(f).count("\n")
        if n > FILE_LINES:
            yield f, n, f"{n} lines, more than {FILE_LINES}"
    tags = t.run("ctags", "--languages=C", "--langmap=C:.c.h", "--kinds-C=f", "--fields=ne",
                 "--sort=no", "-f-", *t.c).stdout if t.c else ""
    if t.c and not tags:
        yield t.c[0], 1, "ctags finds no function: the check itself is broken"
    for m in re.finditer(r"^(\S+)\t(\S+)\t.*\tline:(\d+)\tend:(\d+)", tags, re.M):
        n = int(m[4]) - int(m[3]) + 1
        if n > FUNCTION_LINES:
            yield m[2], int(m[3]), f"{m[1]} has {n} lines, more than {FUNCTION_LINES}"


def rule_banned(t):
    """Calls that cannot be used safely, or hide where control goes."""
    for f in t.c:
        for m in BANNED.finditer(t.code(f)):
            yield f, line_of(t.code(f), m.start()), f"{m[1]}() is banned"
        for m in SLEEP.finditer(t.code(f)):
            yield f, line_of(t.code(f), m.start()), f"{m[1]}(): wait for an event instead"


def rule_macro(t):
    """No macro hides a return or a goto."""
    for f in t.c:
        code = t.code(f)
        for m in re.finditer(r"^[ \t]*#[ \t]*define\b(?:[^\n]*\\\n)*[^\n]*", code, re.M):
            hit = re.search(r"\b(return|goto)\b", m[0])
            if hit:
                yield f, line_of(code, m.start() + hit.start()), f"a macro hides a {hit[1]}"


def rule_header(t):
    """Headers: once, with a manual on top, no typedef of structs, errors that must be looked at."""
    for f in t.c:
        code = t.code(f)
        for m in re.finditer(r"\btypedef\s+(struct|union|enum)\b\s*\w*\s*(\{|\**\s*\w+\s*;)", code):
            yield f, line_of(code, m.start()), f"typedef of a {m[1]}"
        if not f.endswith(".h"):
            continue
        if "#pragma once" not in code:
            yield f, 1, "no #pragma once"
        if not t.text(f).startswith("/*"):
            yield f, 1, "does not begin with what it is"
        for m in re.finditer(r"^extern\b[^(;]*;", code, re.M):
            yield f, line_of(code, m.start()), "a public variable"
        if re.search(r"_(internal|private)\.h$", f) or t.is_test(f):
            continue
        for m in re.finditer(r"^(?:static inline )?enum err (\w+)\(", code, re.M):
            yield f, line_of(code, m.start()), f"{m[1]}() can fail and has no MUST_CHECK"


def rule_impure(t):
    """No I/O, clock, heap or log in the pure folders: what their text says."""
    calls = re.compile(r"\b(time|gettimeofday|clock_gettime|clock_\w+|rand|random|getrandom|socket|"
                       r"read|write|open|send|recv|malloc|calloc|realloc|free|printf|fprintf|LOG|"
                       r"log_write|stat_add|stat_set|getenv|mailbox_\w+)\s*\(")
    for f in t.c:
        if home(f) in PURE and not t.is_test(f):
            for m in calls.finditer(t.code(f)):
                yield f, line_of(t.code(f), m.start()), f"{m[1]}() in a pure folder"


class Objects:
    """What the objects of a build define and need; tests are left out."""

    def __init__(self, t):
        self.needs, self.definer, self.data, self.state = {}, {}, [], []
        paths = {}
        for p in sorted(t.build.rglob("*.c.o")):
            m = re.fullmatch(r"(?:(.*)/)?CMakeFiles/[^/]+\.dir/(.*\.c)\.o",
                             p.relative_to(t.build).as_posix())
            source = m and "/".join(x for x in (m[1], m[2]) if x)
            if source and not TEST.search(source) and (t.root / source).exists():
                paths[str(p)] = source
                self.needs[source] = set()
        out = t.run("nm", "-A", "-P", *paths).stdout if paths else ""
        for m in re.finditer(r"^(.*): (\S+) (\w)\b", out, re.M):
            source = paths[m[1]]
            if m[3] == "U":
                self.needs[source].add(m[2])
            elif m[3].isupper() or m[3] in "vw":
                self.definer[m[2]] = source
            if m[3] in "BDCG" and not m[2].startswith(("__", "_GLOBAL")):
                self.data.append((source, m[2]))
            if m[3] == "b" and not m[2].startswith("_"):
                self.state.append((source, m[2]))


def is_allowed(source, symbol):
    return (symbol in PURE_LIBC or symbol.startswith(PURE_PREFIXES)
            or (source in ALLOCATORS and symbol in HEAP)
            or (source.startswith("proto/") and GENERATED.fullmatch(symbol))
            or (source in ENGINE and symbol.startswith("raft_"))
            or symbol in LAST_WORDS.get(source, ()))


def rule_pure(t):
    """What the objects of the pure folders need, and all that they reach by it (nm -u)."""
    if not t.build:
        return
    o = Objects(t)
    for d in PURE:
        if any(home(f) == d and f.endswith(".c") and not TEST.search(f) for f in t.c) and \
                not any(home(s) == d for s in o.needs):
            yield d, 1, f"no objects of it in {t.build.name}: build first"
    for source, symbol in o.state:
        if home(source) in PURE:
            yield source, 1, f"{symbol}: a pure module keeps no state of its own"
    for first in sorted(s for s in o.needs if home(s) in PURE):
        seen, todo = {first}, [(first, first)]
        while todo:
            source, way = todo.pop()
            for symbol in sorted(o.needs[source]):
                to = o.definer.get(symbol)
                if to is None and not is_allowed(source, symbol):
                    yield first, 1, f"reaches {symbol}, by {way}"
                elif to is not None and to not in seen:
                    seen.add(to)
                    todo.append((to, f"{way} -> {to}"))


def rule_global(t):
    """No public variable."""
    for source, symbol in Objects(t).data if t.build else []:
        yield source, 1, f"{symbol} is a public variable"


def module_of(t, f):
    """x_part.c without a header of its own is a part of the module x that has one."""
    stem = f[:-2]
    while stem + ".h" not in t.files and "_" in stem.rpartition("/")[2]:
        stem = stem.rpartition("_")[0]
    return stem if stem + ".h" in t.files else f[:-2]


def rule_test(t):
    """Each module has a test of its name, or one that names its file."""
    tests = [f for f in t.c if f.endswith("_test.c")]
    for f in t.c:
        folder, _, name = f.rpartition("/")
        if folder not in TESTED or not f.endswith(".c") or TEST.search(f) or \
                name.endswith("_main.c"):
            continue
        own = re.compile(re.escape(module_of(t, f)) + r"(_\w+)?_test\.c")
        beside = [x for x in tests if x.rpartition("/")[0] == folder]
        if not any(own.fullmatch(x) or re.search(rf"\b{re.escape(name)}\b", t.text(x))
                   for x in beside):
            yield f, 1, "has no test"


def rule_path(t):
    """No path of the machine it was written on."""
    general = {"", "tmp", "usr", "opt", "srv", "var", "home", "root", "src", "mnt", "media", "build",
               "etc", "run", "proc", "sys", "dev", "data", "repo"}
    places = [re.escape(str(t.root))]
    if t.root.parent.name not in general:
        places.append(re.escape(str(t.root.parent)) + "/")
    pattern = re.compile(r"(?<![\w.}$)/*-])(" + "|".join(places) +
                         r"|/(?:home|Users)/[a-z]\w*/|/root/\w)")
    for f in t.files:
        if f.startswith("tests/corpus/"):
            continue
        for m in pattern.finditer(t.text(f)):
            yield f, line_of(t.text(f), m.start()), f"a path of this machine: {m[1]}"


def rule_word(t):
    """Nothing is left for later."""
    for f in t.files:
        if f.startswith("tests/corpus/"):
            continue
        for m in WORDS.finditer(t.prose(f)):
            yield f, line_of(t.text(f), m.start()), f"{m[1]}: do it, or say why not"


def rule_table(t):
    """Each limit, event and metric of the tables is used somewhere."""
    used = set()
    for f in t.c:
        if not TEST.search(f):
            text = t.code(f)
            if f == "base/limits.h":  # a limit may be made from others
                text = re.sub(r"(?m)^#define\s+LIMIT_\w+", "", text)
                text = re.sub(r"(?s)static_assert\(.*?;", "", text)
            used.update(re.findall(r"\b(?:LIMIT|EV|STAT)_\w+", text))
    for f, pattern, prefix in (("base/limits.h", r"^#define\s+(LIMIT_\w+)", ""),
                               ("base/log_events.def", r"^X\((\w+)", "EV_"),
                               ("base/stats.def", r"^X\((\w+)", "STAT_")):
        if f in t.files:
            for m in re.finditer(pattern, t.text(f), re.M):
                if prefix + m[1] not in used:
                    yield f, line_of(t.text(f), m.start()), f"{prefix}{m[1]} is used nowhere"


def rule_docs(t):
    """The pages made from tables say what the tables say; operators find every alarm."""
    for page, source in gen_docs.old_pages(t.root):
        yield page, 1, f"does not say what {source} says: run tests/layout/gen_docs.py"
    events, page = "base/log_events.def", "docs/operations.md"
    if events in t.files and page in t.files:
        for m in re.finditer(r"^X\((\w+), ALARM", t.text(events), re.M):
            if f"| `{m[1].lower()}` |" not in t.text(page):
                yield page, 1, f"does not say what to do about the alarm {m[1].lower()}"


def rule_format(t):
    """clang-format has nothing to change."""
    version = re.search(r"version (\d+)", t.run("clang-format", "--version").stdout)
    if int(version[1]) != CLANG_FORMAT:
        print(f"layout: format is not checked: clang-format {version[1]}, not {CLANG_FORMAT}")
        return
    for i in range(0, len(t.c), 100):
        out = t.run("clang-format", "--dry-run", *t.c[i:i + 100]).stderr
        worst = {}
        for m in re.finditer(r"^(.*?):(\d+):\d+: warning: code should be clang-formatted", out,
                             re.M):
            worst.setdefault(m[1], int(m[2]))
        for f, line in worst.items():
            yield f, line, "clang-format -i would change this"


RULES = {name[5:]: f for name, f in list(globals().items()) if name.startswith("rule_")}


def check(root, build=None, rules=None):
    """(rule, complaint) for each."""
    t = Tree(root, build)
    for name in rules or RULES:
        for f, line, text in sorted(set(RULES[name](t))):
            yield name, f"{f}:{line}: {name}: {text}"


def main():
    p = argparse.ArgumentParser(description="checks the rules of the house")
    p.add_argument("--build", help="a build tree whose objects are looked at")
    p.add_argument("--rule", action="append", choices=sorted(RULES))
    p.add_argument("root", nargs="?", default=Path(__file__).resolve().parents[2])
    a = p.parse_args()
    for tool in ("ctags", "clang-format", "nm"):
        if not shutil.which(tool):
            print(f"layout: {tool} is not installed")
            return 1
    found = list(check(a.root, a.build, a.rule))
    bad = {name for name, _ in found}
    for _, line in found:
        print(line)
    for name in a.rule or RULES:
        print(f"{'failed' if name in bad else 'ok'} {name}: {RULES[name].__doc__.strip()}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
