/* sleeve: joins the bridges of several hosts by carrying Ethernet frames in UDP.
 *
 * The wire is that of Weave Net's overlay "sleeve". A datagram begins with the name of the sending
 * peer (6 bytes, a MAC address); then come frames, each behind the names of the peer where it
 * entered and of the peer where it is to leave, and its length (2 bytes, big endian). Frames are captured from one interface, and those of other peers put into it.
 *
 * As there: where a MAC address lives is learnt per peer and forgotten after ten minutes; a frame
 * for an unknown one goes to all peers. Frames that wait for the same peer share a datagram of at
 * most the path MTU. Packets with DF go out with DF by a raw socket, and without UDP checksum; the
 * first that is too long for the path teaches its MTU (the kernel's word for it), later ones are
 * answered with ICMP "fragmentation needed" in the name of their destination, unless they were for
 * all peers. Packets without DF are left to be fragmented by the kernel.
 *
 * Compiled with NACL it is the encrypted wire: between name and frames stand a number (8 bytes, its
 * highest bit says DF) and a code that authenticates what follows (16 bytes, Poly1305), and frames
 * are encrypted (XSalsa20). The key of two peers is a hash of what Curve25519 makes of their keys and
 * of the password. A number that was seen, or is too old to tell, is not taken again. Weave's begin
 * with zero, under keys that are drawn for each connection; here keys are told and stay, so that
 * numbers begin with the time.
 *
 * Not here is what needs the TCP connection between routers: heartbeats, the tests of path MTU and
 * of fragments, which then count as passed, peers that find each other, relaying.
 *
 * Settings (SIGHUP rereads them and measures all paths again; for others than the peers it starts
 * again):
 *
 *     capture vethwe-pcap
 *     port 6783
 *     name 7e:11:00:00:00:01
 *     peer 7e:11:00:00:00:02 192.168.50.12
 *
 * and with NACL also
 *
 *     private KEY
 *     password WORD
 *     peer 7e:11:00:00:00:02 192.168.50.12 KEY
 */
#include "daemon.h"
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#ifdef NACL
#include <sodium.h>
#endif

enum {
	NAME = 6,
#ifdef NACL
	NUMBER = 8,
	CODE = crypto_secretbox_MACBYTES,
	PACKET_HEAD = NAME + NUMBER + CODE,
#else
	PACKET_HEAD = NAME,
#endif
	FRAME_HEAD = NAME + NAME + 2,
	UDP_OVER_IP = sizeof(struct iphdr) + sizeof(struct udphdr),
	OVERHEAD = UDP_OVER_IP + PACKET_HEAD + FRAME_HEAD + ETH_HLEN,
	MOST_PAYLOAD = 65535 - UDP_OVER_IP,
	PMTU_TEST = 60000,
	CAPTURE_BUFFER = 8 << 20,
	AT_ONCE = 100,
	MOST_MACS = 1 << 14,
	MAC_AGE_S = 600,
	QUOTED = 8,
	GONE = -1,
	ALIGN = 2,              /* before a frame, for the sake of its IP header */
};

struct batch {
	uint8_t *data;
	size_t length;
};

#ifdef NACL
enum { KEY = 32, WINDOW_BITS = 20, WINDOW = 1 << WINDOW_BITS, MOST_PASSWORD = 128 };

/* The numbers that have come, in a window that begins one step below the highest. */
struct numbers {
	uint64_t window;
	uint8_t *used, *before;         /* a bit for each */
};

struct sealed {
	uint8_t public[KEY], key[KEY];
	uint64_t next[2];               /* without DF, with it */
	struct numbers seen[2];
	int dials;                      /* the two directions have different nonces */
};
#endif

struct peer {
	uint8_t name[NAME];
	struct sockaddr_in at;
	int raw, connected;     /* a raw socket, which sets DF */
	int mtu;                /* of an IP packet in a frame with DF */
	int payload;            /* of a datagram that the path takes whole */
	struct batch df, plain;
#ifdef NACL
	struct sealed sealed;
#endif
};

