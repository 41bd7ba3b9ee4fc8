// The numbers behind the names of ICMP types (IANA). firewalld's files hold only names; the numbers are in its program.
import type { IcmpTypeSettings } from '../../model/settings.ts'

type Numbers = IcmpTypeSettings['ipv4']

/** name: [IPv4, IPv6], each a list of [type, code], code null = every code. */
export const icmpNumbersByName: Readonly<Record<string, readonly [Numbers, Numbers]>> = {
  'address-unreachable': [[], [[1, 3]]],
  'bad-header': [[], [[4, 0]]],
  'beyond-scope': [[], [[1, 2]]],
  'communication-prohibited': [[[3, 13]], [[1, 1]]],
  'destination-unreachable': [[[3, null]], [[1, null]]],
  'echo-reply': [[[0, null]], [[129, null]]],
  'echo-request': [[[8, null]], [[128, null]]],
  'failed-policy': [[], [[1, 5]]],
  'fragmentation-needed': [[[3, 4]], []],
  'host-precedence-violation': [[[3, 14]], []],
  'host-prohibited': [[[3, 10]], []],
  'host-redirect': [[[5, 1]], []],
  'host-unknown': [[[3, 7]], []],
  'host-unreachable': [[[3, 1]], []],
  'ip-header-bad': [[[12, 0]], []],
  'mld-listener-done': [[], [[132, null]]],
  'mld-listener-query': [[], [[130, null]]],
  'mld-listener-report': [[], [[131, null]]],
  'mld2-listener-report': [[], [[143, null]]],
  'neighbour-advertisement': [[], [[136, 0]]],
  'neighbour-solicitation': [[], [[135, 0]]],
  'network-prohibited': [[[3, 9]], []],
  'network-redirect': [[[5, 0]], []],
  'network-unknown': [[[3, 6]], []],
  'network-unreachable': [[[3, 0]], []],
  'no-route': [[], [[1, 0]]],
  'packet-too-big': [[], [[2, null]]],
  'parameter-problem': [[[12, null]], [[4, null]]],
  'port-unreachable': [[[3, 3]], [[1, 4]]],
  'precedence-cutoff': [[[3, 15]], []],
  'protocol-unreachable': [[[3, 2]], []],
  redirect: [[[5, null]], [[137, 0]]],
  'reject-route': [[], [[1, 6]]],
  'required-option-missing': [[[12, 1]], []],
  'router-advertisement': [[[9, null]], [[134, 0]]],
  'router-solicitation': [[[10, null]], [[133, 0]]],
  'source-quench': [[[4, null]], []],
  'source-route-failed': [[[3, 5]], []],
  'time-exceeded': [[[11, null]], [[3, null]]],
  'timestamp-reply': [[[14, null]], []],
  'timestamp-request': [[[13, null]], []],
  'tos-host-redirect': [[[5, 1]], []],
  'tos-host-unreachable': [[[3, 1]], []],
  'tos-network-redirect': [[[5, 2]], []],
  'tos-network-unreachable': [[[3, 0]], []],
  'ttl-zero-during-reassembly': [[[11, 1]], [[3, 1]]],
  'ttl-zero-during-transit': [[[11, 0]], [[3, 0]]],
  'unknown-header-type': [[], [[4, 1]]],
  'unknown-option': [[], [[4, 2]]],
}

/** Both empty for a name that nobody knows. */
export function numbersOf(name: string): Pick<IcmpTypeSettings, 'ipv4' | 'ipv6'> {
  const [ipv4, ipv6] = Object.hasOwn(icmpNumbersByName, name) ? icmpNumbersByName[name]! : [[], []]
  return { ipv4, ipv6 }
}
