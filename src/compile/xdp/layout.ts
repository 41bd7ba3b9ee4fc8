// The layout of the XDP program's maps, as bpf/layout.h says it in C; test/compile/xdp-layout.test.ts compares the two.
// Integers are in host order, so typed arrays can be written as they are.

/** Every `#define DP_<name>` of layout.h. */
export const layout = {
  LAYOUT_VERSION: 1,
  CONTROL_SWITCH: 0,
  CONTROL_LAYOUT: 1,
  CONTROL_SAMPLE_EVERY: 2,
  CONTROL_EVENTS_PER_SEC: 3,
  CONTROL_SIZE: 8,
  SWITCH_HALF: 1,
  SWITCH_DEFER: 2,
  SWITCH_PANIC: 4,
  SWITCH_IDLE: 8,
  SWITCH_GENERATION_SHIFT: 8,
  FAMILY_IPV4: 0,
  FAMILY_IPV6: 1,
  TABLES: 4,
  PAGES_BARRIER: 4,
  PAGES_SIZE: 5,
  PAGE_BYTES: 65536,
  LINE_BYTES: 64,
  LINES_PER_PAGE: 1024,
  BITMAP_PAGES: 32,
  BITMAP_BITS: 24,
  MASK_PAGES: 4,
  MASK_BITS: 16,
  BITMAP_LENGTH6: 48,
  SHORT_LENGTH6: 64,
  SPILL_MAX: 7,
  LINE4_KEYS: 10,
  LINE6_KEYS: 6,
  LINE16_KEYS: 3,
  REGIONS4: 33,
  REGIONS6: 129,
  CLASSES: 1024,
  ACTION_NONE: 0,
  ACTION_ALLOW: 1,
  ACTION_DENY: 2,
  SLOTS: 1024,
  SLOT_FIRST_RULE: 16,
  RULE_ID_BYTES: 128,
  REASON_NO_MATCH: 0,
  REASON_NOT_IP: 1,
  REASON_UNREADABLE: 2,
  REASON_ESSENTIAL: 3,
  REASON_FAILSAFE: 4,
  REASON_NEVER_BLOCK: 5,
  REASON_FRAGMENT: 6,
  REASON_LINK: 7,
  REASON_DEFER: 8,
  REASON_PANIC: 9,
  REASON_LIST: 10,
  PORTMAP_BYTES: 8192,
  PORTMAP_TCP: 0,
  PORTMAP_UDP: 1,
  PORTMAP_SCTP: 2,
  PORTMAP_DCCP: 3,
  PORTMAPS: 4,
  LINK_ENFORCE: 1,
  LINKS_SIZE: 4096,
  EVENTS_BYTES: 262144,
  DRY_MAGIC: 0x31797264,
  MIX_A: 0x7feb352d,
  MIX_B: 0x846ca68b,
} as const

/** Byte offset of every member of every record of layout.h, and its size. */
export const records = {
  dp_line4: { size: 64, key: 0, class: 40, spill: 60 },
  dp_line6: { size: 64, key: 0, class: 48, spill: 60 },
  dp_line16: { size: 64, key: 0, class: 48, spill: 56 },
  dp_region: { size: 12, length: 0, first: 4, lines: 8 },
  dp_table: { size: 1564, regions: 0, salt: 4, bitmap_pages: 8, mask_pages: 12, region: 16 },
  dp_class: { size: 8, action: 0, slot: 4 },
  dp_failsafe: { size: 32776, any: 0, ports: 8 },
  dp_link: { size: 8, flags: 0, zone: 4 },
  dp_counter: { size: 16, packets: 0, bytes: 8 },
  dp_rule: { size: 128, id: 0 },
  dp_sample: { size: 16, window_ns: 0, left: 8, skip: 12 },
  dp_event: {
    size: 88, time_ns: 0, ifindex: 8, zone: 12, slot: 16, length: 20, vlan_outer: 24, vlan_inner: 26, ethertype: 28,
    source_port: 30, destination_port: 32, source_mac: 34, destination_mac: 40, protocol: 46, tcp_flags: 47, icmp_type: 48,
    icmp_code: 49, verdict: 50, reason: 51, family: 52, tags: 53, fragment: 54, source: 56, destination: 72,
  },
  dp_dry: { size: 16, magic: 0, reason: 4, slot: 8, switch_word: 12 },
} as const

/** What the program says about a packet, by reason number. */
export const reasons = [
  'no-match', 'not-ip', 'unreadable', 'essential', 'failsafe', 'never-block', 'fragment', 'link', 'defer', 'panic', 'list',
] as const
export type XdpReason = (typeof reasons)[number]

/** Index of a table in dp_tables and dp_pages. */
export function tableIndex(half: 0 | 1, family: 'ipv4' | 'ipv6'): number {
  return half * 2 + (family === 'ipv4' ? layout.FAMILY_IPV4 : layout.FAMILY_IPV6)
}

/** dp_mix() of the program: u32 → u32. */
export function mix(word: number): number {
  let mixed = word ^ (word >>> 16)
  mixed = Math.imul(mixed, layout.MIX_A)
  mixed ^= mixed >>> 15
  mixed = Math.imul(mixed, layout.MIX_B)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