struct settings {
	char capture[IFNAMSIZ];
	uint8_t name[NAME];
	in_port_t port;
#ifdef NACL
	uint8_t private[KEY];
	char password[MOST_PASSWORD];
#endif
	struct peer *peer;
	size_t peers;
};

/* Where a MAC address lives: at a peer, or here (a name of our own). */
struct mac {
	uint8_t address[ETH_ALEN], at[NAME];
	time_t seen;
};

static struct settings own;
static struct mac macs[MOST_MACS];
static int capture, udp;
static unsigned interface;      /* that is captured from */

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec + MAC_AGE_S;    /* so that what was never seen is old */
}

/* The entry of an address, or the one to write it into; NULL where the table is full. */
static struct mac *find_mac(const uint8_t *address)
{
	uint32_t hash = 2166136261u;
	time_t old = now() - MAC_AGE_S;
	struct mac *empty = NULL;

	for (int i = 0; i < ETH_ALEN; i++)
		hash = (hash ^ address[i]) * 16777619u;
	for (int i = 0; i < 32; i++) {
		struct mac *m = &macs[(hash + i) % MOST_MACS];

		if (m->seen > old && !memcmp(m->address, address, ETH_ALEN))
			return m;
		if (m->seen <= old && !empty)
			empty = m;
	}
	return empty;
}

static const uint8_t *whereabouts(const uint8_t *address)
{
	struct mac *m = find_mac(address);

	return m && m->seen > now() - MAC_AGE_S ? m->at : NULL;
}

static void learn(const uint8_t *address, const uint8_t *at)
{
	struct mac *m = find_mac(address);

	if (!m)
		return;
	memcpy(m->address, address, ETH_ALEN);
	memcpy(m->at, at, NAME);
	m->seen = now();
}

#ifdef NACL
/* --- encryption -------------------------------------------------------------------------- */

static const uint64_t WITH_DF = 1ULL << 63;

static void number(uint8_t *at, uint64_t value)
{
	for (int i = NUMBER - 1; i >= 0; i--, value >>= 8)
		at[i] = value;
}

static void nonce(uint8_t *to, int by_the_one_that_dials, const uint8_t *number)
{
	memset(to, 0, crypto_secretbox_NONCEBYTES);
	to[0] = by_the_one_that_dials ? 0x80 : 0;
	memcpy(to + crypto_secretbox_NONCEBYTES - NUMBER, number, NUMBER);
}

static uint8_t *bits(void)
{
	uint8_t *found = calloc(WINDOW / 8, 1);         /* pages that nobody writes cost nothing */

	if (!found)
		die("no memory for %d numbers", WINDOW);
	return found;
}

static void agree(struct peer *p)
{
	uint8_t text[KEY + MOST_PASSWORD];
	size_t length = strlen(own.password);
	struct timespec t;

	if (crypto_box_beforenm(text, p->sealed.public, own.private))
		die("%s: a key that is none", inet_ntoa(p->at.sin_addr));
	memcpy(text + KEY, own.password, length);
	crypto_hash_sha256(p->sealed.key, text, KEY + length);
	p->sealed.dials = memcmp(own.name, p->name, NAME) > 0;
	clock_gettime(CLOCK_REALTIME, &t);
	for (int df = 0; df < 2; df++) {
		p->sealed.next[df] = t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
		p->sealed.seen[df].used = bits();
		p->sealed.seen[df].before = bits();
	}
}

static void seal(struct peer *p, struct batch *b)
{
	uint8_t once[crypto_secretbox_NONCEBYTES], *at = b->data + NAME;
	int df = b == &p->df;

	number(at, p->sealed.next[df]++ | (df ? WITH_DF : 0));
	nonce(once, p->sealed.dials, at);
	crypto_secretbox_easy(at + NUMBER, b->data + PACKET_HEAD, b->length - PACKET_HEAD, once,
			      p->sealed.key);
}

