#!/usr/bin/env python3
"""Each rule of layout_check.py finds a planted violation, where it is, and nothing in a clean
tree. Run by itself or by pytest; needs gcc, ctags, clang-format, nm."""
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import gen_docs  # noqa: E402
import layout_check  # noqa: E402

CLEAN = {
    "base/err.h": "/* err: what went wrong. */\n#pragma once\n\nenum err { OK, E_IO };\n",
    "base/str.h": "/* str: bytes. */\n#pragma once\n\nint str_sum(const char *p, int n);\n",
    "base/str.c": '#include "base/str.h"\n\nint str_sum(const char *p, int n)\n{\n'
                  "    int sum = 0;\n\n    while (n-- > 0)\n        sum += *p++;\n"
                  "    return sum;\n}\n",
    "base/str_test.c": '#include "base/str.h"\n\nint main(void)\n{\n'
                       '    return str_sum("", 0);\n}\n',
    "node/smtp/x.h": "/* x: a machine. */\n#pragma once\n\nint x_step(int state);\n",
    "node/smtp/x.c": '#include "node/smtp/x.h"\n\n#include <string.h>\n\n#include "base/str.h"\n'
                     "\nint x_step(int state)\n{\n    char buf[9];\n\n"
                     "    memset(buf, state, sizeof buf);\n"
                     "    return str_sum(buf, (int)sizeof buf);\n}\n",
    "node/smtp/x_test.c": '#include "node/smtp/x.h"\n\nint main(void)\n{\n'
                          "    return x_step(0);\n}\n",
    "base/CMakeLists.txt": "trispool_module(base)\n",
    "node/smtp/CMakeLists.txt": "trispool_module(node_smtp DEPENDS base LIBS PkgConfig::X)\n",
    "spool/CMakeLists.txt": "trispool_module(spool DEPENDS base)\n",
    "docs/a.md": "A page. See /etc/trispool/trispool.yaml and lib/work/x.\n",
}


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="layout-"))
        self.root = self.dir / "checkout" / "tree"
        for name, text in CLEAN.items():
            self.put(name, text)
        shutil.copy(HERE.parents[1] / ".clang-format", self.root / ".clang-format")
        self.build = self.dir / "objects"

    def tearDown(self):
        shutil.rmtree(self.dir)

    def put(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def add(self, name, text):
        """Behind what the file has; returns the number of the first new line."""
        before = (self.root / name).read_text() if (self.root / name).exists() else ""
        self.put(name, before + text)
        return before.count("\n") + 1

    def compile(self):
        for source in sorted(self.root.rglob("*.c")):
            name = source.relative_to(self.root)
            module = str(name.parent).replace("/", "_")
            out = self.build / name.parent / "CMakeFiles" / f"{module}.dir" / f"{name.name}.o"
            out.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["gcc", "-std=gnu11", f"-I{self.root}", "-fPIE", "-c", str(source),
                            "-o", str(out)], check=True)

    def complaints(self, rule, with_build=False):
        return [line for _, line in
                layout_check.check(self.root, self.build if with_build else None, [rule])]

    def expect(self, rule, *lines, with_build=False):
        self.assertEqual(self.complaints(rule, with_build), [f"{line}" for line in lines])


class CleanTree(Case):
    def test_a_clean_tree_has_no_complaints(self):
        self.compile()
        self.assertEqual(list(layout_check.check(self.root, self.build)), [])

    def test_every_rule_has_a_planted_violation_here(self):
        text = Path(__file__).read_text()
        for rule in layout_check.RULES:
            self.assertIn(f'self.expect("{rule}", ', text)

    def test_the_program_prints_a_verdict_for_each_rule_and_fails_with_one(self):
        def run():
            return subprocess.run([sys.executable, str(HERE / "layout_check.py"), str(self.root)],
                                  capture_output=True, text=True)

        done = run()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(done.stdout.count("ok "), len(layout_check.RULES))
        n = self.add("base/str.c", "\nvoid f(char *p)\n{\n    gets(p);\n}\n")
        done = run()
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"base/str.c:{n + 3}: banned: gets() is banned\n", done.stdout)
        self.assertIn("\nfailed banned: ", done.stdout)
        self.assertIn("\nok size: ", done.stdout)

    def test_builds_and_other_trees_are_not_looked_at(self):
        self.put("build/a.c", "void f(void) { gets(0); }\n")
        self.put("build-me/b.c", "void f(void) { gets(0); }\n")
        self.put(".git/c.c", "void f(void) { gets(0); }\n")
        self.assertEqual(self.complaints("banned"), [])


