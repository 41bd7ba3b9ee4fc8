// What firewalld's users rely on, as sentences about packets. Each is the title of a test: its cases are in the tables of this
// folder, or in the file that it names. `basis` says how it is known of firewalld (1.3.3 and 2.5.0, side by side):
// traffic = tried with packets, ruleset = read from its rules, bus = tried over D-Bus, source = from its documentation and source,
// ours = it does not have it.
// `defect`: firewalld does not keep it, and we do.

export type Basis = 'traffic' | 'ruleset' | 'bus' | 'source' | 'ours'

export interface Statement {
  readonly title: string
  readonly basis: readonly Basis[]
  readonly defect?: string
  /** The file whose test bears the title, where the statement is not about one configuration alone. */
  readonly file?: string
}

const reload = 'test/system/statements.test.ts'

export const statements = {
  // reload, start, stop
  'reload.established': { basis: ['traffic'], file: reload, title: 'established connections live through a reload, and what is open stays open while it runs' },
  'reload.timed': {
    basis: ['bus', 'ruleset'], file: reload, defect: '2.5.0 is left without zones and drops everything new',
    title: 'a reload while a timed opening is pending brings the permanent configuration and ends the opening',
  },
  'reload.unbuildable': {
    basis: ['traffic'], file: reload, defect: '1.3.3 accepts such rules, fails the reload and leaves the host open',
    title: 'a rich rule that nothing can build is refused at runtime, and a reload that meets one in a file fails and keeps the rules before it',
  },
  'reload.foreign': { basis: ['traffic'], file: reload, defect: '1.3.3 removes them', title: 'a reload leaves the rules of other programs where they are' },
  'reload.runtime': { basis: ['bus'], file: reload, title: 'after a reload only what is permanent is open: ports, sources, rich rules and direct rules of the runtime are gone' },
  'reload.flush': {
    basis: ['bus', 'source'], file: reload,
    title: 'FlushAllOnReload: yes forgets interfaces bound at runtime; no keeps them, runtime ipset entries and runtime direct rules, but no ports',
  },
  'reload.policy': {
    basis: ['traffic', 'source'], file: reload,
    title: 'ReloadPolicy, whatever it says, has nothing to decide: during a reload new connections are let in and denied as before and after it',
  },
  'panic.reload': { basis: ['bus', 'source'], file: reload, title: 'panic survives a reload, and not a restart' },
  'default.follows': { basis: ['source'], file: reload, title: 'interfaces that were put into the default zone follow when it changes, through the reload that 2.x makes of it; those put there by name stay' },
  'stop.cleanup': { basis: ['traffic'], file: reload, title: 'CleanupOnExit=yes removes all rules at stop and leaves the host open; no leaves them in place' },
  'gateway': { basis: ['source'], file: reload, title: 'the policy set gateway is off until its policies are enabled, and then lets what is inside out' },

  // before the zones
  'state.established': { basis: ['ruleset'], title: 'answers and errors about known connections are let in before every zone' },
  'state.invalid': { basis: ['ruleset'], title: 'packets that fit no connection are dropped before every zone, to the host and through it' },
  'state.untracked': { basis: ['ruleset'], title: 'what opens a port opens it to new and to untracked packets' },
  'state.loopback': { basis: ['ruleset'], title: 'what the host says to itself is let in before every zone, in a zone on lo too' },

  // elements
  'host.only': { basis: ['source'], title: 'services, ports, protocols, source ports and ICMP blocks of a zone are for packets to the host; forwarded ones ignore them' },
  'ports': { basis: ['bus'], title: 'a port is open for its protocol and no other, a range from its first to its last' },
  'protocols': { basis: ['bus'], title: 'a protocol is open by name or number' },
  'service': { basis: ['source'], title: 'a service opens its ports, protocols and source ports and those of what it includes' },
  'service.destination': { basis: ['source'], title: 'a service with a destination is for packets to it, and for no other family' },
  'source.port': { basis: ['source'], title: 'a source port opens by the port of the sender' },

  // which zone
  'zone.order': { basis: ['traffic'], title: 'source bindings come before interface bindings, and those before the default zone' },
  'zone.one': {
    basis: ['traffic'], defect: '2.5.0 also tries the forward-ports of later zones, and policies from HOST to the default zone for every interface',
    title: 'exactly one zone decides: no forward-port of a later or of the default zone is tried, no policy from HOST to another zone',
  },
  'zone.overlap': { basis: ['traffic'], title: 'of zones with overlapping sources the first by name decides, not the longest prefix; a MAC address is a source' },
  'zone.priority': { basis: ['source'], title: 'a lower ingress priority comes first; within one, sources before interfaces; the default zone is last whatever its number' },
  'zone.wildcard': { basis: ['bus'], title: 'an interface name that ends in + stands for all that begin with it' },
  'zone.sources': { basis: ['bus'], title: 'a source is an address, a prefix, a MAC address or an ipset' },
  'zone.egress': { basis: ['ruleset'], title: 'where forwarded packets go is found in the same way: destination address before outgoing interface, by egress priority' },

  // verdicts
  'target': { basis: ['traffic'], title: 'target default rejects as administratively prohibited and answers ICMP; REJECT rejects that too; DROP is silent; ACCEPT takes all' },
  'target.forward': { basis: ['ruleset'], title: 'forwarded packets: default and REJECT reject, DROP drops, ACCEPT forwards to anywhere; the zone they come from decides' },
  'forward': { basis: ['ruleset', 'bus'], title: 'forward: packets between two interfaces or sources of one zone pass' },
  'masquerade': { basis: ['ruleset'], title: 'masquerade is IPv4\'s and for packets that leave by the zone, never by lo; a rich one without family covers both' },
  'forwarding': { basis: ['source'], file: 'test/host/forwarding.test.ts', title: 'masquerade and a forward-port to another host turn forwarding on, a redirect does not' },
  'forward.port': { basis: ['traffic'], title: 'a forward-port without to-addr leads to the host; neither its port nor the one it leads to need be open' },
  'forward.port.addr': { basis: ['bus', 'source'], title: 'a forward-port with to-addr leads to another host, in the family of that address' },
  'dnat': { basis: ['ruleset'], title: 'connections with a rewritten destination are let in whoever rewrote it; with StrictForwardPorts only our own' },
  'published': { basis: ['ours'], title: 'published: zone lets in what others publish where the zone, or a policy to HOST, has the published port open' },
  'icmp.block': { basis: ['traffic'], title: 'a blocked ICMP type is rejected; inverted, only the named types pass and all other ICMP is rejected, with none named too' },
  'panic': { basis: ['traffic', 'ruleset'], title: 'panic drops everything both ways: new, established, forwarded and what the host says to itself' },
  'log.denied': { basis: ['source', 'bus'], title: 'LogDenied writes down what is denied at the end of a zone, of invalid state and by the filters before, and nothing that passes' },
  'log.denied.type': { basis: ['source', 'bus'], title: 'LogDenied unicast, broadcast and multicast write down that type of packet alone' },
  'log.denied.prefix': { basis: ['source', 'bus'], title: 'the prefix of what LogDenied writes names the hook, the zone and the verdict' },
  'rpfilter': { basis: ['ruleset'], title: 'IPv6_rpfilter: strict drops senders without a way back by the interface they came from, loose by any, no none; neighbours and routers are exempt' },
  'rfc3964': { basis: ['ruleset'], title: 'RFC3964_IPv4 rejects IPv6 destinations that hide a private IPv4 address, sent by the host or through it' },

  // rich rules
  'rich.order': { basis: ['traffic'], title: 'negative priorities, then at 0 logs, then denials and ICMP blocks, then accepts beside plain ports, then positive priorities, then the target' },
  'rich.bare': { basis: ['source'], title: 'a rich rule without element is for all packets to the host from its source' },
  'rich.element': { basis: ['source'], title: 'rich rules with an element are for that element, their family, source and destination alone' },
  'rich.invert': { basis: ['bus'], title: 'NOT in a rich rule turns a source or destination round' },
  'rich.reject': { basis: ['bus'], title: 'a rich reject answers as its type says, each type of both families' },
  'rich.mark': { basis: ['source'], title: 'a rich mark marks packets wherever they go, and decides nothing' },
  'rich.nflog': { basis: ['bus'], title: 'a rich log or nflog writes down what it matches and decides nothing' },
  'rich.unbuildable': {
    basis: ['traffic'], file: reload, defect: '1.3.3 takes it, and then nothing of the zone can be changed any more',
    title: 'a rich rule that nothing can build is refused in a zone that is not in use, too, and the zone can be used',
  },

  // policies
  'policy.sides': { basis: ['bus', 'source'], title: 'a policy is for packets from its ingress to its egress zones; ANY does not include HOST' },
  'policy.active': { basis: ['source'], title: 'a policy is in force while both sides hold a zone in use, HOST or ANY, and it is not disabled' },
  'policy.priority': { basis: ['bus', 'ruleset'], title: 'policies of lower priority first; negative ones before the zone\'s own rules, positive ones after them and before its target' },
  'policy.target': { basis: ['source'], title: 'a policy at its end goes on, accepts, rejects or drops' },
  'policy.elements': { basis: ['source'], title: 'a policy takes the elements of a zone, for packets through the host too' },
  'policy.host': { basis: ['source'], title: 'a policy from HOST decides what the host sends, not what it answers' },
  'policy.nat': { basis: ['bus', 'source'], title: 'masquerade and forward-ports in a policy are for its ingress and egress zones' },

  // ipsets, direct
  'ipset': { basis: ['bus'], title: 'ipsets of addresses, nets, ports and MAC addresses are sources of rich rules, those without a second part of zones too' },
  'direct': { basis: ['bus'], title: 'direct rules come before the zones: what they accept may still be denied, what they deny is denied' },
  'helpers': { basis: ['bus'], file: 'test/kernel/netfilter/effects.test.ts', title: 'a service brings its connection helper, and one that the kernel lacks costs nothing else' },
} as const satisfies Readonly<Record<string, Statement>>

export type StatementId = keyof typeof statements
