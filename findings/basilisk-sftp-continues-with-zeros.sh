#!/usr/bin/env bash
# ic-basilisk-toolkit 0.5.4 with ic-basilisk 0.16.1 and asyncssh 2.24.1 (PyPI): the SFTP server in front of a canister
#
# Expected: a file that is opened for writing without the truncate flag keeps its bytes; with the append flag, new bytes
#   go to its end; a file that is opened with the create flag exists, with 0 bytes, once it is closed (SFTP, draft of
#   version 3, 6.3). `put -a` of sftp continues an upload in this way.
# Actual: a file that is opened only for writing starts out empty, and replaces the stored file when it is closed: the
#   old bytes become zeros up to the offset of the first write, or are lost after an append. An empty file is never
#   created.
# Affected: a continued upload has its full size and reports no error, but contains zeros up to the point where it was
#   interrupted. Compare digests, or upload from the beginning.
. "$(dirname "$0")/lib/common.sh"

python_packages env ic-basilisk-toolkit==0.5.4 ic-basilisk==0.16.1 asyncssh==2.24.1
cat > probe.py <<'EOF'
import contextlib, io, os
import asyncssh
from ic_basilisk_toolkit import sftp


def execute(code, canister, network):
    """The canister: it runs the code, and its files are those of this folder."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(code, {})
    return said.getvalue()


sftp.canister_exec = execute
server = sftp.CanisterSFTPServer.__new__(sftp.CanisterSFTPServer)
server._canister = server._network = ''
server._handles, server._next_id = {}, 0


def write(name, flags, *writes):
    handle = server.open(os.path.abspath(name), flags, None)
    for offset, data in writes:
        server.write(handle, offset, data)
    server.close(handle)


def show(what, name):
    print('%s: %s' % (what, open(name, 'rb').read() if os.path.exists(name) else 'no such file'))


W, C, T, A = asyncssh.FXF_WRITE, asyncssh.FXF_CREAT, asyncssh.FXF_TRUNC, asyncssh.FXF_APPEND
write('film', W | C | T, (0, b'first'))
show('interrupted', 'film')
write('film', W, (5, b'second'))
show('continued', 'film')
write('log', W | C | T, (0, b'one.'))
write('log', W | C | A, (0, b'two.'))
show('appended', 'log')
write('empty', W | C | T)
show('empty', 'empty')
EOF
env/bin/python probe.py > seen
expect_seen <<'EOF'
interrupted: b'first'
continued: b'\x00\x00\x00\x00\x00second'
appended: b'two.'
empty: no such file
EOF
