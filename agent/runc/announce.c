/*
 * drayage-announce: tells the segment where a container's addresses are now.
 *
 *   drayage-announce NETNS INTERFACE ADDRESS... <connections
 *
 * Joins the network namespace NETNS (a path such as /proc/PID/ns/net) and, on
 * the interface of that name or MAC address, sends
 * for each IPv4 address a gratuitous ARP (request and reply form, RFC 5227
 * section 3: some stacks take only one of them), for each IPv6 address an
 * unsolicited neighbour advertisement with the override flag (RFC 4861 section
 * 7.2.6). Switches learn the port from the frames, neighbours the MAC.
 *
 * Then it wakes the peers of the TCP connections given on stdin, one a line:
 *
 *   LOCAL-ADDRESS LOCAL-PORT REMOTE-ADDRESS REMOTE-PORT SEQUENCE
 *
 * SEQUENCE is the number of the next byte expected from the peer. A peer that
 * sent into the silence waits ever longer between its attempts, so that it would
 * notice the end of the downtime only after up to as long again. "Host
 * unreachable" for the segment it waits for takes one doubling back (RFC 6069)
 * and makes it try at once if its time is over; an established connection takes
 * no other notice (RFC 1122 section 4.2.3.9). Peers that wait for nothing, and
 * systems that do not know RFC 6069, ignore it.
 *
 * Exit status: 0 all sent, 1 something was not (said on stderr), 2 usage.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int complain(const char *what)
{
	fprintf(stderr, "drayage-announce: %s: %s\n", what, strerror(errno));
	return -1;
}

static int hardware_address(const char *interface, unsigned char mac[ETH_ALEN])
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return complain("socket");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	int rc = ioctl(fd, SIOCGIFHWADDR, &request);
	close(fd);
	if (rc < 0)
		return complain(interface);
	memcpy(mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
	return 0;
}

static int announce_ipv4(int index, const unsigned char mac[ETH_ALEN], const struct in_addr *address)
{
	struct {
		struct ether_header ethernet;
		struct ether_arp arp;
	} __attribute__((packed)) frame = {0};
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = index, .sll_halen = ETH_ALEN};
	int rc = 0;

	memset(to.sll_addr, 0xff, ETH_ALEN);
	memset(frame.ethernet.ether_dhost, 0xff, ETH_ALEN);
	memcpy(frame.ethernet.ether_shost, mac, ETH_ALEN);
	frame.ethernet.ether_type = htons(ETHERTYPE_ARP);
	frame.arp.arp_hrd = htons(ARPHRD_ETHER);
	frame.arp.arp_pro = htons(ETHERTYPE_IP);
	frame.arp.arp_hln = ETH_ALEN;
	frame.arp.arp_pln = 4;
	memcpy(frame.arp.arp_sha, mac, ETH_ALEN);
	memcpy(frame.arp.arp_spa, address, 4);
	memcpy(frame.arp.arp_tpa, address, 4);

	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_ARP));
	if (fd < 0)
		return complain("packet socket");
	for (int operation = ARPOP_REQUEST; operation <= ARPOP_REPLY; operation++) {
		frame.arp.arp_op = htons(operation);
		if (operation == ARPOP_REPLY)
			memset(frame.arp.arp_tha, 0xff, ETH_ALEN);
		if (sendto(fd, &frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			rc = complain("sending ARP");
	}
	close(fd);
	return rc;
}

static int announce_ipv6(int index, const unsigned char mac[ETH_ALEN], const struct in6_addr *address)
{
	struct {
		struct nd_neighbor_advert advert;
		unsigned char type, length, mac[ETH_ALEN];
	} __attribute__((packed)) message = {0};
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_scope_id = index};
	int hops = 255, rc = 0;

	inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
	message.advert.nd_na_type = ND_NEIGHBOR_ADVERT;
	message.advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	message.advert.nd_na_target = *address;
	message.type = ND_OPT_TARGET_LINKADDR;
	message.length = 1;
	memcpy(message.mac, mac, ETH_ALEN);

	int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	if (fd < 0)
		return complain("ICMPv6 socket");
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) < 0 ||
	    sendto(fd, &message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		rc = complain("sending a neighbour advertisement");
	close(fd);
	return rc;
}

/* Index of the interface with this name or MAC address; 0 if there is none. */
static int find_interface(const char *text, unsigned char mac[ETH_ALEN])
{
	if (!strchr(text, ':'))
		return hardware_address(text, mac) < 0 ? 0 : (int)if_nametoindex(text);
	struct ether_addr *wanted = ether_aton(text);
	struct if_nameindex *all = wanted ? if_nameindex() : NULL;
	int index = 0;

	for (struct if_nameindex *one = all; one && one->if_index && !index; one++) {
		if (hardware_address(one->if_name, mac) < 0 || memcmp(mac, wanted->ether_addr_octet, ETH_ALEN))
			continue;
		index = (int)one->if_index;
	}
	if (all)
		if_freenameindex(all);
	return index;
}

/* Doublings that are taken back: 10 reach from the shortest wait, 0.2 s, beyond the longest, 120 s. */
#define WAKE_TIMES 10

struct connection {
	char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
	uint16_t local_port, remote_port;
	uint32_t sequence;
};

