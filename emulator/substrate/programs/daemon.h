/* What the daemons of this folder share: a file of settings, SIGHUP, a checksum, messages.
 *
 * A file of settings has a line per setting, a word and its values; '#' begins a comment.
 * Settings that are in force lie beside them in a copy, SETTINGS.active, for whoever waits until
 * they are. Messages go to standard error, one line each.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST = 65536, MOST_WORDS = 8 };

static volatile sig_atomic_t reread;

static void say(const char *format, ...)
{
	char line[512];
	va_list values;

	va_start(values, format);
	vsnprintf(line, sizeof line, format, values);
	va_end(values);
	dprintf(2, "%s\n", line);
}

/* For what can be wrong with every packet: heard once a second. */
#define complain(...) (seldom() ? say(__VA_ARGS__) : (void)0)
#define die(...) (say(__VA_ARGS__), exit(1))

static int seldom(void)
{
	static time_t last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec == last)
		return 0;
	last = now.tv_sec;
	return 1;
}

/* Waits for an interface that somebody else makes; its index. */
static unsigned await_interface(const char *name)
{
	struct timespec pause = { 0, 20000000 };
	unsigned index = if_nametoindex(name);

	if (!index)
		say("waiting for %s", name);
	while (!index) {
		nanosleep(&pause, NULL);
		index = if_nametoindex(name);
	}
	return index;
}

static void on_hangup(int number)
{
	(void)number;
	reread = 1;
}

/* SIGHUP is heard nowhere but in await(), so that no other call is interrupted by it. */
static void hear_hangup(void)
{
	struct sigaction action = { .sa_handler = on_hangup };
	sigset_t hangup;

	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_BLOCK, &hangup, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static void await(struct pollfd *fds, nfds_t count)
{
	sigset_t none;

	sigemptyset(&none);
	if (ppoll(fds, count, NULL, &none) < 0 && errno != EINTR)
		die("poll: %s", strerror(errno));
}

/* Calls take() with the words of each line until one is refused (0). 0 as well where the
 * file cannot be read; the reason is said. */
static int read_settings(const char *path, int (*take)(char **word, int count, void *to), void *to)
{
	char line[512], *word[MOST_WORDS], *rest;
	int number = 0, good = 1;
	FILE *file = fopen(path, "re");

	if (!file)
		return say("%s: %s", path, strerror(errno)), 0;
	while (good && fgets(line, sizeof line, file)) {
		int count = 0;

		number++;
		line[strcspn(line, "#\n")] = 0;
		for (char *at = strtok_r(line, " \t", &rest); at && count < MOST_WORDS;
		     at = strtok_r(NULL, " \t", &rest))
			word[count++] = at;
		if (count && !(good = take(word, count, to)))
			say("%s:%d: %s is not understood", path, number, word[0]);
	}
	fclose(file);
	return good;
}

/* For settings that a running daemon cannot take over. */
static void start_again(char **argv)
{
	execv("/proc/self/exe", argv);
	die("starting again: %s", strerror(errno));
}

/* Says that the settings are in force: a copy of them, there at once and whole. */
static void confirm_settings(const char *path)
{
	char active[512], fresh[520], text[4096];
	int from = open(path, O_RDONLY | O_CLOEXEC), to;
	ssize_t length;

	snprintf(active, sizeof active, "%s.active", path);
	snprintf(fresh, sizeof fresh, "%s.new", active);
	to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	while ((length = read(from, text, sizeof text)) > 0)
		if (write(to, text, length) != length)
			break;
	if (from < 0 || to < 0 || length || rename(fresh, active))
		say("%s: %s", active, strerror(errno));
	close(from);
	close(to);
}

static int take_port(const char *word, in_port_t *port)
{
	char *end;
	unsigned long number = strtoul(word, &end, 10);

	*port = htons(number);
	return *word && !*end && number && number < 65536;
}

/* The Internet checksum, over any number of bytes at an even address. */
static uint16_t checksum(const void *from, size_t length)
{
	const uint8_t *byte = from;
	uint32_t sum = 0;

	for (; length > 1; length -= 2, byte += 2)
		sum += byte[0] << 8 | byte[1];
	if (length)
		sum += byte[0] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}
