"""Ways to start a program that a rule refuses: copies, links, mounts, namespaces, interpreters, memory."""

from __future__ import annotations

from support.evasion.way import Kind, Way

_COPIES = (
    Way(
        name="a copy under another name",
        kind=Kind.COPY,
        source="cp(1)",
        script='cp "$GAME" "$HOME/homework"; "$HOME/homework" "$MARK" -',
    ),
    Way(
        name="a copy whose name differs in one capital",
        kind=Kind.COPY,
        source="cp(1)",
        script='cp "$GAME" "$HOME/Game"; "$HOME/Game" "$MARK" -',
    ),
    Way(
        name="a changed copy that bears the name of an allowed program",
        kind=Kind.COPY,
        source="cp(1), elf(5)",
        script='mkdir bin; cp "$GAME" bin/editor; printf x >> bin/editor; PATH="$HOME/bin:$PATH" editor "$MARK" -',
    ),
    Way(
        name="a sparse copy",
        kind=Kind.COPY,
        source="cp(1): --sparse=always",
        script='cp --sparse=always "$GAME" "$HOME/notes"; "$HOME/notes" "$MARK" -',
    ),
    Way(
        name="packed and unpacked with another name",
        kind=Kind.COPY,
        source="gzip(1), base64(1)",
        script='gzip -c "$GAME" | base64 > n.txt; base64 -d n.txt | gunzip > n; chmod +x n; ./n "$MARK" -',
    ),
    Way(
        name="an allowed program's file overwritten after it ran",
        kind=Kind.COPY,
        source="dd(1): conv=notrunc",
        script='cp "$EDITOR" mine; ./mine "$MARK" </dev/null >/dev/null; '
        'dd if="$GAME" of=mine conv=notrunc status=none; dd if="$GAME" of=mine status=none; ./mine "$MARK" -',
    ),
)

_LINKS = (
    Way(
        name="a symbolic link with another name",
        kind=Kind.LINK,
        source="symlink(7)",
        script='ln -s "$GAME" "$HOME/notes"; "$HOME/notes" "$MARK" -',
    ),
    Way(
        name="a roundabout path",
        kind=Kind.LINK,
        source="path_resolution(7), proc(5)",
        script='"/proc/self/root/$(dirname "$GAME")/../bea/./game" "$MARK" -',
    ),
    Way(
        name="opened as a place in the file system only, then executed",
        kind=Kind.LINK,
        source="open(2): O_PATH; execveat(2)",
        needs=("/usr/bin/python3",),
        script="""exec /usr/bin/python3 -c '
import os
file = os.open(os.environ["GAME"], os.O_PATH)
os.execve(file, ["notes", os.environ["MARK"], "-"], os.environ)'""",
    ),
    Way(
        name="a bind mount over another file's name",
        kind=Kind.LINK,
        source="mount(8): --bind; user_namespaces(7)",
        needs=("unshare",),
        script="""touch notes; cp "$GAME" .game2; printf x >> .game2; mkdir -p a; mv .game2 a/game
unshare -Urm sh -c 'mount --bind a/game notes && exec ./notes "$MARK" -'""",
    ),
    Way(
        name="a bind mount over an allowed program",
        kind=Kind.LINK,
        source="mount(8): --bind; mount_namespaces(7)",
        needs=("unshare",),
        script="""mkdir a; cp "$GAME" a/game; printf x >> a/game
unshare -Urm sh -c 'mount --bind a/game "$EDITOR" && exec "$EDITOR" "$MARK" -'""",
    ),
    Way(
        name="a detached copy of a mount",
        kind=Kind.LINK,
        source="open_tree(2): OPEN_TREE_CLONE",
        needs=("unshare", "/usr/bin/python3"),
        script="""mkdir a; cp "$GAME" a/game; printf x >> a/game
exec unshare -Urm /usr/bin/python3 -c '
import ctypes, os
library = ctypes.CDLL(None, use_errno=True)
tree = library.syscall(428, -100, b"a", 1)
assert tree >= 0, os.strerror(ctypes.get_errno())
os.execv(f"/proc/self/fd/{tree}/game", ["game", os.environ["MARK"], "-"])'""",
    ),
)

