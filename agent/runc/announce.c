/*
 * drayage-announce: tells the segment where a container's addresses are now.
 *
 *   drayage-announce NETNS INTERFACE ADDRESS...
 *
 * Joins the network namespace NETNS (a path such as /proc/PID/ns/net) and sends
 * for each IPv4 address a gratuitous ARP (request and reply form, RFC 5227
 * section 3: some stacks take only one of them), for each IPv6 address an
 * unsolicited neighbour advertisement with the override flag (RFC 4861 section
 * 7.2.6). Switches learn the port from the frames, neighbours the MAC.
 *
 * Exit status: 0 all sent, 1 something was not (said on stderr), 2 usage.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <sched.h>
#include <stdio.h>
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

int main(int argc, char **argv)
{
	unsigned char mac[ETH_ALEN];
	int failed = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: drayage-announce NETNS INTERFACE ADDRESS...\n");
		return 2;
	}
	int namespace = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0) {
		complain(argv[1]);
		return 1;
	}
	int index = (int)if_nametoindex(argv[2]);
	if (index == 0) {
		complain(argv[2]);
		return 1;
	}
	if (hardware_address(argv[2], mac) < 0)
		return 1;
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
	return failed ? 1 : 0;
}
