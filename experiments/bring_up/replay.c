/* The floor: asks the kernel for the operations of a trace, in their order, and times them.
 *
 *     replay TRACE PROCFS [hold]
 *
 * To be run in a private world (own network, mount and PID namespaces). TRACE is a file as
 * trace.py describes it; PROCFS is a folder on which procfs is mounted afresh every hundred
 * sysctl writes, as Podwire does. Nothing is computed while the clock runs: buffers go out as
 * they are, but for the descriptors of namespaces that are written into them.
 *
 * Prints {"seconds", "operations", "failures", "pid", "fds"}: `fds` are the descriptors of the
 * namespaces in the order of their creation. With `hold` it then waits for the end of its
 * input, so that somebody can look at what it built. Ends with 1 when the kernel refused
 * anything, each refusal on standard error; with 2 when the trace is not usable.
 *
 * (Over 300 lines, so that the floor is one file to read and one command to compile.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NETNS = 1, ENTER, NETLINK, ETHTOOL, SYSCTL, NFT };
enum { SOCKETS = 256, WRITES_PER_MOUNT = 100 };

struct record {
	uint32_t kind, ns, places, size;
};

struct place {
	uint32_t at, ns;
};

static const char *procfs;
static int *fds;     /* of each namespace, -1 before its creation */
static int *sockets; /* a route socket of each namespace, or -1 */
static int open_sockets, failures, writes;

static void unusable(const char *what)
{
	fprintf(stderr, "replay: %s: %s\n", what, errno ? strerror(errno) : "not usable");
	exit(2);
}

