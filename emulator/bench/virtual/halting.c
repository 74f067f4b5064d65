/* Lets the guest's CPU halt only while QEMU's main loop sleeps.
 *
 * A plugin of QEMU 7.2 for a guest of one CPU whose clock counts instructions (-icount sleep=off).
 * The clock of a CPU that has halted is taken on to the next timer by the main loop, in a thread
 * of its own. The CPU is halted as soon as its instruction says so, a moment before what it has
 * executed is added to the clock. A main loop that is still awake, from the halt before, may look
 * in this very moment: it then takes the clock on from an older time, and the timer comes late by
 * what was not yet added (accel/tcg/icount-common.c, icount_start_warp_timer). It happens once in
 * a hundred thousand halts. So before each halt this waits until the main loop is asleep, which
 * nothing wakes then but the halted CPU.
 *
 * The main loop is the process's first thread, and asleep it is in ppoll. No libraries but that
 * of C, and nothing that is newer than glibc 2.36; the interface's version 1 is declared here, so
 * that no header of QEMU need be installed (docs/devel/tcg-plugins.rst).
 */
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*on_translation)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_execution)(unsigned int cpu, void *data);

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_translation);
extern void qemu_plugin_register_vcpu_insn_exec_cb(
    struct qemu_plugin_insn *, on_execution, enum qemu_plugin_cb_flags, void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = 1;

static const uint8_t HLT[] = {0xf4}, MWAIT[] = {0x0f, 0x01, 0xc9};
static const char IN_PPOLL[] = "271 "; /* of x86-64; the file says "running" of one that is awake */
static int state = -1;

static void before_a_halt(unsigned int cpu, void *data)
{
    char text[sizeof IN_PPOLL - 1];

    (void)cpu, (void)data;
    for (;;) {
        if (pread(state, text, sizeof text, 0) != (ssize_t)sizeof text) {
            perror("halting: the state of QEMU's main loop cannot be read");
            abort();
        }
        if (memcmp(text, IN_PPOLL, sizeof text) == 0)
            return;
        sched_yield();
    }
}

static int is(const uint8_t *code, size_t size, const uint8_t *wanted, size_t wanted_size)
{
    return size == wanted_size && memcmp(code, wanted, size) == 0;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t at = 0; at < qemu_plugin_tb_n_insns(block); at++) {
        struct qemu_plugin_insn *one = qemu_plugin_tb_get_insn(block, at);
        const uint8_t *code = qemu_plugin_insn_data(one);
        size_t size = qemu_plugin_insn_size(one);

        if (is(code, size, HLT, sizeof HLT) || is(code, size, MWAIT, sizeof MWAIT))
            qemu_plugin_register_vcpu_insn_exec_cb(one, before_a_halt, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    char path[64];

    (void)info, (void)argc, (void)argv;
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)getpid());
    state = open(path, O_RDONLY | O_CLOEXEC);
    if (state < 0) {
        perror(path);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
