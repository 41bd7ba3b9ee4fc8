/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What the daemon writes and the XDP program reads: sizes, indexes and records of the maps.
 * src/compile/xdp/layout.ts says the same in TypeScript; test/compile/xdp-layout.test.ts compares the two.
 * A change of any number or record here needs a new DP_LAYOUT_VERSION: the loader then loads beside and switches links.
 *
 * All integers are in host order. Addresses are u32 words in host order, most significant word first.
 */
#ifndef DERPANET_LAYOUT_H
#define DERPANET_LAYOUT_H

#include <linux/types.h>

#define DP_LAYOUT_VERSION 1

/* dp_control: u32 elements. */
#define DP_CONTROL_SWITCH 0
#define DP_CONTROL_LAYOUT 1
#define DP_CONTROL_SAMPLE_EVERY 2
#define DP_CONTROL_EVENTS_PER_SEC 3
#define DP_CONTROL_SIZE 8

/*
 * The switch word. Everything that decides is in its low byte, so that one store moves the program from one
 * configuration to the next; the generation above it is for people.
 */
#define DP_SWITCH_HALF 1
#define DP_SWITCH_DEFER 2
#define DP_SWITCH_PANIC 4
/* No list decides: a half is rewritten while packets may read both, or nobody knows what the ruleset holds. */
#define DP_SWITCH_IDLE 8
#define DP_SWITCH_GENERATION_SHIFT 8

/* Families and halves: the index of a table is half * 2 + family. */
#define DP_FAMILY_IPV4 0
#define DP_FAMILY_IPV6 1
#define DP_TABLES 4
/* One slot more than tables in dp_pages: writing it waits until no packet reads what it read before. */
#define DP_PAGES_BARRIER 4
#define DP_PAGES_SIZE 5

/* A source table is an array of pages: bitmap, then length masks, then lines. */
#define DP_PAGE_BYTES 65536
#define DP_LINE_BYTES 64
#define DP_LINES_PER_PAGE 1024
#define DP_BITMAP_PAGES 32
#define DP_BITMAP_BITS 24
#define DP_MASK_PAGES 4
#define DP_MASK_BITS 16
/* IPv6 prefixes at least this long are behind the bitmap, shorter ones are always probed. */
#define DP_BITMAP_LENGTH6 48
/* IPv6 prefixes up to this length have 8-byte keys, longer ones 16-byte keys. */
#define DP_SHORT_LENGTH6 64
/* A key is in its home line or at most this many lines behind it. */
#define DP_SPILL_MAX 7
#define DP_LINE4_KEYS 10
#define DP_LINE6_KEYS 6
#define DP_LINE16_KEYS 3
#define DP_REGIONS4 33
#define DP_REGIONS6 129

/* Classes: what a source prefix means. 0 = none. Index of a class record: half * DP_CLASSES + class. */
#define DP_CLASSES 1024
#define DP_ACTION_NONE 0
#define DP_ACTION_ALLOW 1
#define DP_ACTION_DENY 2

/* Counter slots: the first ones are reasons, the rest belong to rules. */
#define DP_SLOTS 1024
#define DP_SLOT_FIRST_RULE 16
#define DP_RULE_ID_BYTES 128

#define DP_REASON_NO_MATCH 0
#define DP_REASON_NOT_IP 1
#define DP_REASON_UNREADABLE 2
#define DP_REASON_ESSENTIAL 3
#define DP_REASON_FAILSAFE 4
#define DP_REASON_NEVER_BLOCK 5
#define DP_REASON_FRAGMENT 6
#define DP_REASON_LINK 7
#define DP_REASON_DEFER 8
#define DP_REASON_PANIC 9
#define DP_REASON_LIST 10

/* Failsafe ports: one 64 Ki-bit map a protocol, one record a half. */
#define DP_PORTMAP_BYTES 8192
#define DP_PORTMAP_TCP 0
#define DP_PORTMAP_UDP 1
#define DP_PORTMAP_SCTP 2
#define DP_PORTMAP_DCCP 3
#define DP_PORTMAPS 4

/* dp_links: interfaces without a row, or without ENFORCE in it, are never dropped on. */
#define DP_LINK_ENFORCE 1
#define DP_LINKS_SIZE 4096

#define DP_EVENTS_BYTES 262144

/* "dry1" */
#define DP_DRY_MAGIC 0x31797264
/* Multiplied in the hash, see dp_mix(). */
#define DP_MIX_A 0x7feb352d
#define DP_MIX_B 0x846ca68b

/* A line of IPv4 keys. class 0 = empty slot. `spill`: how many lines behind this one hold keys whose home is here. */
struct dp_line4 {
	__u32 key[DP_LINE4_KEYS];
	__u16 class[DP_LINE4_KEYS];
	__u32 spill;
};

/* A line of IPv6 keys up to /64. */
struct dp_line6 {
	__u32 key[DP_LINE6_KEYS][2];
	__u16 class[DP_LINE6_KEYS];
	__u32 spill;
};

/* A line of IPv6 keys longer than /64. */
struct dp_line16 {
	__u32 key[DP_LINE16_KEYS][4];
	__u16 class[DP_LINE16_KEYS];
	__u16 pad;
	__u32 spill;
	__u32 unused;
};

/* The lines of all prefixes of one length. `first` counts lines from the start of the page array. */
struct dp_region {
	__u32 length;
	__u32 first;
	__u32 lines;
};

/* One source table (a half, a family). Regions are sorted longest prefix first; `regions` of them are valid. */
struct dp_table {
	__u32 regions;
	__u32 salt;
	__u32 bitmap_pages;
	__u32 mask_pages;
	struct dp_region region[DP_REGIONS6];
};

struct dp_class {
	__u32 action;
	__u32 slot;
};

/* `any` = some port is set in some map: fragments without ports cannot be judged then. */
struct dp_failsafe {
	__u32 any;
	__u32 pad;
	__u8 ports[DP_PORTMAPS][DP_PORTMAP_BYTES];
};

struct dp_link {
	__u32 flags;
	__u32 zone;
};

struct dp_counter {
	__u64 packets;
	__u64 bytes;
};

/* Which rule a counter slot belongs to, so that a restarted daemon finds its counters again. */
struct dp_rule {
	__u8 id[DP_RULE_ID_BYTES];
};

/* Budget of events, per CPU. */
struct dp_sample {
	__u64 window_ns;
	__u32 left;
	__u32 skip;
};

/* A sampled drop. MACs and addresses as on the wire, everything else in host order. Ports: 0 = none or unknown. */
struct dp_event {
	__u64 time_ns;
	__u32 ifindex;
	__u32 zone;
	__u32 slot;
	__u32 length;
	__u16 vlan_outer;
	__u16 vlan_inner;
	__u16 ethertype;
	__u16 source_port;
	__u16 destination_port;
	__u8 source_mac[6];
	__u8 destination_mac[6];
	__u8 protocol;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 verdict;
	__u8 reason;
	__u8 family;
	__u8 tags;
	__u8 fragment;
	__u8 pad;
	__u8 source[16];
	__u8 destination[16];
};

/*
 * In front of a frame given to BPF_PROG_TEST_RUN (as XDP metadata): judge, but count nothing and spend no event.
 * The program writes the rest.
 */
struct dp_dry {
	__u32 magic;
	__u32 reason;
	__u32 slot;
	__u32 switch_word;
};

#endif
