// Whom a new configuration would keep out who has a connection now. Open connections live through every change; but who
// could not connect again is cut off as soon as his connection ends, and then it is too late to find out.
import type { Firewall } from '../model/firewall.ts'
import { describeConnection, type SeenConnection } from '../model/connection.ts'
import { judge } from '../model/oracle.ts'
import type { Judgement, Packet } from '../model/packet.ts'
import { protocolNumbers } from '../model/port.ts'

export interface Cut {
  readonly connection: SeenConnection
  /** What the new configuration says to it. */
  readonly judgement: Judgement
}

/** Connections whose peers could connect anew under `before` and could not under `after`. */
export function cutOff(before: Firewall, after: Firewall, connections: readonly SeenConnection[]): readonly Cut[] {
  return connections.flatMap((connection) => {
    const packet = firstPacket(connection)
    const judgement = judge(after, packet, 'new')
    return judgement.verdict.kind === 'accept' || judge(before, packet, 'new').verdict.kind !== 'accept' ? [] : [{ connection, judgement }]
  })
}

/** `192.0.2.2:51514 → 192.0.2.1:22 by eth0: drop (zone public: target DROP, /etc/derpanet/zones/public.yaml:3)`. */
export function describeCut({ connection, judgement }: Cut): string {
  const { verdict, origin } = judgement
  const place = origin.file === undefined ? '' : `, ${origin.file}${origin.position === undefined ? '' : `:${origin.position.line}`}`
  return `${describeConnection(connection)} by ${connection.interface}: ${verdict.kind} (${origin.text}${place})`
}

function firstPacket({ family, peer, peerPort, local, localPort, interface: inInterface, mac }: SeenConnection): Packet {
  return {
    direction: 'in', family, source: peer, destination: local, protocol: protocolNumbers.tcp, sourcePort: peerPort, destinationPort: localPort, inInterface,
    ...(mac === undefined ? {} : { sourceMac: mac }),
  }
}
