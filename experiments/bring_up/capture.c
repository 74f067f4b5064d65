/* Catches the nftables transactions of the process that it is preloaded into.
 *
 * libnftables turns text into netlink bytes and sends each transaction by one sendmsg(2).
 * Loaded before the C library (LD_PRELOAD), the function below passes every call on and keeps
 * the bytes of those that begin a transaction, for podwire_transaction() to hand out.
 */
#define _GNU_SOURCE
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned char kept[1 << 20];
static size_t size;
static int lost;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	const struct iovec *parts = message->msg_iov;
	const struct nlmsghdr *head = message->msg_iovlen ? parts[0].iov_base : NULL;

	if (head && parts[0].iov_len >= sizeof(*head) && head->nlmsg_type == NFNL_MSG_BATCH_BEGIN) {
		for (size_t i = 0; i < message->msg_iovlen; i++) {
			if (size + parts[i].iov_len > sizeof(kept)) {
				lost = 1;
				break;
			}
			memcpy(kept + size, parts[i].iov_base, parts[i].iov_len);
			size += parts[i].iov_len;
		}
	}
	return syscall(SYS_sendmsg, fd, message, flags);
}

/* Copies what was caught since the last call to `to`; returns its size, 0 if it had no room. */
size_t podwire_transaction(unsigned char *to, size_t room)
{
	size_t found = !lost && size <= room ? size : 0;

	memcpy(to, kept, found);
	size = 0;
	lost = 0;
	return found;
}
