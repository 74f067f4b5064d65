/* udp-proxy: carries the IPv4 packets of a TUN device to other hosts in UDP, and back.
 *
 * The wire is that of flannel's backend "udp": a datagram holds one bare IPv4 packet and
 * nothing else. Each of the two proxies on a way takes one off the TTL, and neither says so
 * when nothing is left of it. To a destination in no peer's network the answer is ICMP "net
 * unreachable" (except to ICMP and to later fragments), with a TTL of 8.
 *
 * As there, one packet costs one read and one send: no batches, no super-packets. The kernel
 * segments and checksums what is read from a TUN device that was opened without offloads.
 *
 * Settings (SIGHUP rereads them; for others than the peers it starts again):
 *
 *     device flannel0                       a TUN device, there already and configured
 *     address 10.244.1.0                    the sender of "net unreachable"
 *     listen 192.168.50.11 8285
 *     peer 10.244.2.0/24 192.168.50.12 8285
 */
#include "daemon.h"
#include <linux/if_tun.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>

enum { UNREACHABLE_TTL = 8, QUOTED = 8, MOST_OPTIONS = 40, AT_ONCE = 256, CARRIER_MS = 1000, GONE = -1 };

struct peer {
	in_addr_t net, mask;
	struct sockaddr_in at;
};

struct settings {
	char device[IFNAMSIZ];
	in_addr_t address;
	struct sockaddr_in listen;
	struct peer *peer;
	size_t peers;
};

static int take_network(char *word, struct peer *peer)
{
	char *slash = strchr(word, '/'), *end;
	unsigned long length;

	if (!slash)
		return 0;
	*slash = 0;
	length = strtoul(slash + 1, &end, 10);
	if (*end || !slash[1] || length > 32 || inet_pton(AF_INET, word, &peer->net) != 1)
		return 0;
	peer->mask = length ? htonl(~0u << (32 - length)) : 0;
	return !(peer->net & ~peer->mask);
}

static int take_end(char **word, struct sockaddr_in *end)
{
	end->sin_family = AF_INET;
	return inet_pton(AF_INET, word[0], &end->sin_addr) == 1 && take_port(word[1], &end->sin_port);
}

static int take(char **word, int count, void *to)
{
	struct settings *s = to;

	if (!strcmp(word[0], "device") && count == 2 && strlen(word[1]) < IFNAMSIZ)
		return !!strcpy(s->device, word[1]);
	if (!strcmp(word[0], "address") && count == 2)
		return inet_pton(AF_INET, word[1], &s->address) == 1;
	if (!strcmp(word[0], "listen") && count == 3)
		return take_end(word + 1, &s->listen);
	if (strcmp(word[0], "peer") || count != 4)
		return 0;
	s->peer = realloc(s->peer, (s->peers + 1) * sizeof *s->peer);
	if (!s->peer)
		die("no memory for %zu peers", s->peers + 1);
	memset(&s->peer[s->peers], 0, sizeof *s->peer);
	return take_network(word[1], &s->peer[s->peers]) &&
	       take_end(word + 2, &s->peer[s->peers++].at);
}

/* The peer that has an address; the one of the packet before comes first. */
static const struct sockaddr_in *find(const struct settings *s, in_addr_t address)
{
	static size_t last;

	if (last < s->peers && (address & s->peer[last].mask) == s->peer[last].net)
		return &s->peer[last].at;
	for (last = 0; last < s->peers; last++)
		if ((address & s->peer[last].mask) == s->peer[last].net)
			return &s->peer[last].at;
	return NULL;
}

/* Takes one off the TTL and corrects the checksum by it (RFC 1624). 0 where nothing is left. */
static int hop(struct iphdr *ip)
{
	uint32_t sum = ip->check + htons(0x0100);

	ip->check = sum + (sum >= 0xffff);
	return ip->ttl && --ip->ttl;
}

static void unreachable(int tun, in_addr_t from, const uint8_t *packet, size_t length)
{
	struct {
		struct iphdr ip;
		struct icmphdr icmp;
		uint8_t quoted[sizeof(struct iphdr) + MOST_OPTIONS + QUOTED];
	} answer = { 0 };
	const struct iphdr *ip = (const void *)packet;
	size_t quoted = ip->ihl * 4 + QUOTED, whole = sizeof answer.ip + sizeof answer.icmp + quoted;

	if (ip->protocol == IPPROTO_ICMP || ip->frag_off & htons(IP_OFFMASK) || length < quoted)
		return;
	answer.ip.version = 4;
	answer.ip.ihl = sizeof answer.ip / 4;
	answer.ip.tot_len = htons(whole);
	answer.ip.ttl = UNREACHABLE_TTL;
	answer.ip.protocol = IPPROTO_ICMP;
	answer.ip.saddr = from;
	answer.ip.daddr = ip->saddr;
	answer.ip.check = checksum(&answer.ip, sizeof answer.ip);
	answer.icmp.type = ICMP_DEST_UNREACH;
	answer.icmp.code = ICMP_NET_UNREACH;
	memcpy(answer.quoted, packet, quoted);
	answer.icmp.checksum = checksum(&answer.icmp, sizeof answer.icmp + quoted);
	if (write(tun, &answer, whole) < 0)
		complain("net unreachable: %s", strerror(errno));
}

