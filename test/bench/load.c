// Load for a firewall under test, and what came of it, as one line of JSON at the end.
//   load server PORT FLOWPORT DENIED LISTED     accepts on PORT (and drops), echoes on FLOWPORT, counts what reaches DENIED (TCP, UDP)
//                                               and LISTED (UDP, open but to the source that is denied)
//   load client HOST PORT FLOWPORT DENIED LISTED SOURCE PER_SEC FLOWS FLOOD_PER_SEC    until SIGTERM; SOURCE sends to LISTED
//   load sink PORT                              reads everything that comes, answers one byte for one byte to who sends one
//   load stream HOST PORT SECONDS               bytes a second over one connection
//   load turns HOST PORT SECONDS                round trips of one byte a second over one connection
//   load wire NETNS IFNAME NETNS IFNAME         two tap devices, and frames from each to the other, until SIGTERM. As with a card,
//                                               frames have at most 1,514 bytes, a page each with room before it, and GRO merges them.
//                                               At SIGUSR1: frames to the first device since the last time, and the CPU time it took to
//                                               fetch them and for the kernel to take them in, up to TCP
// A connection is delayed when it takes 900 ms or more: the first retransmission of a SYN comes after one second.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 65536, DELAYED_MS = 900, GIVE_UP_MS = 4000, LOST_MS = 3000, BEAT_MS = 100 };
enum kind { NONE, NEW, FLOW, DENIED };

static volatile sig_atomic_t ended;
static void end(int number) { (void)number; ended = 1; }

static int64_t now_us(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static void die(const char *what) { perror(what); exit(1); }

static int open_socket(int type)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) die("socket");
	if (fd >= MAX_FD) { fprintf(stderr, "too many sockets\n"); exit(1); }
	return fd;
}

static struct sockaddr_in address(const char *host, int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	if (inet_pton(AF_INET, host, &at.sin_addr) != 1) die("address");
	return at;
}

static int serve_on(int type, int port)
{
	int fd = open_socket(type), on = 1;
	struct sockaddr_in at = address("0.0.0.0", port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&at, sizeof at)) die("bind");
	if (type == SOCK_STREAM && listen(fd, 4096)) die("listen");
	return fd;
}

