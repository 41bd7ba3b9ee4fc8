#!/usr/bin/python3
"""The hands of the tests in one network namespace: it sends, listens, connects and serves on command.

One JSON object a line on standard input, one answer a line on standard output, with the same "id"; commands may overlap.
It ends when its input ends (with --finish: after what was asked). It decides nothing: frames are built and judged in frame.ts and probe.ts.

exchange  ifname frames[hex] waitMs keep    send Ethernet frames, answer the frames that arrived meanwhile and for waitMs after
                                            (keep: and those heard since the last exchange)
raw       packets[{family, destination, hex}]  send IP packets as this host's own; answers one errno name or "" for each
probe     items[{kind tcp|udp|ping, host, port, src, sport, timeoutMs, payload}]   all at once; answers one text for each
serve     specs["tcp:22", "udp:53"]         answer everybody with the address they came from
hold      host port src                      one TCP connection that stays; answers a handle
say       handle text timeoutMs              a line over it; answers what came back, "lost" or "silent"
release   handle                             ends it
"""
import asyncio, errno, itertools, json, os, random, socket, struct, sys, time

ICMP = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
held = {}


def family(host):
    return socket.AF_INET6 if ':' in host else socket.AF_INET


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


class IcmpEar:
    """Hears every ICMP message that reaches this namespace, and wakes whoever waits for an error about his packet."""

    def __init__(self, loop, version):
        self.version = version
        self.errors = {}
        self.echoes = {}
        self.sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_RAW, ICMP[version])
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.setblocking(False)
        loop.add_reader(self.sock.fileno(), self.read)

    def read(self):
        while True:
            try:
                data = self.sock.recv(2048)
            except BlockingIOError:
                return
            if self.version == 4:
                data = data[(data[0] & 15) * 4:]
            if len(data) < 8:
                continue
            kind, code = data[0], data[1]
            if kind in ((0,) if self.version == 4 else (129,)):
                self.wake(self.echoes, struct.unpack('!HH', data[4:8]), 'open')
            elif kind in ((3, 11) if self.version == 4 else (1, 3)):
                quoted = data[8:]
                if self.version == 4:
                    proto, body = quoted[9], quoted[(quoted[0] & 15) * 4:]
                else:
                    proto, body = quoted[6], quoted[40:]
                said = 'icmp%d/%d' % (kind, code)
                if proto in (6, 17):
                    self.wake(self.errors, (proto,) + struct.unpack('!HH', body[:4]), said)
                elif proto in (1, 58):
                    self.wake(self.echoes, struct.unpack('!HH', body[4:8]), 'reject ' + said)

    @staticmethod
    def wake(table, key, value):
        waiting = table.get(key)
        if waiting and not waiting.done():
            waiting.set_result(value)


