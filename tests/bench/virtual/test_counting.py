"""Counts by address: how they are read, whose they are; and the plugin, without QEMU."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.bench.virtual import counting, symbols
from emulator.errors import PodwireError
from emulator.measure import marked
from emulator.measure.subsystems import USER, Function

KALLSYMS = """\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T startup_64
ffffffff81000040 t __pfx_helper
ffffffff81000040 T helper
ffffffff81000080 D no_code
ffffffffc0100010 t veth_xmit\t[veth]
ffffffffc0100050 t veth_poll\t[veth]
ffffffffc0300000 t a_program\t[bpf]
"""
MODULES = """\
veth 4096 0 - Live 0xffffffffc0100000
nfnetlink 8192 1 nf_tables, Live 0xffffffffc0200000
"""
TABLE = symbols.parsed(KALLSYMS, MODULES)
MOVED = "veth 4096 0 - Live 0xffffffffc0400000\n"


def owner(address: int, modules: str = MODULES) -> Function:
    (found,) = symbols.attributed({address: 1}, TABLE, modules)
    return found


def test_counts_are_read_by_phase_and_a_phase_that_comes_again_is_added() -> None:
    text = "phase 1\nffffffff81000000 5\n0 7\nphase 2\nff 1\nphase 1\nffffffff81000000 2\nend\n"
    assert counting.parsed(text) == {1: {0xFFFFFFFF81000000: 7, 0: 7}, 2: {0xFF: 1}}


@pytest.mark.parametrize("text", ["", "phase 1\nff 5\n", "phase 1\nff 5\nen"])
def test_half_a_file_is_none(text: str) -> None:
    with pytest.raises(PodwireError, match="without an end"):
        counting.parsed(text)


@pytest.mark.parametrize(
    ("address", "function"),
    [
        (0, USER),
        (0xFFFFFFFF81000000, Function("startup_64")),
        (0xFFFFFFFF8100003F, Function("startup_64")),
        (0xFFFFFFFF81000090, Function("__pfx_helper")),
        (0xFFFFFFFF80FFFFFF, Function("?")),
        (0xFFFFFFFFC0100012, Function("veth_xmit", "veth")),
        (0xFFFFFFFFC0100FFF, Function("veth_poll", "veth")),
        (0xFFFFFFFFC0100001, Function("?", "veth")),
        (0xFFFFFFFFC0200004, Function("?", "nfnetlink")),
    ],
)
def test_an_address_is_of_the_last_function_that_begins_before(
    address: int, function: Function
) -> None:
    assert owner(address) == function


def test_a_module_is_the_same_within_wherever_it_is() -> None:
    assert owner(0xFFFFFFFFC0400012, MOVED) == Function("veth_xmit", "veth")


@given(
    st.dictionaries(
        st.integers(0, 0x3FF).map(lambda n: n and 0xFFFFFFFFC0100000 + 7 * n) | st.just(0),
        st.integers(1, 10**12),
    )
)
def test_no_instruction_is_lost_or_made(counts: dict[int, int]) -> None:
    found = symbols.attributed(counts, TABLE, MODULES)
    assert found.total() == sum(counts.values())
    assert found[USER] == counts.get(0, 0)


def test_a_comma_in_a_path_is_no_end_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.substrate.compiler.compiled", lambda *_: Path("/a,b/c.so"))
    assert counting.words(Path("/x,y")) == ("-plugin", "/a,,b/c.so,out=/x,,y")


@pytest.fixture
def compiler() -> None:
    assert shutil.which("gcc"), "apt-get install gcc"


def test_the_plugin_asks_for_no_c_library_newer_than_the_locks(
    tmp_path: Path, compiler: None
) -> None:
    plugin = built(tmp_path)
    asked = subprocess.run(["nm", "-D", plugin], capture_output=True, text=True, check=True).stdout
    versions = {tuple(map(int, one.split("."))) for one in re.findall(r"@GLIBC_([\d.]+)", asked)}
    assert versions
    assert max(versions) <= (2, 36)


def test_the_plugin_counts_between_the_marks_that_programs_set(
    tmp_path: Path, compiler: None
) -> None:
    """QEMU's part is played by a program that translates and executes five instructions."""
    stand_in = tmp_path / "stand_in.c"
    code = ",".join(map(hex, marked.nop(3)))
    stand_in.write_text(STAND_IN.replace("MARK_OF_3", code))
    program, out = tmp_path / "program", tmp_path / "counts"
    words = ["gcc", "-w", "-o", program, stand_in, "-rdynamic", "-ldl"]
    subprocess.run(words, check=True)
    subprocess.run([program, built(tmp_path), f"out={out}"], check=True)
    assert counting.parsed(out.read_text()) == {3: Counter({0: 2, 0xFFFFFFFF81000000: 3})}


def test_the_plugin_says_what_it_wants(tmp_path: Path, compiler: None) -> None:
    stand_in, program = tmp_path / "stand_in.c", tmp_path / "program"
    stand_in.write_text(STAND_IN.replace("MARK_OF_3", "0"))
    subprocess.run(["gcc", "-w", "-o", program, stand_in, "-rdynamic", "-ldl"], check=True)
    ended = subprocess.run([program, built(tmp_path), "on=x"], capture_output=True, text=True)
    assert ended.returncode == 9
    assert "out=FILE" in ended.stderr


def built(folder: Path) -> Path:
    plugin = folder / "counting.so"
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", plugin]
    subprocess.run([*words, counting.SOURCE], check=True)
    return plugin


STAND_IN = r"""
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef void (*callback)();
struct insn { uint64_t at; size_t size; unsigned char code[8]; uint64_t *count; callback mark;
              void *data; };
static struct insn block[] = {
    {0xffffffff81000000, 1, {0x90}}, {0x401000, 8, {MARK_OF_3}}, {0x401008, 1, {0x90}},
};
static callback translate, at_exit;

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, callback f) { translate = f; }
void qemu_plugin_register_atexit_cb(uint64_t id, callback f, void *p) { at_exit = f; }
void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *i, callback f, int flags, void *p)
{ i->mark = f; i->data = p; }
void qemu_plugin_register_vcpu_insn_exec_inline(struct insn *i, int op, uint64_t *c, uint64_t n)
{ i->count = c; }
size_t qemu_plugin_tb_n_insns(void *b) { return 3; }
struct insn *qemu_plugin_tb_get_insn(void *b, size_t n) { return &block[n]; }
uint64_t qemu_plugin_insn_vaddr(struct insn *i) { return i->at; }
size_t qemu_plugin_insn_size(struct insn *i) { return i->size; }
void *qemu_plugin_insn_data(struct insn *i) { return i->code; }

static void execute(int n)
{
    ++*block[n].count;
    if (block[n].mark)
        block[n].mark(0, block[n].data);
}

int main(int argc, char **argv)
{
    int (*install)() = (int (*)())dlsym(dlopen(argv[1], RTLD_NOW), "qemu_plugin_install");

    if (install((uint64_t)1, NULL, 1, argv + 2))
        return 9;
    translate((uint64_t)1, NULL);
    execute(0);
    execute(2);
    execute(1);
    execute(0);
    execute(2);
    execute(0);
    execute(2);
    execute(0);
    at_exit((uint64_t)1, NULL);
    return 0;
}
"""