/* The part of a TCP header that an error quotes: ports and sequence number, as the peer had sent them. */
struct quoted_tcp {
	uint16_t source, destination;
	uint32_t sequence;
} __attribute__((packed));

static struct quoted_tcp quote(const struct connection *connection)
{
	return (struct quoted_tcp){htons(connection->remote_port), htons(connection->local_port),
				   htonl(connection->sequence)};
}

static uint16_t internet_checksum(const void *bytes, size_t length)
{
	const uint16_t *words = bytes;
	uint32_t sum = 0;

	for (size_t i = 0; i < length / 2; i++)
		sum += words[i];
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

static int send_many(int family, int protocol, const struct sockaddr *from, const struct sockaddr *to,
		     socklen_t size, const void *message, size_t length)
{
	int rc = 0;
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return complain("ICMP socket");
	if (bind(fd, from, size) < 0)
		rc = complain("local address of a connection");
	for (int i = 0; i < WAKE_TIMES && rc == 0; i++)
		if (sendto(fd, message, length, 0, to, size) < 0)
			rc = complain("waking a peer");
	close(fd);
	return rc;
}

static int wake_ipv4(const struct connection *connection, struct in_addr local, struct in_addr remote)
{
	struct {
		struct icmphdr icmp;
		struct iphdr ip;
		struct quoted_tcp tcp;
	} __attribute__((packed, aligned(4))) message = {
		.icmp = {.type = ICMP_DEST_UNREACH, .code = ICMP_HOST_UNREACH},
		.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP, .tot_len = htons(40),
		       .saddr = remote.s_addr, .daddr = local.s_addr},
		.tcp = quote(connection),
	};
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = local};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = remote};

	message.ip.check = internet_checksum(&message.ip, sizeof(message.ip));
	message.icmp.checksum = internet_checksum(&message, sizeof(message));
	return send_many(AF_INET, IPPROTO_ICMP, (struct sockaddr *)&from, (struct sockaddr *)&to, sizeof(to),
			 &message, sizeof(message));
}

static int wake_ipv6(const struct connection *connection, const struct in6_addr *local, const struct in6_addr *remote)
{
	struct {
		struct icmp6_hdr icmp;
		struct ip6_hdr ip;
		struct quoted_tcp tcp;
	} __attribute__((packed, aligned(4))) message = {
		.icmp = {.icmp6_type = ICMP6_DST_UNREACH, .icmp6_code = ICMP6_DST_UNREACH_NOROUTE},
		.ip = {.ip6_src = *remote, .ip6_dst = *local},
		.tcp = quote(connection),
	};
	struct sockaddr_in6 from = {.sin6_family = AF_INET6, .sin6_addr = *local};
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = *remote};

	message.ip.ip6_vfc = 6 << 4;
	message.ip.ip6_plen = htons(20);
	message.ip.ip6_nxt = IPPROTO_TCP;
	message.ip.ip6_hlim = 64;
	return send_many(AF_INET6, IPPROTO_ICMPV6, (struct sockaddr *)&from, (struct sockaddr *)&to, sizeof(to),
			 &message, sizeof(message));
}

static int wake(const struct connection *connection)
{
	struct in_addr local4, remote4;
	struct in6_addr local6, remote6;

	if (inet_pton(AF_INET, connection->local, &local4) == 1 && inet_pton(AF_INET, connection->remote, &remote4) == 1)
		return wake_ipv4(connection, local4, remote4);
	if (inet_pton(AF_INET6, connection->local, &local6) == 1 && inet_pton(AF_INET6, connection->remote, &remote6) == 1)
		return wake_ipv6(connection, &local6, &remote6);
	fprintf(stderr, "drayage-announce: \"%s\" and \"%s\" are no addresses of one family\n", connection->local,
		connection->remote);
	return -1;
}

static int wake_all(void)
{
	struct connection connection;
	int rc = 0;

	while (scanf("%45s %" SCNu16 " %45s %" SCNu16 " %" SCNu32, connection.local, &connection.local_port,
		     connection.remote, &connection.remote_port, &connection.sequence) == 5)
		rc |= wake(&connection);
	if (!feof(stdin)) {
		fprintf(stderr, "drayage-announce: a line on stdin is no connection\n");
		rc = -1;
	}
	return rc;
}

int main(int argc, char **argv)
{
	unsigned char mac[ETH_ALEN];
	int failed = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: drayage-announce NETNS INTERFACE ADDRESS... <connections\n");
		return 2;
	}
	int namespace = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0) {
		complain(argv[1]);
		return 1;
	}
	int index = find_interface(argv[2], mac);
	if (index == 0) {
		fprintf(stderr, "drayage-announce: there is no interface %s\n", argv[2]);
		return 1;
	}
	for (int i = 3; i < argc; i++) {
		struct in_addr v4;
		struct in6_addr v6;
		if (inet_pton(AF_INET, argv[i], &v4) == 1) {
			failed |= announce_ipv4(index, mac, &v4) < 0;
		} else if (inet_pton(AF_INET6, argv[i], &v6) == 1) {
			failed |= announce_ipv6(index, mac, &v6) < 0;
		} else {
			fprintf(stderr, "drayage-announce: \"%s\" is not an address\n", argv[i]);
			return 2;
		}
	}
	failed |= wake_all() < 0;
	return failed ? 1 : 0;
}