/* Whether a number is new; it is not any more then. */
static int take_number(struct numbers *n, uint64_t value)
{
	uint64_t window = value >> WINDOW_BITS, bit = value & (WINDOW - 1);
	int64_t ahead = window - n->window;
	uint8_t *set = n->used;

	if (ahead > 0) {
		n->used = n->before;
		n->before = set;
		memset(n->used, 0, WINDOW / 8);
		if (ahead > 1)
			memset(n->before, 0, WINDOW / 8);
		n->window = window;
		set = n->used;
	} else if (ahead == -1) {
		set = n->before;
	} else if (ahead < -1) {
		return 0;
	}
	if (set[bit / 8] & 1 << bit % 8)
		return 0;
	set[bit / 8] |= 1 << bit % 8;
	return 1;
}

/* Decrypts in place; 0 for what the peer has not sent, or has sent before. */
static int unseal(struct peer *p, uint8_t *packet, size_t length)
{
	uint8_t once[crypto_secretbox_NONCEBYTES], *at = packet + NAME;
	uint64_t value = 0;

	for (int i = 0; i < NUMBER; i++)
		value = value << 8 | at[i];
	nonce(once, !p->sealed.dials, at);
	if (crypto_secretbox_open_easy(packet + PACKET_HEAD, at + NUMBER, length - NAME - NUMBER, once,
				       p->sealed.key))
		return complain("from %s: not to be decrypted", inet_ntoa(p->at.sin_addr)), 0;
	return take_number(&p->sealed.seen[value >= WITH_DF], value & ~WITH_DF);
}

#endif
/* --- to the other peers ------------------------------------------------------------------ */

/* 0 where the kernel knows no way, as before a route is there. */
static int dial(struct peer *p)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = p->at.sin_addr };

	p->connected = p->connected || !connect(p->raw, (void *)&at, sizeof at);
	return p->connected;
}

static void path_mtu(struct peer *p)
{
	int mtu = 0;
	socklen_t size = sizeof mtu;

	if (getsockopt(p->raw, IPPROTO_IP, IP_MTU, &mtu, &size) || mtu <= OVERHEAD)
		return;
	p->mtu = mtu - OVERHEAD;
	p->payload = mtu - UDP_OVER_IP;
	say("to %s: effective MTU %d", inet_ntoa(p->at.sin_addr), p->mtu);
}

static void flush(struct peer *p, struct batch *b)
{
	struct udphdr head = { .source = own.port, .dest = p->at.sin_port };
	struct iovec part[] = { { &head, sizeof head }, { b->data, b->length } };
	struct msghdr with_df = { .msg_iov = part, .msg_iovlen = 2 };
	ssize_t sent;

	if (!b->length)
		return;
#ifdef NACL
	seal(p, b);
#endif
	if (b == &p->df) {
		head.len = htons(sizeof head + b->length);
		sent = dial(p) ? sendmsg(p->raw, &with_df, 0) : -1;
		if (sent < 0 && errno == EMSGSIZE) {
			path_mtu(p);
			sent = 0;
		}
	} else {
		sent = sendto(udp, b->data, b->length, 0, (void *)&p->at, sizeof p->at);
	}
	if (sent < 0)
		complain("to %s: %s", inet_ntoa(p->at.sin_addr), strerror(errno));
	b->length = 0;
}

static void flush_all(void)
{
	for (size_t i = 0; i < own.peers; i++) {
		flush(&own.peer[i], &own.peer[i].df);
		flush(&own.peer[i], &own.peer[i].plain);
	}
}

static void append(struct peer *p, struct batch *b, const uint8_t *frame, size_t length)
{
	size_t most = b == &p->df ? (size_t)p->payload : MOST_PAYLOAD;

	if (b->length && b->length + FRAME_HEAD + length > (size_t)p->payload)
		flush(p, b);
	if (PACKET_HEAD + FRAME_HEAD + length > most)
		return complain("to %s: a frame of %zu bytes is too long", inet_ntoa(p->at.sin_addr), length);
	if (!b->length) {
		memcpy(b->data, own.name, NAME);
		b->length = PACKET_HEAD;
	}
	memcpy(b->data + b->length, own.name, NAME);
	memcpy(b->data + b->length + NAME, p->name, NAME);
	b->data[b->length + 2 * NAME] = length >> 8;
	b->data[b->length + 2 * NAME + 1] = length;
	memcpy(b->data + b->length + FRAME_HEAD, frame, length);
	b->length += FRAME_HEAD + length;
}