static void watch(int epoll, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void reset_on_close(int fd)
{
	struct linger hard = { .l_onoff = 1, .l_linger = 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

static int server(char **args)
{
	int epoll = epoll_create1(0);
	int plain = serve_on(SOCK_STREAM, atoi(args[0])), flows = serve_on(SOCK_STREAM, atoi(args[1]));
	int denied_tcp = serve_on(SOCK_STREAM, atoi(args[2])), denied_udp = serve_on(SOCK_DGRAM, atoi(args[2]));
	int listed = serve_on(SOCK_DGRAM, atoi(args[3])), listeners[] = { plain, flows, denied_tcp, denied_udp, listed };
	long accepted = 0, passed = 0;
	char bytes[4096];
	for (int i = 0; i < 5; i++) watch(epoll, listeners[i], EPOLLIN);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		struct epoll_event events[256];
		int count = epoll_wait(epoll, events, 256, 100);
		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			if (fd == denied_udp || fd == listed) {
				while (recv(fd, bytes, sizeof bytes, 0) >= 0) passed++;
			} else if (fd == plain || fd == denied_tcp) {
				for (int peer; (peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0; close(peer)) {
					if (fd == denied_tcp) passed++;
					else accepted++;
				}
			} else if (fd == flows) {
				for (int peer; (peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0;) watch(epoll, peer, EPOLLIN);
			} else {
				ssize_t length = recv(fd, bytes, sizeof bytes, 0);
				if (length > 0) (void)!send(fd, bytes, length, MSG_NOSIGNAL);
				else if (length == 0 || (errno != EAGAIN && errno != EINTR)) close(fd);
			}
		}
	}
	printf("{\"accepted\":%ld,\"deniedPassed\":%ld}\n", accepted, passed);
	return 0;
}

static struct { uint8_t kind; int64_t since_us; int64_t heard_us; } sockets[MAX_FD];
static int epoll_fd;
static long again_new, again_denied, made, refused, delayed, given_up, denied_passed, flood_sent, flows_lost, flows_made;
static int64_t slowest_us;

static void begin(int kind, const struct sockaddr_in *to)
{
	int fd = open_socket(SOCK_STREAM);
	if (kind != FLOW) reset_on_close(fd);
	sockets[fd].kind = kind;
	sockets[fd].since_us = sockets[fd].heard_us = now_us();
	if (connect(fd, (const struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS) {
		if (kind == NEW) refused++;
		sockets[fd].kind = NONE;
		close(fd);
		return;
	}
	watch(epoll_fd, fd, EPOLLOUT | EPOLLIN);
}

static void finish(int fd) { sockets[fd].kind = NONE; close(fd); }

/*
 * How often its SYN was sent again because none came back: not before one second. Within milliseconds the kernel sends it again
 * by itself when the other side still knows an earlier connection of the same ports and answers for that one (tcp_input.c,
 * SYN_SENT); nothing was lost then.
 */
static long sent_again(int fd, int64_t now)
{
	if (now - sockets[fd].since_us < DELAYED_MS * 1000) return 0;
	struct tcp_info info = { 0 };
	socklen_t length = sizeof info;
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) ? 0 : info.tcpi_total_retrans;
}

static void lose(int fd) { flows_lost++; finish(fd); }

static void event_on(int fd, uint32_t events)
{
	int failure = 0;
	socklen_t length = sizeof failure;
	char bytes[256];
	int64_t now = now_us();
	switch (sockets[fd].kind) {
	case NEW:
		again_new += sent_again(fd, now);
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length);
		if (failure) refused++;
		else {
			int64_t took = now - sockets[fd].since_us;
			made++;
			if (took > slowest_us) slowest_us = took;
			if (took >= DELAYED_MS * 1000) delayed++;
		}
		finish(fd);
		break;
	case DENIED:
		again_denied += sent_again(fd, now);
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length);
		if (!failure) denied_passed++;
		finish(fd);
		break;
	case FLOW: {
		if (events & (EPOLLERR | EPOLLHUP)) { lose(fd); break; }
		if (events & EPOLLOUT) {
			struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
			epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
			flows_made++;
		}
		ssize_t got = recv(fd, bytes, sizeof bytes, 0);
		if (got > 0) sockets[fd].heard_us = now;
		else if (got == 0 || (errno != EAGAIN && errno != EINTR)) lose(fd);
		break;
	}
	}
}

static int client(char **args)
{
	struct sockaddr_in to = address(args[0], atoi(args[1])), flow_to = address(args[0], atoi(args[2])), denied = address(args[0], atoi(args[3]));
	struct sockaddr_in listed = address(args[0], atoi(args[4])), source = address(args[5], 0);
	double per_us = atof(args[6]) / 1e6, flood_per_us = atof(args[8]) / 1e6;
	int flows = atoi(args[7]), udp = open_socket(SOCK_DGRAM), from_listed = open_socket(SOCK_DGRAM);
	if (bind(from_listed, (struct sockaddr *)&source, sizeof source)) die("bind the source");
	long begun = 0, flooded = 0;
	epoll_fd = epoll_create1(0);
	for (int i = 0; i < flows; i++) begin(FLOW, &flow_to);
	int64_t start = now_us() + 200000, beat = start, sweep = start;
	puts("ready");
	fflush(stdout);
	while (!ended) {
		struct epoll_event events[512];
		int count = epoll_wait(epoll_fd, events, 512, 1);
		for (int i = 0; i < count; i++) event_on(events[i].data.fd, events[i].events);
		int64_t now = now_us();
		if (now < start) continue;
		for (int burst = 0; begun < (now - start) * per_us && burst < 50; burst++, begun++) begin(NEW, &to);
		// what could not be begun in time on a busy machine is not made up for
		if (begun < (now - start) * per_us) begun = (now - start) * per_us;
		/* nor all at once: a veth keeps 256 frames for a program and drops the rest, whoever sent them */
		for (int burst = 0; flooded < (now - start) * flood_per_us && burst < 100; burst++, flooded++) {
			flood_sent++;
			if (flooded % 8 == 7) begin(DENIED, &denied);
			else if (flooded % 2) (void)!sendto(from_listed, "denied", 6, MSG_DONTWAIT, (struct sockaddr *)&listed, sizeof listed);
			else (void)!sendto(udp, "denied", 6, MSG_DONTWAIT, (struct sockaddr *)&denied, sizeof denied);
		}
		if (flooded < (now - start) * flood_per_us) flooded = (now - start) * flood_per_us;
		if (now - beat >= BEAT_MS * 1000) {
			beat = now;
			for (int fd = 3; fd < MAX_FD; fd++) {
				if (sockets[fd].kind != FLOW) continue;
				if (now - sockets[fd].heard_us > LOST_MS * 1000) lose(fd);
				else if (send(fd, "beat", 4, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != ENOTCONN) lose(fd);
			}
		}
		if (now - sweep >= 500000) {
			sweep = now;
			for (int fd = 3; fd < MAX_FD; fd++) {
				if ((sockets[fd].kind != NEW && sockets[fd].kind != DENIED) || now - sockets[fd].since_us < GIVE_UP_MS * 1000) continue;
				*(sockets[fd].kind == NEW ? &again_new : &again_denied) += sent_again(fd, now);
				if (sockets[fd].kind == NEW) given_up++;
				finish(fd);
			}
		}
	}
	printf("{\"made\":%ld,\"refused\":%ld,\"delayed\":%ld,\"givenUp\":%ld,\"slowestMs\":%.1f,\"flows\":%ld,\"flowsLost\":%ld,\"synsAgain\":%ld,\"deniedSynsAgain\":%ld,\"flood\":%ld,\"deniedPassed\":%ld}\n",
	       made, refused, delayed, given_up, slowest_us / 1000.0, flows_made, flows_lost, again_new, again_denied, flood_sent, denied_passed);
	return 0;
}

static int sink(char **args)
{
	int listener = serve_on(SOCK_STREAM, atoi(args[0])), on = 1;
	static char bytes[1 << 18];
	fcntl(listener, F_SETFL, 0);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		int peer = accept(listener, NULL, NULL);
		if (peer < 0) continue;
		setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		for (ssize_t got; (got = recv(peer, bytes, sizeof bytes, 0)) > 0;)
			if (got == 1 && send(peer, bytes, 1, MSG_NOSIGNAL) != 1) break;
		close(peer);
	}
	return 0;
}

static int measure(char **args, int turns)
{
	struct sockaddr_in to = address(args[0], atoi(args[1]));
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	static char bytes[1 << 17];
	long done = 0;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(fd, (struct sockaddr *)&to, sizeof to)) die("connect");
	/* the first tenth of a second does not count */
	int64_t begun = now_us() + 100000, until = begun + (int64_t)(atof(args[2]) * 1e6), now;
	for (int counts = 0; (now = now_us()) < until;) {
		if (!counts && now >= begun) { counts = 1; done = 0; begun = now; }
		ssize_t sent = send(fd, bytes, turns ? 1 : sizeof bytes, 0);
		if (sent <= 0) die("send");
		if (turns && recv(fd, bytes, 1, 0) != 1) die("recv");
		done += turns ? 1 : sent;
	}
	printf("{\"perSec\":%.0f}\n", done / ((now - begun) / 1e6));
	return 0;
}

static int tap(const char *netns, const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_NAPI };
	int space = open(netns, O_RDONLY | O_CLOEXEC), fd;
	if (space < 0 || setns(space, CLONE_NEWNET)) die(netns);
	close(space);
	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request)) die("tap");
	return fd;
}

