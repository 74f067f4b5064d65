/* fw_cfg KEY: writes the item of that number of QEMU's fw_cfg device to stdout.
 *
 * An item is eight bytes of length (little endian), then its content. The kernel has a file for each
 * item too, but reads it page by page and skips what is before each page byte by byte: four megabytes
 * never came. (QEMU, docs/specs/fw_cfg.rst; Linux, drivers/firmware/qemu_fw_cfg.c.)
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

enum { SELECTOR = 0x510, DATA = 0x511 };

int main(int argc, char **argv)
{
    static unsigned char part[1 << 16];
    uint64_t left;

    if (argc != 2 || ioperm(SELECTOR, 2, 1)) {
        perror("fw_cfg");
        return 1;
    }
    outw(atoi(argv[1]), SELECTOR);
    insb(DATA, &left, sizeof left);
    while (left) {
        size_t many = left < sizeof part ? left : sizeof part;
        insb(DATA, part, many);
        if (fwrite(part, 1, many, stdout) != many) {
            perror("fw_cfg");
            return 1;
        }
        left -= many;
    }
    return fclose(stdout) ? 1 : 0;
}