/* The IPv4 header of a frame, or NULL. */
static struct iphdr *ipv4(const uint8_t *frame, size_t length)
{
	const struct ethhdr *eth = (const void *)frame;
	struct iphdr *ip = (void *)(frame + ETH_HLEN);

	if (length < ETH_HLEN + sizeof *ip || eth->h_proto != htons(ETH_P_IP) || ip->version != 4 ||
	    ip->ihl < 5 || length < ETH_HLEN + ip->ihl * 4u)
		return NULL;
	return ip;
}

static void inject(const uint8_t *frame, size_t length)
{
	if (send(capture, frame, length, 0) < 0)
		complain("into %s: %s", own.capture, strerror(errno));
}

static void fragmentation_needed(const uint8_t *frame, size_t length, int mtu)
{
	uint8_t room[256] __attribute__((aligned(8))) = { 0 }, *answer = room + ALIGN;
	const struct ethhdr *eth = (const void *)frame;
	const struct iphdr *ip = (const void *)(frame + ETH_HLEN);
	struct ethhdr *back = (void *)answer;
	struct iphdr *head = (void *)(back + 1);
	struct icmphdr *icmp = (void *)(head + 1);
	size_t quoted = ip->ihl * 4 + QUOTED;

	if (length < ETH_HLEN + quoted)
		return;
	memcpy(back->h_dest, eth->h_source, ETH_ALEN);
	memcpy(back->h_source, eth->h_dest, ETH_ALEN);
	back->h_proto = eth->h_proto;
	head->version = 4;
	head->ihl = sizeof *head / 4;
	head->tos = ip->tos;
	head->tot_len = htons(sizeof *head + sizeof *icmp + quoted);
	head->ttl = 64;
	head->protocol = IPPROTO_ICMP;
	head->saddr = ip->daddr;
	head->daddr = ip->saddr;
	head->check = checksum(head, sizeof *head);
	icmp->type = ICMP_DEST_UNREACH;
	icmp->code = ICMP_FRAG_NEEDED;
	icmp->un.frag.mtu = htons(mtu);
	memcpy(icmp + 1, ip, quoted);
	icmp->checksum = checksum(icmp, sizeof *icmp + quoted);
	inject(answer, (uint8_t *)(icmp + 1) + quoted - answer);
}

static void forward(struct peer *p, const uint8_t *frame, size_t length, int to_all)
{
	struct iphdr *ip = ipv4(frame, length);

	if (!ip || !(ip->frag_off & htons(IP_DF)))
		append(p, &p->plain, frame, length);
	else if (length <= (size_t)p->mtu + ETH_HLEN)
		append(p, &p->df, frame, length);
	else if (!to_all)
		fragmentation_needed(frame, length, p->mtu);
}

static struct peer *find_peer(const uint8_t *name)
{
	for (size_t i = 0; i < own.peers; i++)
		if (!memcmp(own.peer[i].name, name, NAME))
			return &own.peer[i];
	return NULL;
}

/* 0 where there was nothing to read, GONE where there is no interface any more. */
static int captured(uint8_t *frame)
{
	static const uint8_t stp[ETH_ALEN] = { 0x01, 0x80, 0xc2, 0, 0, 0 };
	const struct ethhdr *eth = (void *)frame;
	ssize_t length = recv(capture, frame, LARGEST - 1, MSG_DONTWAIT);
	const uint8_t *from, *to;
	struct peer *p;

	if (length < 0 && errno != EAGAIN)
		return errno == ENETDOWN && if_nametoindex(own.capture) == interface ? 0 : GONE;
	if (length < ETH_HLEN)
		return length >= 0;
	from = whereabouts(eth->h_source);
	if (from && memcmp(from, own.name, NAME))
		return complain("a frame from an address of another peer"), 1;
	learn(eth->h_source, own.name);
	if (!memcmp(eth->h_dest, stp, ETH_ALEN))
		return 1;
	to = whereabouts(eth->h_dest);
	if (to && !memcmp(to, own.name, NAME))
		return 1;
	p = to ? find_peer(to) : NULL;
	if (p)
		forward(p, frame, length, 0);
	else if (!to)
		for (size_t i = 0; i < own.peers; i++)
			forward(&own.peer[i], frame, length, 1);
	return 1;
}