class Include(Case):
    def test_upwards(self):
        n = self.add("base/str.c", '#include "node/smtp/x.h"\n')
        self.expect("include", f"base/str.c:{n}: include: base may not include node/smtp")

    def test_sideways(self):
        self.put("spool/s.h", '/* s */\n#pragma once\n\n#  include "replication/r.h"\n')
        self.expect("include", "spool/s.h:4: include: spool may not include replication")

    def test_tests_keep_the_layers_too(self):
        n = self.add("node/smtp/x_test.c", '#include "tests/support/a.h"\n'
                                           '#include "spool/spool.h"\n')
        self.expect("include", f"node/smtp/x_test.c:{n + 1}: include: node/smtp may not include spool")

    def test_support_of_tests_in_the_product(self):
        n = self.add("node/smtp/x.c", '#include "tests/support/a.h"\n')
        self.expect("include", f"node/smtp/x.c:{n}: include: only tests may include tests/support/a.h")

    def test_a_name_without_its_folder(self):
        n = self.add("base/str.c", '#include "err.h"\n')
        self.expect("include", f'base/str.c:{n}: include: "err.h": name it from the root, "folder/err.h"')

    def test_a_library_away_from_home(self):
        n = self.add("base/str.c", "#include <lmdb.h>\n")
        self.put("spool/s.c", "#include <lmdb.h>\n")
        self.expect("include", f"base/str.c:{n}: include: <lmdb.h> has its home elsewhere")

    def test_generated_types(self):
        n = self.add("node/smtp/x.c", '#include "proto/record.pb-c.h"\n')
        self.put("proto/p.c", '#include "record.pb-c.h"\n')
        self.expect("include", f"node/smtp/x.c:{n}: include: proto/record.pb-c.h: only proto may see "
                    "the generated types")

    def test_settings_stand_below_the_daemon(self):
        self.put("node/config.c", '#include "base/str.h"\n#include "node/writer.h"\n')
        self.put("cluster-tools/cli/a.c", '#include "node/config.h"\n#include "node/node.h"\n')
        self.put("node/main.c", '#include "node/config.h"\n#include "spool/s.h"\n')
        self.expect("include", "cluster-tools/cli/a.c:2: include: cluster-tools may not include node",
                    "node/config.c:2: include: node/config may not include node")

    def test_tools_may_use_the_identity_and_not_what_is_beneath(self):
        self.put("node/identity.c", '#include "node/control_core.h"\n#include "node/net/plane.h"\n'
                 '#include "node/node.h"\n')
        self.put("node/control_core_apply.c", '#include "node/lease_view.h"\n#include "node/config.h"\n')
        self.put("cluster-tools/cli/a.c", '#include "node/identity.h"\n#include "node/control_core.h"\n')
        self.expect("include",
                    "cluster-tools/cli/a.c:2: include: cluster-tools may not include node/control_core",
                    "node/control_core_apply.c:2: include: node/control_core may not include node/config",
                    "node/identity.c:3: include: node/identity may not include node")


class Link(Case):
    def test_a_dependency_that_may_not_be_included(self):
        self.put("node/smtp/CMakeLists.txt",
                 "# comment\ntrispool_module(node_smtp DEPENDS base spool LIBS x)\n")
        self.expect("link", "node/smtp/CMakeLists.txt:2: link: node/smtp may not link spool")

    def test_two_modules_of_one_folder(self):
        self.put("node/CMakeLists.txt", "trispool_module(node_config ONLY config DEPENDS node_smtp)\n"
                 "trispool_module(node EXCEPT config DEPENDS node_config spool)\n")
        self.expect("link", "node/CMakeLists.txt:1: link: node/config may not link node_smtp")

    def test_a_module_of_some_files_stands_for_their_folder(self):
        self.put("node/net/CMakeLists.txt", "trispool_module(node_key ONLY plane_key DEPENDS base)\n"
                 "trispool_module(node_net EXCEPT plane_key DEPENDS node_key)\n")
        self.put("node/CMakeLists.txt", "trispool_module(node_config ONLY config DEPENDS node_key)\n"
                 "trispool_module(node EXCEPT config DEPENDS node_key node_config)\n")
        self.expect("link", "node/CMakeLists.txt:1: link: node/config may not link node_key")


