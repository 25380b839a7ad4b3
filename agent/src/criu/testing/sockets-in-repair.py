"""TCP connections in repair mode, as a killed CRIU leaves them, and what becomes of them.

usage: sockets-in-repair.py PROGRAM CONNECTIONS     needs root; prints JSON

PROGRAM is drayage-end-repair. The server's ends are shared by two processes, the last one is known to a thread alone
that has a table of files of its own; one more listens without SO_REUSEADDR, and one is IPv6.
"""
import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time

PROGRAM, CONNECTIONS = sys.argv[1], int(sys.argv[2])
TCP_REPAIR, TCP_REPAIR_QUEUE, SEND_QUEUE, IPPROTO_MPTCP, CLONE_FILES = 19, 20, 2, 262, 0x400
libc = ctypes.CDLL(None, use_errno=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def listener(family=socket.AF_INET, reuse=1):
    one = socket.socket(family, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    one.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    one.listen(128)
    return one


def connect(to):
    client = socket.socket(to.family, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(to.getsockname())
    server = to.accept()[0]
    client.sendall(b"request")
    server.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    server.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    return client, server


def end_repair(*pids):
    started = time.monotonic()
    run = subprocess.run([PROGRAM], input="\n".join(map(str, pids)), capture_output=True, text=True)
    return {
        "status": run.returncode,
        "ended": int(run.stdout),
        "said": run.stderr,
        "ms": (time.monotonic() - started) * 1000,
    }


def works(client, server):
    received = server.recv(100)
    server.sendall(b"reply")
    return received == b"request" and client.recv(100) == b"reply"


def refused(server):
    try:
        server.recv(100)
    except PermissionError:
        return True
    return False


with_reuse, without_reuse, ipv6 = listener(), listener(reuse=0), listener(socket.AF_INET6)
pairs = [connect(with_reuse) for _ in range(CONNECTIONS)] + [connect(without_reuse), connect(ipv6)]
others = [socket.socketpair()[0], socket.socket(socket.AF_INET, socket.SOCK_DGRAM), open("/dev/null")]
try:
    others.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP))
except OSError:
    pass

client_of_thread, server_of_thread = connect(with_reuse)
apart, finish = threading.Event(), threading.Event()
thread_works = []


def with_own_table():
    if libc.unshare(CLONE_FILES) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    apart.set()
    finish.wait()
    thread_works.append(works(client_of_thread, server_of_thread))


thread = threading.Thread(target=with_own_table)
thread.start()
apart.wait()
os.close(server_of_thread.fileno())

child = os.fork()
if child == 0:
    time.sleep(1000)
before = {"refused": all(refused(server) for _, server in pairs)}
first = end_repair(os.getpid(), child)
again = end_repair(os.getpid(), child)
reuse = lambda server: server.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
finish.set()
thread.join()
print(
    json.dumps(
        {
            "before": before,
            "first": first,
            "again": again,
            "works": all(works(*pair) for pair in pairs) and thread_works == [True],
            "reuse": [reuse(pairs[0][1]), reuse(pairs[-2][1]), reuse(pairs[-1][1])],
        }
    )
)
os.kill(child, 9)
sys.stdout.flush()
os._exit(0)