_NAMESPACES = (
    Way(
        name="an overlay of one's own over the folder",
        kind=Kind.NAMESPACE,
        source="mount(8): overlay; unshare(1)",
        needs=("unshare",),
        script="""mkdir up work over
unshare -Urm sh -c 'mount -t overlay o -o lowerdir="$(dirname "$GAME")",upperdir=up,workdir=work,userxattr over \
&& exec over/game "$MARK" -'""",
    ),
    Way(
        name="another root folder",
        kind=Kind.NAMESPACE,
        source="chroot(1), user_namespaces(7)",
        needs=("unshare",),
        script="""mkdir -p r/usr r/lib64 r/lib r/bin; cp "$GAME" r/bin/essay; printf x >> r/bin/essay; cp "$MARK" r/mark
unshare -Urm sh -c 'mount --rbind /usr r/usr; mount --rbind /lib r/lib; mount --rbind /lib64 r/lib64; \
exec chroot r /bin/essay /mark -'""",
    ),
    Way(
        name="process, host name and session namespaces of one's own",
        kind=Kind.NAMESPACE,
        source="unshare(1), pid_namespaces(7)",
        needs=("unshare",),
        script='unshare -Urpuif --mount-proc "$GAME" "$MARK" -',
    ),
    Way(
        name="a ramfs in a user namespace, entered from outside",
        kind=Kind.NAMESPACE,
        source="nsenter(1), ramfs in the kernel's documentation",
        needs=("unshare", "nsenter"),
        script="""mkdir m; unshare -Urm sh -c 'mount -t ramfs own m && cp "$GAME" m/essay && echo x >> m/essay \
&& touch ready; sleep 100' & until [ -e ready ]; do sleep 0.02; done
nsenter -t $! -U -m --preserve-credentials "$HOME/m/essay" "$MARK" -""",
    ),
)

_INTERPRETERS = (
    Way(
        name="a script run by its own name",
        kind=Kind.INTERPRETER,
        source="execve(2): interpreter scripts",
        script='"$GAME_SH" "$MARK" -',
    ),
    Way(
        name="a renamed script given to its shell",
        kind=Kind.INTERPRETER,
        source="sh(1)",
        script='mv "$GAME_SH" notes.txt; sh ./notes.txt "$MARK" -',
    ),
    Way(
        name="a Python script given to Python",
        kind=Kind.INTERPRETER,
        source="python3(1)",
        needs=("/usr/bin/python3",),
        script='cd /; /usr/bin/python3 -B "$GAME_PY" "$MARK"',
    ),
    Way(
        name="a Python module found by Python itself",
        kind=Kind.INTERPRETER,
        source="python3(1): -m",
        needs=("/usr/bin/python3",),
        script='exec /usr/bin/python3 -m game "$MARK"',
    ),
    Way(
        name="a script through busybox",
        kind=Kind.INTERPRETER,
        source="busybox(1): sh",
        needs=("busybox",),
        script='busybox sh "$GAME_SH" "$MARK" -',
    ),
    Way(
        name="a script as a shell's input",
        kind=Kind.INTERPRETER,
        source="sh(1): -s",
        script='exec 3<&0; sh -s "$MARK" /dev/fd/3 < "$GAME_SH"',
    ),
    Way(
        name="a script read into a shell that runs already",
        kind=Kind.INTERPRETER,
        source="bash(1): source",
        script='. "$GAME_SH" "$MARK" -',
    ),
    Way(
        name="a script's text as an argument",
        kind=Kind.INTERPRETER,
        source="python3(1): -c",
        needs=("/usr/bin/python3",),
        script="""exec /usr/bin/python3 -c 'import sys; exec(open(sys.argv.pop(1)).read())' "$GAME_PY" "$MARK" """,
    ),
    Way(
        name="a copied interpreter with a script",
        kind=Kind.INTERPRETER,
        source="cp(1), sh(1)",
        script='cp /bin/dash calm; ./calm "$GAME_SH" "$MARK" -',
    ),
    Way(
        name="through the dynamic loader",
        kind=Kind.INTERPRETER,
        source="ld.so(8)",
        needs=("/lib64/ld-linux-x86-64.so.2",),
        script='/lib64/ld-linux-x86-64.so.2 "$GAME" "$MARK" -',
    ),
    Way(
        name="a changed and renamed program through the dynamic loader",
        kind=Kind.INTERPRETER,
        source="ld.so(8)",
        needs=("/lib64/ld-linux-x86-64.so.2",),
        script='cp "$GAME" n.txt; printf x >> n.txt; /lib64/ld-linux-x86-64.so.2 ./n.txt "$MARK" -',
    ),
    Way(
        name="started by another program (find, env, xargs)",
        kind=Kind.INTERPRETER,
        source="find(1): -exec; env(1); xargs(1)",
        script='find "$GAME" -exec env {} "$MARK" - \\;',
    ),
)