/* --- from the other peers ---------------------------------------------------------------- */

static int arrived(uint8_t *packet)
{
	ssize_t length = recv(udp, packet, LARGEST - 1, MSG_DONTWAIT), at = PACKET_HEAD;

	if (length < 0)
		return 0;
	if (length < PACKET_HEAD || !find_peer(packet))
		return 1;
#ifdef NACL
	if (!unseal(find_peer(packet), packet, length))
		return 1;
#endif
	while (length - at >= FRAME_HEAD) {
		const uint8_t *from = packet + at, *to = from + NAME, *frame = packet + at + FRAME_HEAD;
		ssize_t size = to[NAME] << 8 | to[NAME + 1];
		const struct ethhdr *eth = (const void *)frame;
		static const uint8_t nobody[ETH_ALEN];

		at += FRAME_HEAD + size;
		if (at > length)
			return complain("a frame that is cut short"), 1;
		/* those without addresses are for the router itself: heartbeats, tests */
		if (size < ETH_HLEN || memcmp(to, own.name, NAME) || !find_peer(from) ||
		    !memcmp(eth->h_source, nobody, ETH_ALEN))
			continue;
		learn(eth->h_source, from);
		inject(frame, size);
	}
	return 1;
}

/* --- settings and sockets ---------------------------------------------------------------- */

static int take_name(const char *word, uint8_t *name)
{
	char end;

	return sscanf(word, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", name, name + 1, name + 2,
		      name + 3, name + 4, name + 5, &end) == NAME;
}

#ifdef NACL
static int take_key(const char *word, uint8_t *key)
{
	size_t length;

	return !sodium_base642bin(key, KEY, word, strlen(word), NULL, &length, NULL,
				  sodium_base64_VARIANT_ORIGINAL) && length == KEY;
}

#endif
static int take(char **word, int count, void *to)
{
	struct settings *s = to;
	struct peer *p;

	if (!strcmp(word[0], "capture") && count == 2 && strlen(word[1]) < IFNAMSIZ)
		return !!strcpy(s->capture, word[1]);
	if (!strcmp(word[0], "port") && count == 2)
		return take_port(word[1], &s->port);
	if (!strcmp(word[0], "name") && count == 2)
		return take_name(word[1], s->name);
#ifdef NACL
	if (!strcmp(word[0], "private") && count == 2)
		return take_key(word[1], s->private);
	if (!strcmp(word[0], "password") && count == 2 && strlen(word[1]) < MOST_PASSWORD)
		return !!strcpy(s->password, word[1]);
	if (strcmp(word[0], "peer") || count != 4)
		return 0;
#else
	if (strcmp(word[0], "peer") || count != 3)
		return 0;
#endif
	s->peer = realloc(s->peer, (s->peers + 1) * sizeof *s->peer);
	if (!s->peer)
		die("no memory for %zu peers", s->peers + 1);
	p = memset(&s->peer[s->peers++], 0, sizeof *p);
	p->raw = -1;
	p->at.sin_family = AF_INET;
#ifdef NACL
	if (!take_key(word[3], p->sealed.public))
		return 0;
#endif
	return take_name(word[1], p->name) && inet_pton(AF_INET, word[2], &p->at.sin_addr) == 1;
}

