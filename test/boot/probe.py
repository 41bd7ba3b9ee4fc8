# probe.py serve PORT…          listens on all addresses until killed
# probe.py tcp|udp|ping SOURCE PORT    what comes of it: open, refused, unreachable, timeout
import errno, os, socket, subprocess, sys, threading

patience = 1.0 + 0.2 * float(os.environ.get('PATIENCE', '1'))

def serve(port):
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(('::', port))
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        connection.close()

def outcome(kind, source, port):
    target = '2001:db8:1::1' if ':' in source else '192.0.2.1'
    if kind == 'ping':
        run = subprocess.run(['ping', '-n', '-c1', '-W', str(int(patience + 1)), '-I', source, target], capture_output=True, text=True)
        return 'open' if run.returncode == 0 else 'unreachable' if 'rohibited' in run.stdout or 'nreachable' in run.stdout else 'timeout'
    family = socket.AF_INET6 if ':' in source else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    probe.settimeout(patience)
    probe.bind((source, 0))
    try:
        probe.connect((target, port))
        return 'open'
    except socket.timeout:
        return 'timeout'
    except OSError as error:
        return {errno.ECONNREFUSED: 'refused', errno.EHOSTUNREACH: 'unreachable', errno.ENETUNREACH: 'unreachable', errno.EACCES: 'unreachable'}.get(error.errno, str(error))

if sys.argv[1] == 'serve':
    threads = [threading.Thread(target=serve, args=(int(port),), daemon=True) for port in sys.argv[2:]]
    for thread in threads:
        thread.start()
    print('serving', flush=True)
    threads[0].join()
else:
    print(outcome(sys.argv[1], sys.argv[2], int(sys.argv[3])))
