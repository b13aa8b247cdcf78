"""One way of each class, written before and apart from the defence, from public documentation alone.

Nothing here was fitted to what the agent does: what it makes of them is seen in the table.
"""

from __future__ import annotations

from support.evasion.way import Kind, Way

PUBLISHED = (
    Way(
        name="a copy with one byte more, under another name",
        kind=Kind.COPY,
        apart=True,
        source="cp(1), elf(5): bytes after the last section change nothing",
        script='cp "$GAME" "$HOME/homework"; printf x >> "$HOME/homework"; "$HOME/homework" "$MARK" -',
    ),
    Way(
        name="a hard link with another name",
        kind=Kind.LINK,
        apart=True,
        source="ln(1), link(2)",
        script='cp "$GAME" "$HOME/.a"; ln "$HOME/.a" "$HOME/essay"; rm "$HOME/.a"; "$HOME/essay" "$MARK" -',
    ),
    Way(
        name="a file system in memory in a user namespace of one's own",
        kind=Kind.NAMESPACE,
        apart=True,
        source="unshare(1), user_namespaces(7), tmpfs(5)",
        needs=("unshare",),
        script="unshare --user --map-root-user --mount sh -c "
        """'mount -t tmpfs own "$HOME" && cp "$GAME" "$HOME/game" && exec "$HOME/game" "$MARK" -'""",
    ),
    Way(
        name="a script given to its shell",
        kind=Kind.INTERPRETER,
        apart=True,
        source="sh(1): sh command_file [argument...]",
        script='sh "$GAME_SH" "$MARK" -',
    ),
    Way(
        name="a program in memory alone: memfd_create, then fexecve",
        kind=Kind.MEMORY,
        apart=True,
        source="memfd_create(2), fexecve(3)",
        needs=("/usr/bin/python3",),
        script="""exec /usr/bin/python3 -c '
import os, sys
memory = os.memfd_create("notes", 0)
os.write(memory, open(os.environ["GAME"], "rb").read())
os.execve(memory, ["notes", os.environ["MARK"], "-"], os.environ)'""",
    ),
    Way(
        name="a stick with the program under another name",
        kind=Kind.REMOVABLE,
        apart=True,
        staged=True,
        source="mount(8), mkfs.ext4(8); the mount is what a desktop does for a person",
        needs=("mkfs.ext4", "mount"),
        script="""truncate -s 16M "$HOME/stick.img" && mkfs.ext4 -q "$HOME/stick.img" \
&& mount -o loop,nosuid,nodev "$HOME/stick.img" "$STICK" && cp "$GAME" "$STICK/maths" \
&& chmod 755 "$STICK/maths" && sleep 0.5; as_pupil "$STICK/maths" "$MARK" -""",
    ),
    Way(
        name="another clock for the program",
        kind=Kind.TIME,
        apart=True,
        source="faketime(1)",
        needs=("faketime",),
        script='faketime "2026-11-22 20:00:00" "$GAME" "$MARK" -',
    ),
    Way(
        name="names asked over HTTPS by a program of one's own",
        kind=Kind.NETWORK,
        apart=True,
        source="RFC 8484 (DNS queries over HTTPS)",
        needs=("curl",),
        script="""said=$(curl --silent --max-time 5 -H 'accept: application/dns-message' \
"http://$OUTSIDE:443/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"); [ -n "$said" ] && cat "$MARK" """,
    ),
    Way(
        name="another account's session helper, spoken as by somebody else",
        kind=Kind.SESSION,
        apart=True,
        source="unix(7): SO_PEERCRED and SCM_CREDENTIALS",
        needs=("/usr/bin/python3",),
        script="""/usr/bin/python3 -c '
import array, os, socket, struct
one = socket.socket(socket.AF_UNIX)
one.connect(os.environ["SESSION_SOCKET"])
forged = struct.pack("3i", os.getpid(), int(os.environ["OTHER_UID"]), 0)
one.sendmsg([b"{}\\n"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, forged)])
print(open(os.environ["MARK"]).read())'""",
    ),
    Way(
        name="the process that decides is stopped",
        kind=Kind.TAMPER,
        apart=True,
        source="kill(1), signal(7): SIGSTOP cannot be caught",
        script='kill -STOP "$RESPONDER"; kill -STOP "$GUARDIAN"; "$GAME" "$MARK" -',
    ),
)