_MEMORY = (
    Way(
        name="a changed program in memory alone",
        kind=Kind.MEMORY,
        source="memfd_create(2)",
        needs=("/usr/bin/python3",),
        script="""exec /usr/bin/python3 -c '
import os
memory = os.memfd_create("notes", 0)
os.write(memory, open(os.environ["GAME"], "rb").read() + b"x")
os.execve(memory, ["notes", os.environ["MARK"], "-"], os.environ)'""",
    ),
    Way(
        name="a deleted file by its descriptor",
        kind=Kind.MEMORY,
        source="unlink(2), proc(5): /proc/pid/fd",
        script='cp "$GAME" n; exec 7<n; rm n; /proc/self/fd/7 "$MARK" -',
    ),
    Way(
        name="a library in an allowed program",
        kind=Kind.MEMORY,
        source="ld.so(8): LD_PRELOAD",
        needs=("gcc",),
        script="""gcc -shared -fPIC -x c -o n.so - <<'END'
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void go(void) {
    char line[99]; FILE *mark = fopen(getenv("MARK"), "r");
    unsetenv("LD_PRELOAD");
    if (mark && fgets(line, sizeof line, mark)) { fputs(line, stdout); fflush(stdout); }
}
END
LD_PRELOAD="$HOME/n.so" exec "$EDITOR" -""",
    ),
    Way(
        name="a library opened by an interpreter",
        kind=Kind.MEMORY,
        source="dlopen(3), Python's ctypes",
        needs=("gcc", "/usr/bin/python3"),
        script="""gcc -shared -fPIC -x c -o n.so - <<'END'
#include <stdio.h>
#include <stdlib.h>
void go(void) {
    char line[99]; FILE *mark = fopen(getenv("MARK"), "r");
    if (mark && fgets(line, sizeof line, mark)) { fputs(line, stdout); fflush(stdout); }
}
END
exec /usr/bin/python3 -c 'import ctypes, sys; ctypes.CDLL("./n.so").go(); sys.stdin.read()'""",
    ),
    Way(
        name="executed by io_uring's opened file",
        kind=Kind.MEMORY,
        source="io_uring_enter(2): IORING_OP_OPENAT; fexecve(3)",
        needs=("gcc",),
        script="""gcc -x c -o open - <<'END'
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
extern char **environ;
int main(int count, char **words) {
    struct io_uring_params p; memset(&p, 0, sizeof p);
    int ring = syscall(SYS_io_uring_setup, 2, &p);
    if (ring < 0) return 9;
    char *sq = mmap(0, p.sq_off.array + p.sq_entries * 4, 3, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    unsigned long done = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    char *cq = mmap(0, done, 3, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    struct io_uring_sqe *e = mmap(0, p.sq_entries * sizeof *e, 3, MAP_SHARED, ring, IORING_OFF_SQES);
    memset(e, 0, sizeof *e);
    e->opcode = IORING_OP_OPENAT; e->fd = AT_FDCWD; e->addr = (unsigned long)getenv("GAME"); e->open_flags = O_RDONLY;
    *(unsigned *)(sq + p.sq_off.array) = 0; *(unsigned *)(sq + p.sq_off.tail) = 1;
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) < 0) return 8;
    int file = ((struct io_uring_cqe *)(cq + p.cq_off.cqes))->res;
    char *args[] = {"notes", getenv("MARK"), "-", 0};
    syscall(SYS_execveat, file, "", args, environ, AT_EMPTY_PATH);
    return 7;
}
END
exec ./open""",
    ),
)