class Size(Case):
    def test_a_long_function(self):
        n = self.add("base/str.c", "\nint f(int a)\n{\n" + "    a++;\n" * 67 + "    return a;\n}\n")
        self.expect("size", f"base/str.c:{n + 1}: size: f has 71 lines, more than 70")

    def test_a_function_at_the_limit(self):
        self.add("base/str.c", "\nint f(int a)\n{\n" + "    a++;\n" * 66 + "    return a;\n}\n")
        self.assertEqual(self.complaints("size"), [])

    def test_a_long_file(self):
        self.put("base/long.h", "/* long */\n#pragma once\n" + "int x;\n" * 899)
        self.expect("size", "base/long.h:901: size: 901 lines, more than 900")


class Banned(Case):
    def test_a_banned_call(self):
        n = self.add("base/str.c", "void f(char *p)\n{\n    strcpy (p, p);\n    atoi(p);\n}\n")
        self.expect("banned", f"base/str.c:{n + 2}: banned: strcpy() is banned",
                    f"base/str.c:{n + 3}: banned: atoi() is banned")

    def test_waiting(self):
        n = self.add("base/str_test.c", "void f(void)\n{\n    usleep(3);\n}\n")
        self.expect("banned", f"base/str_test.c:{n + 2}: banned: usleep(): wait for an event instead")

    def test_comments_strings_and_other_names_do_not_count(self):
        self.add("base/str.c", '/* gets(p)\n * strcpy(p) */\nchar *a = "gets(";\n'
                 "int my_gets(int);\nint f(void)\n{\n    return my_gets(snprintf(0, 0, \"\"));\n}\n")
        self.assertEqual(self.complaints("banned"), [])


class Macro(Case):
    def test_a_hidden_return(self):
        n = self.add("base/str.c", "#define TRY(x) \\\n    if (x) \\\n        return x\n")
        self.expect("macro", f"base/str.c:{n + 2}: macro: a macro hides a return")

    def test_a_hidden_goto(self):
        n = self.add("base/str.c", "#  define OUT(x) if (x) goto out\n")
        self.expect("macro", f"base/str.c:{n}: macro: a macro hides a goto")

    def test_a_comment_in_a_macro(self):
        self.add("base/str.c", '#define A "return" /* return */\nint f(void)\n{\n    return 1;\n}\n')
        self.assertEqual(self.complaints("macro"), [])


class Header(Case):
    def test_an_error_that_may_be_ignored(self):
        n = self.add("base/str.h", "enum err a_open(int);\nMUST_CHECK enum err b_open(int);\n"
                     "static inline enum err c_open(int x)\n{\n    return x;\n}\n")
        self.expect("header", f"base/str.h:{n}: header: a_open() can fail and has no MUST_CHECK",
                    f"base/str.h:{n + 2}: header: c_open() can fail and has no MUST_CHECK")

    def test_no_guard_and_no_manual(self):
        self.put("base/a.h", "int a;\n")
        self.expect("header", "base/a.h:1: header: does not begin with what it is",
                    "base/a.h:1: header: no #pragma once")

    def test_a_typedef_of_a_struct(self):
        n = self.add("base/str.h", "typedef struct { int x; } y;\ntypedef struct z *zp;\n"
                     "typedef struct z f_fn(int);\n")
        self.expect("header", f"base/str.h:{n}: header: typedef of a struct",
                    f"base/str.h:{n + 1}: header: typedef of a struct")

    def test_an_extern_variable(self):
        n = self.add("base/str.h", "extern int count;\nextern int f(void);\n")
        self.expect("header", f"base/str.h:{n}: header: a public variable")


