#!/usr/bin/env python3
"""example: the HBONE client and server of docs/example.md.

    example.py page SOURCE                    the page shows the files as they are, each in 60 lines
    example.py run CLIENT SERVER              run against each other, bytes compared
    example.py installed SOURCE BUILD CC LIBDIR [--flags=FLAGS]
        installed below a folder of its own, built from there by pkg-config alone, and run
"""

import hashlib
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time

DEADLINE = 30
LINES_MAX = 60
IDENTITY = "spiffe://cluster.local/ns/demo/sa/"


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE * 3, **more).stdout


def page(source):
    text = pathlib.Path(source, "docs/example.md").read_text()
    for role in "client", "server":
        code = pathlib.Path(source, f"docs/example/{role}.c").read_text()
        assert f"```c\n{code}```\n" in text, f"docs/example.md does not show {role}.c as it is"
        assert code.count("\n") <= LINES_MAX, f"{role}.c has {code.count(chr(10))} lines"
        for line in code.splitlines():
            assert not line.startswith('#include "'), f"{role}.c includes {line}, which is not public"


def certificates(folder):
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("openssl", "req", "-x509", *curve, "-subj", "/O=test", "-days", "2", "-keyout", folder / "root.key",
        "-out", folder / "root.crt", "-addext", "keyUsage=critical,keyCertSign")
    for name in "client", "server":
        (folder / "ext").write_text(f"subjectAltName=critical,URI:{IDENTITY}{name}\n")
        run("openssl", "req", "-new", *curve, "-subj", "/", "-keyout", folder / f"{name}.key",
            "-out", folder / "csr")
        run("openssl", "x509", "-req", "-in", folder / "csr", "-CA", folder / "root.crt", "-CAkey",
            folder / "root.key", "-CAcreateserial", "-days", "1", "-extfile", folder / "ext",
            "-out", folder / f"{name}.crt")


def files(folder, name):
    return [folder / f"{name}.crt", folder / f"{name}.key", folder / "root.crt"]


def start_server(program, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    where = f"{address[0]}:{address[1]}"
    server = subprocess.Popen([program, where, *files(folder, "server")], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(address).close()
            return server, where
        except ConnectionRefusedError:
            assert server.poll() is None and time.monotonic() < until, "the server does not listen"
            time.sleep(0.02)


def ask(program, folder, where, said, identity="server"):
    """(what came back, exit status, stderr)"""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    command = [program, where, *files(folder, "client"), IDENTITY + identity, "10.0.0.1:80"]
    client = subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, text=True)
    theirs.close()

    def say():
        try:
            ours.sendall(said)
            ours.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has left: what it said then is looked at

    sayer = threading.Thread(target=say)
    sayer.start()
    heard = bytearray()
    try:
        while piece := ours.recv(1 << 16):
            heard += piece
    except ConnectionError:
        pass
    sayer.join()
    words = client.communicate(timeout=DEADLINE)[1]
    return bytes(heard), client.returncode, words


def check(client, server, folder):
    certificates(folder)
    serving, where = start_server(server, folder)
    try:
        for said in b"", b"hello", os.urandom(5_000_000):
            heard, status, words = ask(client, folder, where, said)
            assert status == 0, f"the client ended with {status}: {words}"
            assert heard == said, f"{len(said)} bytes went out, {len(heard)} others came back"
            print(f"{len(said)} bytes there and back, SHA-256 {hashlib.sha256(heard).hexdigest()[:16]}")
        heard, status, words = ask(client, folder, where, b"hello", "somebody-else")
        assert (heard, status) == (b"", 1), f"it was served by the wrong server: {words}"
        assert "none of the expected identities" in words, words
    finally:
        serving.terminate()
        words = serving.communicate(timeout=DEADLINE)[1]
    assert f"tunnel from {IDENTITY}client" in words, words
    assert "Sanitizer" not in words, words
    print("the wrong identity is refused; the server knew its client")


def installed(source, build, compiler, libdir, flags=""):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        run("cmake", "--install", build, "--prefix", folder / "prefix")
        env = dict(os.environ, PKG_CONFIG_PATH=str(folder / "prefix" / libdir / "pkgconfig"))
        options = shlex.split(run("pkg-config", "--cflags", "--static", "--libs", "hbone", env=env))
        assert not any(str(source) in option for option in options), options
        for role in "client", "server":
            run(compiler, *shlex.split(flags), "-Wall", "-Werror", "-o", folder / role,
                pathlib.Path(source, f"docs/example/{role}.c"), *options, cwd=folder)
        check(folder / "client", folder / "server", folder)


def main(what, *args):
    if what == "page":
        page(*args)
    elif what == "run":
        with tempfile.TemporaryDirectory() as name:
            check(*args, pathlib.Path(name))
    else:
        installed(*args[:4], flags=args[4].removeprefix("--flags=") if len(args) > 4 else "")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AssertionError as failed:
        sys.exit(f"FAIL: {failed}")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"FAIL: {failed.cmd}: {failed.stderr}")
