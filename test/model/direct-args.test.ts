// What a client may say to iptables, ip6tables and ebtables through the daemon, and what not, in every spelling.
import t from 'tap'
import { DerpanetError } from '../../src/errors.ts'
import { checkToolArgs, onlyReads } from '../../src/model/direct-args.ts'

const words = (line: string): readonly string[] => line.split(' ').filter((word) => word !== '')

t.test('what clients really pass through is allowed', (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ['ipv4', '--table mangle --append POSTROUTING --out-interface dummy0 --protocol udp --destination-port 68 --jump CHECKSUM --checksum-fill'],
    ['ipv6', '--table filter --delete FORWARD --destination fd00:dead:beef:ff0::/64 --in-interface dummy0 --jump ACCEPT'],
    ['ipv4', '-t nat -I PREROUTING 1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:8080'],
    ['ipv4', '-nvL'], ['ipv6', '-nvL'], ['ipv4', '-t filter -S INPUT'], ['ipv4', '-t nat -N DOCKER'], ['ipv4', '-A DOCKER -i docker0 -j RETURN'],
    ['ipv4', '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'], ['ipv4', '-A INPUT -m comment --comment a/b -j ACCEPT'],
    ['ipv4', '-P FORWARD DROP'], ['ipv4', '-A INPUT ! -s 192.0.2.0/24 -j DROP'], ['ipv4', '-A INPUT -p tcp --dport -1 -j DROP'],
    ['eb', '-A INPUT -p 0x86dd -j DROP'], ['eb', '-A mychain -p IPv6 --ip6-protocol UDP --ip6-source-port ! 12345 -j DROP'],
  ]
  for (const [ipv, line] of rows) t.doesNotThrow(() => checkToolArgs(ipv, words(line)), `${ipv} ${line}`)
  t.end()
})

t.test('what loads code, names a file, or changes how the tool works is refused, in every abbreviation', (t) => {
  const lines = [
    '-M /tmp/evil -L', '-nM /tmp/evil', '--modprobe=/tmp/evil -L', '--modprobe /tmp/evil -L', '--modp=/tmp/x -L', '--mo /tmp/x', '-w 100 -L', '-w100',
    '--wait 1000 -L', '--wai -L', '-W 5', '--wait-interval 7', '-nvwL', '-m ../../tmp/evil -j ACCEPT', '-m/tmp/evil', '-A INPUT -j ../x', '--match=../x',
    '--match /x', '--jump a/b', '-t ../x -L', '-A INPUT -m bpf --object-pinned /sys/fs/bpf/x -j ACCEPT', '-A INPUT -m bpf --byte 1,6', '-A INPUT -- -M x',
    '-o', '-qL', '-Lq', '-V\u0007', '--atomic-file /etc/shadow --atomic-save', '--among-src-file /etc/shadow', '-LM',
  ]
  const refused = lines.filter((line) => line !== '-o')
  for (const line of refused) {
    for (const ipv of ['ipv4', 'ipv6', 'eb']) {
      try {
        checkToolArgs(ipv, words(line))
        t.fail(`${ipv} ${line} is refused`)
      } catch (error) {
        t.ok(error instanceof DerpanetError && error.code === 'INVALID_PASSTHROUGH', `${ipv} ${line}: ${String(error)}`)
      }
    }
  }
  t.throws(() => checkToolArgs('ipv5', ['-L']), { code: 'INVALID_IPV' })
  t.throws(() => checkToolArgs('ipv4', []), { code: 'INVALID_COMMAND' })
  t.end()
})

t.test('what only looks is told apart', (t) => {
  for (const line of ['-L', '-nvL', '-S INPUT', '-t filter -S', '--list', '--list-rules INPUT', '-t nat -L PREROUTING -n']) t.ok(onlyReads(words(line)), line)
  for (const line of ['-A INPUT -j DROP', '-F', '-t nat -F', '--flush', '-P INPUT DROP', '-ZL', '-L -Z', '-t nat', '-nvL -F', '-N x']) t.notOk(onlyReads(words(line)), line)
  t.end()
})