static int is_packet(const uint8_t *packet, ssize_t length)
{
	const struct iphdr *ip = (const void *)packet;

	return length >= (ssize_t)sizeof *ip && ip->version == 4 && ip->ihl >= 5 &&
	       length >= ip->ihl * 4;
}

/* Both: 0 where there was nothing to read, GONE where there is no device any more. */
static int outwards(int tun, int udp, const struct settings *s, uint8_t *packet)
{
	ssize_t length = read(tun, packet, LARGEST);
	const struct sockaddr_in *to;

	if (length < 0 && errno == EBADFD)
		return GONE;
	if (length <= 0)
		return 0;
	if (!is_packet(packet, length))
		return 1;
	to = find(s, ((struct iphdr *)packet)->daddr);
	if (!to)
		unreachable(tun, s->address, packet, length);
	else if (hop((struct iphdr *)packet) &&
		 sendto(udp, packet, length, 0, (const void *)to, sizeof *to) < 0)
		complain("to %s: %s", inet_ntoa(to->sin_addr), strerror(errno));
	return 1;
}

static int inwards(int tun, int udp, uint8_t *packet)
{
	ssize_t length = recv(udp, packet, LARGEST, MSG_DONTWAIT);

	if (length < 0)
		return 0;
	if (is_packet(packet, length) && hop((struct iphdr *)packet) &&
	    write(tun, packet, length) < 0)
		complain("to the TUN device: %s", strerror(errno));
	return 1;
}

/* Opening would make a device that is not there, which nobody has configured and which would be in
 * the way. It is busy while whoever makes it has it open. */
static int open_tun(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	struct timespec pause = { 0, 20000000 };
	int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	strcpy(request.ifr_name, name);
	await_interface(name);
	while (tun < 0 || ioctl(tun, TUNSETIFF, &request) < 0) {
		if (tun < 0 || errno != EBUSY)
			die("TUN device %s: %s", name, strerror(errno));
		nanosleep(&pause, NULL);
	}
	return tun;
}

/* With somebody to read from it a device that is up gets a carrier. The kernel hears of that a
 * moment later, and until then it drops what is sent. First it says that the device is running,
 * then it gives it a queue, both under the lock that setting any flag waits for. */
static void await_carrier(const char *name, int udp)
{
	struct timespec pause = { 0, 1000000 };
	struct ifreq request = { 0 };

	strcpy(request.ifr_name, name);
	for (int i = 0; i < CARRIER_MS; i++, nanosleep(&pause, NULL)) {
		if (ioctl(udp, SIOCGIFFLAGS, &request) < 0)
			die("TUN device %s: %s", name, strerror(errno));
		if (!(request.ifr_flags & IFF_UP))
			return;
		if (request.ifr_flags & IFF_RUNNING) {
			ioctl(udp, SIOCSIFFLAGS, &request);
			return;
		}
	}
}

static int open_udp(const struct sockaddr_in *at)
{
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (udp < 0 || bind(udp, (const void *)at, sizeof *at) < 0)
		die("%s port %d: %s", inet_ntoa(at->sin_addr), ntohs(at->sin_port), strerror(errno));
	return udp;
}

static int same_but_peers(const struct settings *a, const struct settings *b)
{
	return !strcmp(a->device, b->device) && a->address == b->address &&
	       a->listen.sin_addr.s_addr == b->listen.sin_addr.s_addr &&
	       a->listen.sin_port == b->listen.sin_port;
}

int main(int argc, char **argv)
{
	static uint8_t packet[LARGEST] __attribute__((aligned(8)));
	struct settings s = { 0 };
	int tun, udp;

	if (argc != 2)
		die("usage: udp-proxy SETTINGS");
	prctl(PR_SET_NAME, "udp-proxy");
	hear_hangup();
	if (!read_settings(argv[1], take, &s))
		return 1;
	if (!*s.device || !s.address || !s.listen.sin_port)
		die("%s: wants device, address and listen", argv[1]);
	tun = open_tun(s.device);
	udp = open_udp(&s.listen);
	await_carrier(s.device, udp);
	say("%s: %zu peers", s.device, s.peers);
	confirm_settings(argv[1]);
	for (;;) {
		struct pollfd fds[] = { { tun, POLLIN, 0 }, { udp, POLLIN, 0 } };

		await(fds, 2);
		if (reread) {
			struct settings next = { 0 };

			reread = 0;
			if (read_settings(argv[1], take, &next)) {
				if (!same_but_peers(&s, &next))
					start_again(argv);
				free(s.peer);
				s.peer = next.peer;
				s.peers = next.peers;
				say("%s: %zu peers", s.device, s.peers);
				confirm_settings(argv[1]);
			} else {
				free(next.peer);
			}
		}
		/* no call is spent on poll while there is something on either side */
		for (int i = 0, out = 1, in = 1; i < AT_ONCE && (out || in); i++) {
			out = outwards(tun, udp, &s, packet);
			in = inwards(tun, udp, packet);
			if (out == GONE)
				start_again(argv);
		}
	}
}