static int wire_end[2];
static volatile sig_atomic_t asked;
static void ask(int number) { (void)number; asked++; }

static int64_t thread_cpu_ns(void)
{
	struct timespec at;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
	return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void *carry(void *arg)
{
	int from = wire_end[arg != NULL], to = wire_end[arg == NULL];
	struct pollfd readable = { .fd = from, .events = POLLIN };
	static __thread char frame[1 << 16];
	int64_t begun = thread_cpu_ns();
	long frames = 0;
	int answered = asked;
	while (!ended) {
		if (arg != NULL && answered != asked) {
			answered = asked;
			printf("{\"frames\":%ld,\"cpuNs\":%lld}\n", frames, (long long)(thread_cpu_ns() - begun));
			fflush(stdout);
			begun = thread_cpu_ns();
			frames = 0;
		}
		ssize_t length = read(from, frame, sizeof frame);
		if (length > 0) {
			(void)!write(to, frame, length); /* a full queue drops, as on a wire */
			frames++;
		}
		else if (errno == EAGAIN) poll(&readable, 1, 100);
		else usleep(1000); /* the device is not up yet */
	}
	return NULL;
}

static int wire(char **args)
{
	pthread_t other;
	wire_end[0] = tap(args[0], args[1]);
	wire_end[1] = tap(args[2], args[3]);
	signal(SIGUSR1, ask);
	puts("ready");
	fflush(stdout);
	if (pthread_create(&other, NULL, carry, &wire_end)) die("pthread_create");
	carry(NULL);
	pthread_join(other, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit files = { MAX_FD, MAX_FD };
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGTERM, end);
	signal(SIGINT, end);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 6 && !strcmp(argv[1], "server")) return server(argv + 2);
	if (argc == 11 && !strcmp(argv[1], "client")) return client(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "sink")) return sink(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "stream")) return measure(argv + 2, 0);
	if (argc == 5 && !strcmp(argv[1], "turns")) return measure(argv + 2, 1);
	if (argc == 6 && !strcmp(argv[1], "wire")) return wire(argv + 2);
	fprintf(stderr, "usage: load server PORT FLOWPORT DENIED LISTED | load client HOST PORT FLOWPORT DENIED LISTED SOURCE PER_SEC FLOWS FLOOD_PER_SEC\n");
	return 2;
}