/* A socket for what must not be fragmented; all that it would receive is filtered away. */
static void reach(struct peer *p)
{
	static struct sock_filter nothing[] = { { BPF_RET | BPF_K, 0, 0, 0 } };
	struct sock_fprog filter = { 1, nothing };
	int always = IP_PMTUDISC_DO;
	uint8_t test[PMTU_TEST] = { 0 };

	p->at.sin_port = own.port;
	p->mtu = 65535;
	p->payload = MOST_PAYLOAD;
#ifdef NACL
	agree(p);
#endif
	p->df.data = malloc(LARGEST);
	p->plain.data = malloc(LARGEST);
	p->raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	if (!p->df.data || !p->plain.data || p->raw < 0 ||
	    setsockopt(p->raw, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) ||
	    setsockopt(p->raw, IPPROTO_IP, IP_MTU_DISCOVER, &always, sizeof always))
		die("a raw socket: %s", strerror(errno));
	append(p, &p->df, test, sizeof test);   /* too long for any path, which is then known */
	flush(p, &p->df);
}

static void leave(struct peer *p)
{
	if (p->raw >= 0)
		close(p->raw);
	free(p->df.data);
	free(p->plain.data);
#ifdef NACL
	for (int df = 0; df < 2; df++) {
		free(p->sealed.seen[df].used);
		free(p->sealed.seen[df].before);
	}
#endif
}

static void change_peers(char **argv)
{
	const char *path = argv[1];
	struct settings next = { 0 }, old = own;

	if (read_settings(path, take, &next)) {
		if (strcmp(next.capture, own.capture) || next.port != own.port ||
		    memcmp(next.name, own.name, NAME))
			start_again(argv);
#ifdef NACL
		if (memcmp(next.private, own.private, KEY) || strcmp(next.password, own.password))
			start_again(argv);
#endif
		own.peer = next.peer;
		own.peers = next.peers;
		for (size_t i = 0; i < own.peers; i++)
			reach(&own.peer[i]);
		next = old;
		confirm_settings(path);
	}
	for (size_t i = 0; i < next.peers; i++)
		leave(&next.peer[i]);
	free(next.peer);
	memset(macs, 0, sizeof macs);
	say("%s: %zu peers", own.capture, own.peers);
}

static void open_capture(void)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct packet_mreq all = { .mr_type = PACKET_MR_PROMISC };
	int yes = 1, room = CAPTURE_BUFFER;

	at.sll_ifindex = all.mr_ifindex = interface = await_interface(own.capture);
	capture = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (capture < 0 ||
	    setsockopt(capture, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes) ||
	    setsockopt(capture, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) ||
	    bind(capture, (void *)&at, sizeof at))
		die("capturing from %s: %s", own.capture, strerror(errno));
	/* as much as Weave asks for; without root what the machine allows everybody */
	if (setsockopt(capture, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
		setsockopt(capture, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
}

static void open_udp(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = own.port };
	int never = IP_PMTUDISC_DONT;

	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (udp < 0 || setsockopt(udp, IPPROTO_IP, IP_MTU_DISCOVER, &never, sizeof never) ||
	    bind(udp, (void *)&at, sizeof at))
		die("UDP port %d: %s", ntohs(own.port), strerror(errno));
}

int main(int argc, char **argv)
{
	static uint8_t buffer[LARGEST + ALIGN] __attribute__((aligned(8)));

	if (argc != 2)
		die("usage: sleeve SETTINGS");
	prctl(PR_SET_NAME, "sleeve");
	hear_hangup();
#ifdef NACL
	if (sodium_init() < 0)
		die("libsodium does not begin");
#endif
	if (!read_settings(argv[1], take, &own))
		return 1;
	if (!*own.capture || !own.port)
		die("%s: wants capture, port and name", argv[1]);
	open_udp();
	open_capture();
	for (size_t i = 0; i < own.peers; i++)
		reach(&own.peer[i]);
	say("%s: %zu peers", own.capture, own.peers);
	confirm_settings(argv[1]);
	for (;;) {
		struct pollfd fds[] = { { capture, POLLIN, 0 }, { udp, POLLIN, 0 } };

		await(fds, 2);
		if (reread) {
			reread = 0;
			change_peers(argv);
		}
		for (int i = 0, found = 1; i < AT_ONCE && found; i++) {
			found = captured(buffer + ALIGN);
			if (found == GONE)
				start_again(argv);
		}
		flush_all();
		for (int i = 0; i < AT_ONCE && arrived(buffer); i++)
			;
	}
}
