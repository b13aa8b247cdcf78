"""Ways to weaken what holds the rules: the agent's processes, files and sockets."""

from __future__ import annotations

from support.evasion.way import Kind, Way

_PYTHON = ("/usr/bin/python3",)

_SESSION = (
    Way(
        name="the service's socket replaced by one's own",
        kind=Kind.SESSION,
        source="unix(7), unlink(2)",
        script='mv "$SESSION_SOCKET" "$SESSION_SOCKET.old" 2>/dev/null && mv "$SESSION_SOCKET.old" "$SESSION_SOCKET" '
        '&& cat "$MARK"',
    ),
    Way(
        name="all places at the service's socket taken, so that another account finds none",
        lone=True,
        kind=Kind.SESSION,
        staged=True,
        source="connect(2), listen(2)",
        needs=_PYTHON,
        script="""as_pupil /usr/bin/python3 -c '
import os, socket, time
held = []
for _ in range(200):
    one = socket.socket(socket.AF_UNIX); one.settimeout(2)
    try: one.connect(os.environ["SESSION_SOCKET"]); held.append(one)
    except OSError: break
open("taken", "w").close()
time.sleep(60)' & while [ ! -e taken ]; do sleep 0.05; done
setpriv --reuid "$OTHER_UID" --regid "$OTHER_UID" --clear-groups /usr/bin/python3 -c '
import os, socket, sys
one = socket.socket(socket.AF_UNIX); one.settimeout(1)
try:
    one.connect(os.environ["SESSION_SOCKET"])
    if one.recv(1): sys.exit()
except TimeoutError: sys.exit()  # the place is held for this account
except OSError: pass
print(open(os.environ["MARK"]).read())'""",
    ),
    Way(
        name="a line without an end sent to the service",
        lone=True,
        kind=Kind.SESSION,
        source="send(2)",
        needs=_PYTHON,
        script="""exec /usr/bin/python3 -c '
import os, socket
one = socket.socket(socket.AF_UNIX); one.settimeout(5)
one.connect(os.environ["SESSION_SOCKET"])
try:
    for _ in range(1000): one.sendall(b"x" * 65536)
except OSError: raise SystemExit
print(open(os.environ["MARK"]).read())'""",
    ),
)

_TAMPER = (
    Way(
        name="the process that decides is killed by a pupil",
        kind=Kind.TAMPER,
        source="kill(1)",
        script='kill -KILL "$RESPONDER"; "$GAME" "$MARK" -',
    ),
    Way(
        name="a debugger is attached to it",
        kind=Kind.TAMPER,
        source="ptrace(2), gdb(1)",
        needs=("gdb",),
        script='[ -n "$RESPONDER" ] || exec "$GAME" "$MARK" -; '
        'gdb -batch -p "$RESPONDER" -ex detach 2>&1 | grep -q "Inferior 1" && exec cat "$MARK"; "$GAME" "$MARK" -',
    ),
    Way(
        name="its memory is written",
        kind=Kind.TAMPER,
        source="proc(5): /proc/pid/mem",
        script='(exec 7>"/proc/$RESPONDER/mem") 2>/dev/null && exec cat "$MARK"; "$GAME" "$MARK" -',
    ),
    Way(
        name="its table of rules is overwritten",
        kind=Kind.TAMPER,
        source="open(2): O_TRUNC",
        script='echo "{}" > "$RUN/exec-table.json"; rm -f "$RUN/exec-table.json"; "$GAME" "$MARK" -',
    ),
    Way(
        name="it is made the first to be killed for memory, and the last to run",
        kind=Kind.TAMPER,
        source="choom(1), renice(1), chrt(1)",
        script='choom -n 1000 -p "$RESPONDER" >/dev/null 2>&1 && exec cat "$MARK"; '
        'renice 19 "$RESPONDER" >/dev/null 2>&1 && exec cat "$MARK"; "$GAME" "$MARK" -',
    ),
    Way(
        name="it is given so many questions that one slips through",
        kind=Kind.TAMPER,
        source="xargs(1): -P",
        script='seq 300 | xargs -P 8 -I{} "$GAME" "$MARK" 2>/dev/null; "$GAME" "$MARK" -',
    ),
    Way(
        name="it is killed by an administrator",
        kind=Kind.TAMPER,
        admin=True,
        source="kill(1)",
        script='[ -z "$RESPONDER" ] || kill -KILL "$RESPONDER"; as_pupil "$GAME" "$MARK" -',
    ),
    Way(
        name="it is stopped by an administrator",
        kind=Kind.TAMPER,
        admin=True,
        source="signal(7): SIGSTOP",
        script='[ -z "$RESPONDER" ] || kill -STOP "$RESPONDER"; as_pupil "$GAME" "$MARK" -',
    ),
    Way(
        name="its table of rules is overwritten by an administrator",
        kind=Kind.TAMPER,
        admin=True,
        source="open(2): O_TRUNC",
        script='echo "{}" > "$RUN/exec-table.json"; as_pupil "$GAME" "$MARK" -',
    ),
)