class Agent:
    def __init__(self, loop):
        self.loop = loop
        self.ears = {4: IcmpEar(loop, 4), 6: IcmpEar(loop, 6)}
        self.packet_sockets = {}
        self.servers = []
        self.next_echo = os.getpid() & 0xffff
        self.next_handle = 0
        self.own_ports = itertools.cycle(random.sample(range(32768, 61000), 61000 - 32768))

    def bind(self, sock, item):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if item.get('sport'):
            # the same port in both families, and again soon after
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return sock.bind((item.get('src') or '', item['sport']))
        # Never one that this agent had lately, as the kernel might give: conntrack remembers a UDP "connection" for two minutes
        # and lets a datagram pass that the rules of now would stop.
        for port in itertools.islice(self.own_ports, 100):
            try:
                return sock.bind((item.get('src') or '', port))
            except OSError as failure:
                if failure.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, 'a hundred ports are in use')

    async def probe_tcp(self, item):
        version = 6 if ':' in item['host'] else 4
        sock = socket.socket(family(item['host']), socket.SOCK_STREAM)
        sock.setblocking(False)
        ear = self.ears[version]
        try:
            self.bind(sock, item)
            key = (6, sock.getsockname()[1], item['port'])
            ear.errors[key] = refused = self.loop.create_future()
            connecting = asyncio.ensure_future(self.loop.sock_connect(sock, (item['host'], item['port'])))
            done, _ = await asyncio.wait({connecting, refused}, timeout=item['timeoutMs'] / 1000, return_when=asyncio.FIRST_COMPLETED)
            if refused in done:
                connecting.cancel()
                return 'reject ' + refused.result()
            if connecting not in done:
                connecting.cancel()
                return 'drop'
            failure = connecting.exception()
            if failure is None:
                try:
                    said = await asyncio.wait_for(self.loop.sock_recv(sock, 100), item['timeoutMs'] / 1000)
                except (asyncio.TimeoutError, OSError):
                    said = b''
                return ('open ' + said.decode().strip()).strip()
            # the error about our packet may be read a moment after the kernel has failed the connection
            await asyncio.wait({refused}, timeout=0.05)
            if refused.done():
                return 'reject ' + refused.result()
            return {errno.ECONNREFUSED: 'closed', errno.EPERM: 'drop local'}.get(failure.errno, 'error ' + errno.errorcode.get(failure.errno, str(failure)))
        except OSError as failure:
            return 'error ' + errno.errorcode.get(failure.errno, str(failure))
        finally:
            sock.close()

    async def probe_udp(self, item):
        version = 6 if ':' in item['host'] else 4
        sock = socket.socket(family(item['host']), socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            self.bind(sock, item)
            self.ears[version].errors[(17, sock.getsockname()[1], item['port'])] = refused = self.loop.create_future()
            try:
                sock.sendto(item.get('payload', 'hello').encode(), (item['host'], item['port']))
            except OSError as failure:
                return 'drop local' if failure.errno == errno.EPERM else 'error ' + errno.errorcode.get(failure.errno, str(failure))
            answering = asyncio.ensure_future(self.loop.sock_recv(sock, 2000))
            done, _ = await asyncio.wait({answering, refused}, timeout=item['timeoutMs'] / 1000, return_when=asyncio.FIRST_COMPLETED)
            if refused in done:
                answering.cancel()
                said = refused.result()
                return 'closed' if said in ('icmp3/3', 'icmp1/4') else 'reject ' + said
            answering.cancel()
            return 'open ' + answering.result().decode() if answering in done else 'drop'
        finally:
            sock.close()

    async def probe_ping(self, item):
        version = 6 if ':' in item['host'] else 4
        self.next_echo = (self.next_echo + 1) & 0xffff
        ident = self.next_echo
        message = struct.pack('!BBHHH', 128 if version == 6 else 8, 0, 0, ident, 1) + b'derpanet'
        if version == 4:
            message = message[:2] + struct.pack('!H', checksum(message)) + message[4:]
        sock = socket.socket(family(item['host']), socket.SOCK_RAW, ICMP[version])
        ear = self.ears[version]
        ear.echoes[(ident, 1)] = answer = self.loop.create_future()
        try:
            if item.get('src'):
                sock.bind((item['src'], 0))
            try:
                sock.sendto(message, (item['host'], 0))
            except OSError as failure:
                return 'drop local' if failure.errno == errno.EPERM else 'error ' + errno.errorcode.get(failure.errno, str(failure))
            done, _ = await asyncio.wait({answer}, timeout=item['timeoutMs'] / 1000)
            return answer.result() if done else 'drop'
        finally:
            sock.close()
            del ear.echoes[(ident, 1)]

    async def op_probe(self, command):
        kinds = {'tcp': self.probe_tcp, 'udp': self.probe_udp, 'ping': self.probe_ping}
        return await asyncio.gather(*[kinds[item['kind']](item) for item in command['items']])

    def packet_socket(self, ifname):
        if ifname not in self.packet_sockets:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUFFORCE if hasattr(socket, 'SO_RCVBUFFORCE') else 33, 16 << 20)
            sock.bind((ifname, 0))
            sock.setblocking(False)
            self.packet_sockets[ifname] = sock
        return self.packet_sockets[ifname]

    @staticmethod
    def take(sock, into):
        while True:
            try:
                data, address = sock.recvfrom(2048)
            except BlockingIOError:
                return
            if address[2] != socket.PACKET_OUTGOING:
                into.append(data.hex())

    async def op_exchange(self, command):
        names = [command['ifname']] if isinstance(command['ifname'], str) else command['ifname']
        socks = [self.packet_socket(name) for name in names]
        if not command.get('keep'):
            for sock in socks:
                self.take(sock, [])
        heard = []
        for number, text in enumerate(command['frames']):
            socks[0].send(bytes.fromhex(text))
            if number % 64 == 63:
                for sock in socks:
                    self.take(sock, heard)
        end = time.monotonic() + command['waitMs'] / 1000
        enough = command.get('enough')
        while True:
            for sock in socks:
                self.take(sock, heard)
            left = end - time.monotonic()
            if left <= 0 or (enough is not None and len(heard) >= enough):
                return heard
            await asyncio.sleep(min(left, 0.005))

    async def op_raw(self, command):
        answers = []
        for packet in command['packets']:
            version = packet['family']
            with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
                if version == 6:
                    sock.setsockopt(socket.IPPROTO_IPV6, 36, 1)     # IPV6_HDRINCL
                try:
                    sock.sendto(bytes.fromhex(packet['hex']), (packet['destination'], 0))
                    answers.append('')
                except OSError as failure:
                    answers.append(errno.errorcode.get(failure.errno, str(failure)))
        return answers

    async def op_serve(self, command):
        async def greet(reader, writer):
            peer = writer.get_extra_info('peername')[0].removeprefix('::ffff:')
            try:
                writer.write((peer + '\n').encode())
                while True:
                    data = await reader.read(1000)
                    if not data:
                        break
                    writer.write(data)
            except OSError:
                pass                                                # the peer reset the connection: nothing left to say to it
            writer.close()

        class Echo(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, address):
                self.transport.sendto(address[0].removeprefix('::ffff:').encode(), address)

        for spec in command['specs']:
            kind, ports = spec.split(':')
            for port in range(int(ports.split('-')[0]), int(ports.split('-')[-1]) + 1):
                sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                sock.bind(('::', port))
                sock.setblocking(False)
                if kind == 'tcp':
                    self.servers.append(await asyncio.start_server(greet, sock=sock, backlog=256))
                else:
                    self.servers.append(await self.loop.create_datagram_endpoint(Echo, sock=sock))
        return len(self.servers)

    async def op_hold(self, command):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(
            command['host'], command['port'], local_addr=(command['src'], 0) if command.get('src') else None), 3)
        await asyncio.wait_for(reader.readline(), 3)
        self.next_handle += 1
        held[self.next_handle] = (reader, writer)
        return self.next_handle

    async def op_say(self, command):
        reader, writer = held[command['handle']]
        try:
            writer.write((command['text'] + '\n').encode())
            return (await asyncio.wait_for(reader.readline(), command['timeoutMs'] / 1000)).decode().strip()
        except asyncio.TimeoutError:
            return 'silent'
        except OSError:
            return 'lost'

    async def op_release(self, command):
        _, writer = held.pop(command['handle'])
        writer.close()
        try:
            await asyncio.wait_for(writer.wait_closed(), 1)
        except (asyncio.TimeoutError, OSError):
            pass                                                    # it ends without its peer


async def main():
    loop = asyncio.get_running_loop()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})          # one CPU: veth keeps the order of what we send
    agent = Agent(loop)
    reader = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def handle(command):
        try:
            answer = {'id': command['id'], 'ok': await getattr(agent, 'op_' + command['op'])(command)}
        except Exception as failure:                                # every failure is the answer to the command that caused it
            answer = {'id': command['id'], 'error': '%s: %s' % (type(failure).__name__, failure)}
        sys.stdout.write(json.dumps(answer) + '\n')
        sys.stdout.flush()

    print(json.dumps({'id': 0, 'ok': 'ready'}), flush=True)
    tasks = set()
    while True:
        line = await reader.readline()
        if not line:
            if tasks and sys.argv[1:] == ['--finish']:
                await asyncio.wait(tasks)
            return
        task = asyncio.ensure_future(handle(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
