"""A server that is silent for a while, behind a packet filter as in a switch, and a client that sends into the silence.

usage: silent-server.py PROGRAM ATTEMPTS     needs root; prints JSON: seconds from the end of the silence until the
reply, without and with waking

PROGRAM is drayage-announce. The silence ends just after the client has tried so many times again: alone it then waits
longest. Both ends are in network namespaces of their own.
"""
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
import time

PROGRAM, ATTEMPTS = sys.argv[1], int(sys.argv[2])
SERVER, CLIENT, PORT = "10.250.0.2", "10.250.0.1", 7000
CLONE_NEWNET = 0x40000000
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, RECEIVE_QUEUE = 19, 20, 21, 1
FILTER = "".join(
    f"table inet silence {{ chain {hook} {{ type filter hook {hook} priority -400; policy drop; }}; }}\n"
    for hook in ("input", "output")
)
spaces = {name: f"dray-silent-{os.getpid()}-{name}" for name in ("server", "client")}
libc = ctypes.CDLL(None, use_errno=True)


def run(*argv, text=None):
    return subprocess.run(argv, check=True, capture_output=True, text=True, input=text).stdout


def inside(space, body):
    """Runs body in a thread of the namespace and gives its result."""
    result = []

    def enter():
        with open(f"/run/netns/{space}") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        result.append(body())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return result[0]


def echo(connection):
    while data := connection.recv(64):
        connection.send(data)


def attempts(client):
    """How often the kernel has sent again what is not acknowledged (tcpi_retransmits)."""
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[2]


def measure(mac, server, client, wake):
    server.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    server.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, RECEIVE_QUEUE)
    expected = server.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) & 0xFFFFFFFF
    server.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
    run("ip", "netns", "exec", spaces["server"], "nft", "-f", "-", text=FILTER)
    client.send(b"x")
    while attempts(client) < ATTEMPTS:
        time.sleep(0.01)
    run("ip", "netns", "exec", spaces["server"], "nft", "delete", "table", "inet", "silence")
    ended = time.monotonic()
    line = f"{SERVER} {PORT} {CLIENT} {client.getsockname()[1]} {expected}\n"
    run(PROGRAM, f"/run/netns/{spaces['server']}", mac, SERVER, text=line if wake else "")
    client.recv(64)
    return time.monotonic() - ended


def main():
    run("ip", "link", "add", "eth0", "netns", spaces["server"], "type", "veth", "peer", "name", "eth0", "netns", spaces["client"])
    for name, address in (("server", SERVER), ("client", CLIENT)):
        run("ip", "-n", spaces[name], "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", spaces[name], "link", "set", "eth0", "up")
    mac = json.loads(run("ip", "-n", spaces["server"], "-json", "link", "show", "eth0"))[0]["address"]
    listener = inside(spaces["server"], lambda: socket.create_server((SERVER, PORT)))
    client = inside(spaces["client"], lambda: socket.create_connection((SERVER, PORT)))
    server, _ = listener.accept()
    threading.Thread(target=echo, args=(server,), daemon=True).start()
    # A first round trip, so that the client knows how long one takes.
    client.send(b"x")
    client.recv(64)
    print(json.dumps({"alone": measure(mac, server, client, False), "woken": measure(mac, server, client, True)}))


for space in spaces.values():
    run("ip", "netns", "add", space)
try:
    main()
finally:
    for space in spaces.values():
        run("ip", "netns", "delete", space)
