"""Runs a command at a terminal of its own: python3 terminal.py COLUMNS ROWS COMMAND...

Keys come from stdin, what is on the screen goes to stdout. On stderr it says the id of the process first, and at the end how
that has ended and whether the terminal is as it was, as JSON.
"""

import fcntl, json, os, pty, select, struct, subprocess, sys, termios

columns, rows, *command = sys.argv[1:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
before = termios.tcgetattr(slave)


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)
print(child.pid, file=sys.stderr, flush=True)
sources = [master, 0]
while True:
    ready, _, _ = select.select(sources, [], [], 0.02)
    for source in ready:
        data = os.read(source, 65536)
        if source == master:
            os.write(1, data)
        elif data:
            os.write(master, data)
        else:
            sources.remove(0)
    if not ready and child.poll() is not None:
        break
is_as_before = termios.tcgetattr(slave) == before
print(json.dumps({"code": child.returncode, "isAsBefore": is_as_before}), file=sys.stderr, flush=True)