class Purity(Case):
    def test_an_impure_call_in_the_text(self):
        n = self.add("node/smtp/x.c", "void f(void)\n{\n    clock_boot_ms();\n}\n")
        self.expect("impure", f"node/smtp/x.c:{n + 2}: impure: clock_boot_ms() in a pure folder")

    def test_the_worlds_of_tests_may_do_what_they_like(self):
        self.put("node/smtp/x_world.h", "/* x_world */\n#pragma once\n\nstatic void f(void)\n{\n"
                 "    free(0);\n}\n")
        self.add("node/smtp/x_test.c", '#include "node/smtp/x_world.h"\n')
        self.assertEqual(self.complaints("impure"), [])
        self.add("node/smtp/x.c", '#include "node/smtp/x_world.h"\n')
        self.expect("impure", "node/smtp/x_world.h:6: impure: free() in a pure folder")

    def test_a_call_that_only_the_object_shows(self):
        self.add("node/smtp/x.c", "#include <unistd.h>\n#define GET getpid()\nint f(void)\n{\n"
                 "    return GET;\n}\n")
        self.compile()
        self.expect("pure", "node/smtp/x.c:1: pure: reaches getpid, by node/smtp/x.c", with_build=True)

    def test_what_is_reached_by_another_object(self):
        self.add("base/str.c", "#include <stdlib.h>\nvoid *g(void)\n{\n    return malloc(3);\n}\n")
        self.compile()
        self.expect("pure", "node/smtp/x.c:1: pure: reaches malloc, by node/smtp/x.c -> base/str.c",
                    with_build=True)

    def test_counted_memory_is_no_heap(self):
        self.put("base/arena.c", "#include <stdlib.h>\nvoid *arena_take(void)\n{\n"
                 "    return malloc(3);\n}\n")
        self.add("node/smtp/x.c", "void *arena_take(void);\nvoid *g(void)\n{\n"
                 "    return arena_take();\n}\n")
        self.compile()
        self.assertEqual(self.complaints("pure", True), [])

    def test_hidden_state(self):
        self.add("node/smtp/x.c", "int f(void)\n{\n    static int calls;\n\n    return ++calls;\n}\n")
        self.compile()
        found = self.complaints("pure", True)
        self.assertEqual(len(found), 1)
        self.assertRegex(found[0], r"calls\S*: a pure module keeps no state of its own")

    def test_a_build_without_the_objects(self):
        self.build.mkdir()
        self.expect("pure", "node/smtp:1: pure: no objects of it in objects: build first",
                    with_build=True)

    def test_a_public_variable(self):
        self.add("base/str.c", "int counter;\nint limit = 3;\nconst int fine = 3;\nstatic int own;\n"
                 "int *f(void)\n{\n    return &own;\n}\n")
        self.compile()
        self.expect("global", "base/str.c:1: global: counter is a public variable",
                    "base/str.c:1: global: limit is a public variable", with_build=True)


class Tested(Case):
    def test_a_module_without_a_test(self):
        self.put("base/y.c", "int y;\n")
        self.put("base/y_main.c", "int main(void) { return 0; }\n")
        self.expect("test", "base/y.c:1: test: has no test")
        self.add("base/str_test.c", "/* y.c is tried here too */\n")
        self.assertEqual(self.complaints("test"), [])

    def test_a_part_belongs_to_the_module_that_has_the_header(self):
        self.put("base/str_part.c", "int y;\n")
        self.assertEqual(self.complaints("test"), [])
        self.put("base/str_part.h", "/* a module of its own */\n#pragma once\n")
        self.expect("test", "base/str_part.c:1: test: has no test")

    def test_a_fuzzer_is_no_test_but_one_of_several_tests_is(self):
        (self.root / "base/str_test.c").rename(self.root / "base/str_fuzz.c")
        self.expect("test", "base/str.c:1: test: has no test")
        self.put("base/str_full_test.c", "int main(void) { return 0; }\n")
        self.assertEqual(self.complaints("test"), [])


class Text(Case):
    def test_the_path_of_the_checkout(self):
        n = self.add("docs/a.md", f"See {self.root}/docs.\n\nSee {self.root.parent}/other.\n")
        self.expect("path", f"docs/a.md:{n}: path: a path of this machine: {self.root}",
                    f"docs/a.md:{n + 2}: path: a path of this machine: {self.root.parent}/")

    def test_the_path_of_a_person(self):
        n = self.add("docs/a.md", "See /home" + "/somebody/x and /root" + "/x.\n")
        self.expect("path", f"docs/a.md:{n}: path: a path of this machine: /home" + "/somebody/",
                    f"docs/a.md:{n}: path: a path of this machine: /root" + "/x")

    def test_what_is_left_for_later(self):
        n = self.add("base/str.c", "// TO" + "DO: more\n/* a\n * FIX" + "ME */\n"
                     'char *s = "X' + 'XX";\n')
        self.expect("word", f"base/str.c:{n}: word: TO" + "DO: do it, or say why not",
                    f"base/str.c:{n + 2}: word: FIX" + "ME: do it, or say why not")

    def test_what_is_left_for_later_in_a_page_or_script(self):
        n = self.add("docs/a.md", "To write: TO" + "DO\n")
        self.put("tests/run.sh", "echo 'X" + "XX'\n# X" + "XX: later\n")
        self.expect("word", f"docs/a.md:{n}: word: TO" + "DO: do it, or say why not",
                    "tests/run.sh:2: word: X" + "XX: do it, or say why not")