_STICK = (
    'truncate -s 16M stick.img && mkfs.ext4 -q stick.img && mount -o loop,nosuid,nodev stick.img "$STICK"'
)
_REMOVABLE = (
    Way(
        name="a stick changed for another one between two looks",
        kind=Kind.REMOVABLE,
        staged=True,
        source="mount(8), umount(8): the second has the first one's device number",
        needs=("mkfs.ext4", "mount"),
        script=f"""{_STICK} && cp stick.img two.img
umount "$STICK" && mount -o loop,nosuid,nodev two.img "$STICK" && cp "$GAME" "$STICK/maths"
as_pupil "$STICK/maths" "$MARK" -""",
    ),
    Way(
        name="a stick with a changed program",
        kind=Kind.REMOVABLE,
        staged=True,
        source="mount(8)",
        needs=("mkfs.ext4", "mount"),
        script=f"""{_STICK} && cp "$GAME" "$STICK/maths" && printf x >> "$STICK/maths"
as_pupil "$STICK/maths" "$MARK" -""",
    ),
    Way(
        name="a stick with a program that belongs to root there",
        kind=Kind.REMOVABLE,
        staged=True,
        source="chown(1), ext4(5): owners travel with the stick",
        needs=("mkfs.ext4", "mount"),
        script=f"""{_STICK} && mkdir "$STICK/bin" && cp "$GAME" "$STICK/bin/cat" && printf x >> "$STICK/bin/cat"
chown -R 0:0 "$STICK"; chmod -R go-w "$STICK"; as_pupil "$STICK/bin/cat" "$MARK" -""",
    ),
    Way(
        name="a stick formatted with NTFS",
        kind=Kind.REMOVABLE,
        staged=True,
        source="ntfs-3g(8): a file system in user space",
        needs=("mkfs.ntfs", "ntfs-3g", "losetup"),
        script="""truncate -s 16M stick.img && mkfs.ntfs -q -F stick.img >/dev/null
loop=$(losetup --find --show stick.img)
ntfs-3g -o nosuid,nodev,umask=022 "$loop" "$STICK" && losetup -d "$loop"
cp "$GAME" "$STICK/maths"; as_pupil "$STICK/maths" "$MARK" -""",
    ),
    Way(
        name="a script on a stick, given to its shell",
        kind=Kind.REMOVABLE,
        staged=True,
        source="mount(8): noexec does not hold for sh(1) either",
        needs=("mkfs.ext4", "mount"),
        script=f"""{_STICK} && cp "$GAME_SH" "$STICK/game.sh"; as_pupil sh "$STICK/game.sh" "$MARK" -""",
    ),
)

_TIME = (
    Way(
        name="another time zone",
        kind=Kind.TIME,
        source="tzset(3)",
        script='TZ=Pacific/Auckland "$GAME" "$MARK" -',
    ),
    Way(
        name="a time namespace of one's own",
        kind=Kind.TIME,
        source="time_namespaces(7)",
        needs=("unshare",),
        script='unshare -UrT --boottime 50000000 --monotonic 50000000 "$GAME" "$MARK" -',
    ),
    Way(
        name="the machine's clock set by a pupil",
        kind=Kind.TIME,
        lone=True,
        source="date(1), settimeofday(2)",
        script='date -s "2020-01-01 20:00" >/dev/null 2>&1 && cat "$MARK"',
    ),
    Way(
        name="a file's times set into the past after it was changed",
        kind=Kind.TIME,
        source="touch(1)",
        script='cp "$EDITOR" mine; touch -d 2020-01-01 mine; ./mine "$MARK" </dev/null >/dev/null; '
        'cat "$GAME" > mine; touch -d 2020-01-01 mine; ./mine "$MARK" -',
    ),
)

WAYS = (*_COPIES, *_LINKS, *_NAMESPACES, *_INTERPRETERS, *_MEMORY, *_REMOVABLE, *_TIME)
