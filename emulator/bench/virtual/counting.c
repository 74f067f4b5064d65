/* Counts the instructions that a guest executes, by address, between marks that it sets itself.
 *
 * A plugin of QEMU 7.2 for a guest of one CPU: -plugin counting.so,out=FILE. (QEMU,
 * docs/devel/tcg-plugins.rst; the interface's version 1 is declared here, so that no header of QEMU
 * need be installed.)
 *
 * A mark is a nop of eight bytes, nopl disp32(%rax,%rax,1), whose displacement says 'Pw' and the
 * number of the phase that begins, 0 for none. What is executed before the first mark, and in
 * phase 0, is counted for nobody. FILE gets, for each phase when it ends, a line "phase N" and a
 * line "ADDRESS COUNT" for each instruction of the kernel that was executed, hexadecimal and
 * decimal; 0 stands for all of user space. Its last line is "end".
 *
 * The C library that it runs with is not the one that it is compiled with: nothing is used here
 * that is newer than glibc 2.36.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*on_translation)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*on_execution)(unsigned int cpu, void *data);
typedef void (*on_exit_of_qemu)(qemu_plugin_id_t, void *data);

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, on_translation);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, on_exit_of_qemu, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_cb(
    struct qemu_plugin_insn *, on_execution, enum qemu_plugin_cb_flags, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(
    struct qemu_plugin_insn *, enum qemu_plugin_op, void *counter, uint64_t add);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = 1;

struct counter {
    uint64_t address, count, told;
    struct counter *next;
};

enum { BUCKETS = 1 << 18, CHUNK = 1 << 12, MARK_SIZE = 8 };
static const uint8_t MARK[] = {0x0f, 0x1f, 0x84, 0x00, 'P', 'w'};

static struct counter *buckets[BUCKETS];
static struct counter user;
static struct counter *chunk;
static size_t used = CHUNK;
static unsigned int phase;
static FILE *out;

/* The counter of an address: it stays where it is, since translated code adds to it. */
static struct counter *counter_of(uint64_t address)
{
    struct counter **place = &buckets[(address ^ address >> 18) % BUCKETS];
    struct counter *one;

    if (!(address >> 63))
        return &user;
    for (one = *place; one; one = one->next)
        if (one->address == address)
            return one;
    if (used == CHUNK) {
        chunk = calloc(CHUNK, sizeof *chunk);
        if (!chunk)
            abort();
        used = 0;
    }
    one = &chunk[used++];
    one->address = address;
    one->next = *place;
    return *place = one;
}

static void tell(struct counter *one)
{
    if (phase && one->count != one->told)
        fprintf(out, "%" PRIx64 " %" PRIu64 "\n", one->address, one->count - one->told);
    one->told = one->count;
}

static void end_phase(void)
{
    struct counter *one;
    size_t i;

    if (phase)
        fprintf(out, "phase %u\n", phase);
    tell(&user);
    for (i = 0; i < BUCKETS; i++)
        for (one = buckets[i]; one; one = one->next)
            tell(one);
}

static void mark(unsigned int cpu, void *data)
{
    (void)cpu;
    end_phase();
    phase = (unsigned int)(uintptr_t)data;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    size_t i, n = qemu_plugin_tb_n_insns(block);

    (void)id;
    for (i = 0; i < n; i++) {
        struct qemu_plugin_insn *one = qemu_plugin_tb_get_insn(block, i);
        struct counter *counter = counter_of(qemu_plugin_insn_vaddr(one));

        qemu_plugin_register_vcpu_insn_exec_inline(
            one, QEMU_PLUGIN_INLINE_ADD_U64, &counter->count, 1);
        if (counter == &user && qemu_plugin_insn_size(one) == MARK_SIZE) {
            const uint8_t *code = qemu_plugin_insn_data(one);

            if (!memcmp(code, MARK, sizeof MARK))
                qemu_plugin_register_vcpu_insn_exec_cb(one, mark, QEMU_PLUGIN_CB_NO_REGS,
                    (void *)(uintptr_t)(code[sizeof MARK] | code[sizeof MARK + 1] << 8));
        }
    }
}

static void ended(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    end_phase();
    fputs("end\n", out);
    fclose(out);
}

EXPORT int qemu_plugin_install(
    qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) || !(out = fopen(argv[0] + 4, "w"))) {
        fprintf(stderr, "counting: out=FILE that can be written, please\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