class Tables(Case):
    def setUp(self):
        super().setUp()
        self.put("base/limits.h",
                 "/* limits */\n#pragma once\n\n#define KiB 1024ULL\n\n/* --- Mail (RFC) --- */\n"
                 "#define LIMIT_A_BYTES  (4 * KiB) /* a | b */\n"
                 "#define LIMIT_B_MS     (LIMIT_C + 59990)\n"
                 "#define LIMIT_C        10 /* c \\\n                          */\n"
                 "#define LIMIT_D_S      86400UL\n#define LIMIT_E_PER_S  60\n")
        self.put("base/log_events.def", '/* X(N, L, T) */\nX(START, NOTICE, "it is up")\n'
                 'X(STOP, ALARM, "it "\n  "stops")\n')
        self.put("base/stats.def", 'X(MAIL_TOTAL, COUNTER, "mail")\n')

    def test_pages_are_made_from_the_tables(self):
        text = (self.root / "base/limits.h").read_text()
        lines = text.split("\n")
        lines[7], lines[8], lines[9] = lines[8], lines[9], lines[7]  # C before it is used
        (self.root / "base/limits.h").write_text("\n".join(lines))
        self.assertEqual(gen_docs.main([str(self.root)]), 0)
        limits = (self.root / "docs/limits.md").read_text()
        self.assertIn("\n## Mail (RFC)\n\n| limit | value | what |\n|---|---|---|\n"
                      "| `LIMIT_A_BYTES` | 4 KiB | a \\| b |\n| `LIMIT_C` | 10 | c |\n"
                      "| `LIMIT_B_MS` | 1 min |  |\n| `LIMIT_D_S` | 1 day |  |\n"
                      "| `LIMIT_E_PER_S` | 60 |  |\n", limits)
        self.assertIn("\n| `start` | notice | it is up |\n| `stop` | alarm | it stops |\n",
                      (self.root / "docs/log-events.md").read_text())
        self.assertIn("\n| `trispool_mail_total` | counter | mail |\n",
                      (self.root / "docs/metrics.md").read_text())
        self.assertEqual(gen_docs.main(["--check", str(self.root)]), 0)

    def test_an_old_page(self):
        self.put("base/limits.h", "#define LIMIT_A 1\n")
        self.assertEqual(gen_docs.main([str(self.root)]), 0)
        self.add("base/stats.def", 'X(MORE_TOTAL, COUNTER, "more")\n')
        self.expect("docs", "docs/metrics.md:1: docs: does not say what base/stats.def says: run "
                    "tests/layout/gen_docs.py")
        self.assertEqual(gen_docs.main(["--check", str(self.root)]), 1)

    def test_an_alarm_that_operators_do_not_find(self):
        self.put("base/limits.h", "#define LIMIT_A 1\n")
        self.put("base/log_events.def", 'X(FENCED, ALARM, "a disk error")\nX(START, INFO, "it runs")\n')
        self.put("docs/operations.md", "| event |\n")
        self.assertEqual(gen_docs.main([str(self.root)]), 0)
        self.expect("docs", "docs/operations.md:1: docs: does not say what to do about the alarm "
                    "fenced")
        self.put("docs/operations.md", "| `fenced` | | |\n")
        self.expect("docs")

    def test_a_row_that_nobody_uses(self):
        self.add("node/smtp/x.c", "int a = LIMIT_A_BYTES + LIMIT_B_MS + LIMIT_D_S;\n"
                 "int e = EV_STOP; /* EV_START */\n")
        self.add("node/smtp/x_test.c", "int a = STAT_MAIL_TOTAL;\n")
        self.expect("table", "base/limits.h:12: table: LIMIT_E_PER_S is used nowhere",
                    "base/log_events.def:2: table: EV_START is used nowhere",
                    "base/stats.def:1: table: STAT_MAIL_TOTAL is used nowhere")


class Format(Case):
    def test_a_line_that_is_not_as_the_formatter_writes_it(self):
        n = self.add("base/str.c", "\nint f( int a );\n\nint g( int a );\n")
        self.expect("format", f"base/str.c:{n + 1}: format: clang-format -i would change this")


if __name__ == "__main__":
    unittest.main()