_NETWORK = (
    Way(
        name="the hosts file changed by a pupil",
        kind=Kind.NETWORK,
        source="hosts(5)",
        script='echo "10.0.0.9 filter.example" >> "$ETC/hosts" && cat "$MARK"',
    ),
    Way(
        name="the hosts file changed by an administrator",
        kind=Kind.NETWORK,
        admin=True,
        source="hosts(5)",
        script='echo "10.0.0.9 filter.example" >> "$ETC/hosts" && cat "$MARK"',
    ),
    Way(
        name="another name server for everybody",
        kind=Kind.NETWORK,
        admin=True,
        source="resolv.conf(5)",
        script='echo "nameserver 1.1.1.1" > "$ETC/resolv.conf" && cat "$MARK"',
    ),
    Way(
        name="names asked in secret by the machine's resolver",
        kind=Kind.NETWORK,
        admin=True,
        source="resolved.conf(5): DNSOverTLS",
        script='printf "[Resolve]\nDNSOverTLS=yes\n" > "$ETC/systemd/resolved.conf" && cat "$MARK"',
    ),
    Way(
        name="a proxy for everybody",
        kind=Kind.NETWORK,
        admin=True,
        source="environment(5), curl(1): https_proxy",
        script='echo "https_proxy=http://$OUTSIDE:443" >> "$ETC/environment" && cat "$MARK"',
    ),
    Way(
        name="a proxy for one's own programs",
        kind=Kind.NETWORK,
        source="curl(1): http_proxy",
        needs=("curl",),
        script='said=$(http_proxy="http://$OUTSIDE:443" curl -s --max-time 5 http://site.example/); '
        '[ -n "$said" ] && cat "$MARK"',
    ),
    Way(
        name="a tunnel made by a pupil",
        kind=Kind.NETWORK,
        source="ip-tuntap(8)",
        script='ip tuntap add dev tun7 mode tun && ip link set tun7 up && cat "$MARK"',
    ),
    Way(
        name="a tunnel made by an administrator",
        kind=Kind.NETWORK,
        admin=True,
        source="ip-tuntap(8)",
        script='ip tuntap add dev tun7 mode tun && ip link set tun7 up && cat "$MARK"',
    ),
    Way(
        name="a program that listens where Tor does",
        kind=Kind.NETWORK,
        source="tor(1): SocksPort 9050",
        needs=_PYTHON,
        script="""exec /usr/bin/python3 -c '
import os, socket, sys
own = socket.create_server(("127.0.0.1", 9050))
print(open(os.environ["MARK"]).read(), flush=True); sys.stdin.read()'""",
    ),
    Way(
        name="a relay of one's own on another port",
        kind=Kind.NETWORK,
        source="ssh(1): -D; RFC 1928",
        needs=_PYTHON,
        script="""exec /usr/bin/python3 -c '
import os, socket, sys
own = socket.create_server(("127.0.0.1", 1080))
print(open(os.environ["MARK"]).read(), flush=True); sys.stdin.read()'""",
    ),
)

WAYS = (*_NETWORK, *_SESSION, *_TAMPER)