static void refused(const char *what)
{
	fprintf(stderr, "replay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void failed(const struct record *record, const char *what, int number)
{
	if (++failures <= 20)
		fprintf(stderr, "replay: namespace %u: %s: %s\n", record->ns, what,
			strerror(number));
}

static int route_socket(uint32_t ns, uint32_t namespaces)
{
	if (sockets[ns] >= 0)
		return sockets[ns];
	if (open_sockets >= SOCKETS) {
		for (uint32_t i = 0; i < namespaces; i++)
			if (sockets[i] >= 0) {
				close(sockets[i]);
				sockets[i] = -1;
			}
		open_sockets = 0;
	}
	sockets[ns] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (sockets[ns] < 0)
		refused("socket");
	open_sockets++;
	return sockets[ns];
}

/* Counts the errors of one datagram; true when it acknowledges message `last`. */
static int answered(const struct record *record, const unsigned char *data, ssize_t size,
		    uint32_t last)
{
	ssize_t at = 0;

	while (at + (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) <= size) {
		const struct nlmsghdr *head = (const void *)(data + at);
		const struct nlmsgerr *error = NLMSG_DATA(head);

		if (head->nlmsg_type == NLMSG_ERROR) {
			if (error->error)
				failed(record, "netlink", -error->error);
			if (head->nlmsg_seq == last)
				return 1;
		}
		at += NLMSG_ALIGN(head->nlmsg_len);
	}
	return 0;
}

static uint32_t last_sequence(const unsigned char *data, uint32_t size)
{
	const struct nlmsghdr *head = (const void *)data;

	for (uint32_t at = 0; at < size; at += NLMSG_ALIGN(head->nlmsg_len)) {
		head = (const void *)(data + at);
		if (head->nlmsg_len < sizeof(*head))
			unusable("a netlink message");
	}
	return head->nlmsg_seq;
}

static void netlink(const struct record *record, const struct place *places,
		    unsigned char *payload, uint32_t namespaces)
{
	static unsigned char reply[65536];
	int fd = route_socket(record->ns, namespaces);
	uint32_t last = last_sequence(payload, record->size);

	for (uint32_t i = 0; i < record->places; i++)
		memcpy(payload + places[i].at, &fds[places[i].ns], sizeof(int));
	if (send(fd, payload, record->size, 0) != (ssize_t)record->size) {
		failed(record, "send", errno);
		return;
	}
	for (;;) {
		ssize_t size = recv(fd, reply, sizeof(reply), 0);

		if (size < 0) {
			failed(record, "recv", errno);
			return;
		}
		if (answered(record, reply, size, last))
			return;
	}
}

static void ethtool(const struct record *record, unsigned char *payload, uint32_t namespaces)
{
	struct ifreq request = {0};
	char copy[512];

	if (record->size - IFNAMSIZ > sizeof(copy))
		unusable("an ethtool request");
	memcpy(request.ifr_name, payload, IFNAMSIZ);
	memcpy(copy, payload + IFNAMSIZ, record->size - IFNAMSIZ);
	request.ifr_data = copy;
	if (ioctl(route_socket(record->ns, namespaces), SIOCETHTOOL, &request) < 0 &&
	    errno != EOPNOTSUPP)
		failed(record, request.ifr_name, errno);
}

static void sysctl(const struct record *record, const char *name)
{
	const char *value = name + strlen(name) + 1;
	char path[512];
	int fd;

	if (writes++ % WRITES_PER_MOUNT == 0) {
		if (writes > 1)
			umount2(procfs, MNT_DETACH);
		if (mount("proc", procfs, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			refused(procfs);
	}
	snprintf(path, sizeof(path), "%s/sys/%s", procfs, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		failed(record, name, errno);
	if (fd >= 0)
		close(fd);
}

static void transaction(const struct record *record, const unsigned char *payload)
{
	static unsigned char reply[65536];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	ssize_t size;

	if (fd < 0)
		refused("socket");
	if (send(fd, payload, record->size, 0) != (ssize_t)record->size)
		failed(record, "nftables", errno);
	/* the kernel has worked through the transaction: what it refused is there to be read */
	while ((size = recv(fd, reply, sizeof(reply), MSG_DONTWAIT)) > 0)
		answered(record, reply, size, 0);
	close(fd);
}

static void make_namespace(const struct record *record)
{
	if (unshare(CLONE_NEWNET) < 0)
		refused("unshare");
	fds[record->ns] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fds[record->ns] < 0)
		refused("/proc/self/ns/net");
}

static unsigned char *load(const char *path, size_t *size)
{
	struct stat status;
	int fd = open(path, O_RDONLY);
	unsigned char *data;

	if (fd < 0 || fstat(fd, &status) < 0)
		unusable(path);
	*size = status.st_size;
	data = malloc(*size);
	if (!data)
		unusable("malloc");
	for (size_t at = 0; at < *size;) {
		ssize_t got = read(fd, data + at, *size - at);

		if (got <= 0)
			unusable(path);
		at += got;
	}
	close(fd);
	if (*size < 8 || memcmp(data, "PWT1", 4))
		unusable("the head of the trace");
	return data;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int play(unsigned char *data, size_t size, uint32_t namespaces)
{
	int operations = 0;

	for (size_t at = 8; at < size; operations++) {
		struct record *record = (struct record *)(data + at);
		struct place *places = (struct place *)(record + 1);
		unsigned char *payload = (unsigned char *)(places + record->places);

		at = payload - data + ((record->size + 3) & ~3u);
		if (at > size || record->ns >= namespaces)
			unusable("a record");
		switch (record->kind) {
		case NETNS:
			make_namespace(record);
			break;
		case ENTER:
			if (setns(fds[record->ns], CLONE_NEWNET) < 0)
				refused("setns");
			break;
		case NETLINK:
			netlink(record, places, payload, namespaces);
			break;
		case ETHTOOL:
			ethtool(record, payload, namespaces);
			break;
		case SYSCTL:
			sysctl(record, (const char *)payload);
			break;
		case NFT:
			transaction(record, payload);
			break;
		default:
			unusable("the kind of a record");
		}
	}
	return operations;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	uint32_t namespaces;
	size_t size;
	unsigned char *data;
	double begun, seconds;
	int operations;

	if (argc < 3)
		unusable("usage: replay TRACE PROCFS [hold]");
	procfs = argv[2];
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	data = load(argv[1], &size);
	memcpy(&namespaces, data + 4, 4);
	fds = malloc(2 * (namespaces + 1) * sizeof(int));
	sockets = fds + namespaces;
	memset(fds, 0xff, 2 * (namespaces + 1) * sizeof(int));
	begun = now();
	operations = play(data, size, namespaces);
	seconds = now() - begun;
	printf("{\"seconds\": %.6f, \"operations\": %d, \"failures\": %d, \"pid\": %d, \"fds\": [",
	       seconds, operations, failures, getpid());
	for (uint32_t i = 0; i < namespaces; i++)
		printf("%s%d", i ? ", " : "", fds[i]);
	printf("]}\n");
	fflush(stdout);
	if (argc > 3)
		while (getchar() != EOF)
			;
	return failures ? 1 : 0;
}
