// UDP packets as fast as one core makes them and the kernel beyond the wire takes them: both happen in this thread, because a
// veth hands a packet over where it was sent. So the thread's own processor time a packet, less what sending costs, is what
// the receiving host spends on it.
//   blast INTERFACE DESTINATION_MAC DESTINATION FIRST_SOURCE SOURCES FIRST_PORT PORTS PACKETS
// Sources count up from FIRST_SOURCE, ports from FIRST_PORT by two; which go together is random, and the same every time.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAMES = 4096, BATCH = 64, BYTES = 60 };
struct frame { struct ether_header eth; struct iphdr ip; struct udphdr udp; uint8_t rest[BYTES - 42]; } __attribute__((packed));

static struct frame frames[FRAMES];

static void die(const char *what) { perror(what); exit(1); }

static uint16_t checksum(const void *at, int bytes)
{
	uint32_t sum = 0;
	uint16_t word;
	for (int i = 0; i < bytes; i += 2) {
		memcpy(&word, (const char *)at + i, 2);
		sum += word;
	}
	while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	return *state ^= *state << 5;
}

static double cpu_sec(void)
{
	struct rusage used;
	getrusage(RUSAGE_THREAD, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	if (argc != 9) { fprintf(stderr, "usage: blast INTERFACE MAC DESTINATION FIRST_SOURCE SOURCES FIRST_PORT PORTS PACKETS\n"); return 2; }
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	struct ifreq request = {};
	if (fd < 0) die("socket");
	snprintf(request.ifr_name, IFNAMSIZ, "%s", argv[1]);
	if (ioctl(fd, SIOCGIFHWADDR, &request)) die(argv[1]);
	uint8_t own[6], peer[6];
	memcpy(own, request.ifr_hwaddr.sa_data, 6);
	if (sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", peer, peer + 1, peer + 2, peer + 3, peer + 4, peer + 5) != 6) die("MAC");
	uint32_t state = 1, first = ntohl(inet_addr(argv[4])), sources = atoi(argv[5]), port = atoi(argv[6]), ports = atoi(argv[7]);
	for (int i = 0; i < FRAMES; i++) {
		struct frame *one = &frames[i];
		memcpy(one->eth.ether_dhost, peer, 6);
		memcpy(one->eth.ether_shost, own, 6);
		one->eth.ether_type = htons(ETH_P_IP);
		one->ip = (struct iphdr){ .version = 4, .ihl = 5, .tot_len = htons(BYTES - sizeof one->eth), .ttl = 64, .protocol = IPPROTO_UDP };
		one->ip.saddr = htonl(first + next(&state) % sources);
		one->ip.daddr = inet_addr(argv[3]);
		one->ip.check = checksum(&one->ip, sizeof one->ip);
		one->udp = (struct udphdr){ .source = htons(1024 + next(&state) % 60000), .dest = htons(port + 2 * (next(&state) % ports)), .len = htons(BYTES - 34) };
	}
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1]), .sll_halen = 6 };
	struct mmsghdr batch[BATCH] = {};
	struct iovec parts[BATCH];
	for (int i = 0; i < BATCH; i++) batch[i].msg_hdr = (struct msghdr){ .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &parts[i], .msg_iovlen = 1 };
	long packets = atol(argv[8]), done = 0, stalls = 0;
	double begun = cpu_sec();
	while (done < packets) {
		for (int i = 0; i < BATCH; i++) parts[i] = (struct iovec){ &frames[(done + i) % FRAMES], BYTES };
		int sent = sendmmsg(fd, batch, BATCH, 0);
		if (sent <= 0) {
			/* the kernel left packets to its own thread, which has not come to it: what that did is not in our time */
			if (errno != ENOBUFS) die("sendmmsg");
			stalls++;
			usleep(1000);
			continue;
		}
		done += sent;
	}
	printf("{\"packets\":%ld,\"stalls\":%ld,\"nanoseconds\":%.1f}\n", done, stalls, (cpu_sec() - begun) * 1e9 / done);
	return 0;
}
