#!/usr/bin/python3
"""controlplane: a test control plane: what istiod is to an agent, from a mesh file, with faults to order.

    controlplane.py serve --listen ADDRESS[:PORT] --socket PATH --mesh PATH [--mesh PATH...] [OPTIONS]
    controlplane.py SOCKET COMMAND...        one command to one that runs; exit status 1 where it says "error"

OPTIONS: --name DNS (again: more names; istiod.istio-system.svc), --ca CERT KEY (else one is made), --root FILE
(the CA's certificate is written there), --accounts FILE (controlplane_ca), --cluster ID (Kubernetes),
--max-request BYTES (4 MiB), --max-age SECONDS (connections end by GOAWAY).

Prints "listening on ADDRESS:PORT" once it serves. Debian's python3-grpcio; protoc when it starts. Commands, each
answered by one line, "ok ..." or "error ...":

    reload                        the mesh files again; what changed is pushed
    put TYPE NAME HEX [VERSION]   a resource as it is; TYPE: address or policy
    remove TYPE NAME...
    huge N                        N workloads that nobody serves, in one message (0: none)
    churn PERCENT SECONDS         so many of them change in every second; churn-end: wait for it
    shape plain|reverse|duplicate|twice|policies-first|split N      of pushes from now on
    raw HEX                       a message on every stream, whatever it is
    status | ca-status            one line of JSON
    streams N SECONDS             wait until N streams are there, with both types, and have answered all
    no-streams SECONDS            wait until there is none
    expect-nack SECONDS [TYPE]    wait for a NACK and take it: "ok CODE TEXT"
    no-nacks                      error where there is one that was not expected
    no-violations                 error where a client broke a rule of istiod's protocol
    fail CODE [TEXT]              the next stream is refused; more of them: those after it
    end CODE [TEXT]               all streams end
    goaway SECONDS                as at the greatest age: GOAWAY, and the streams end after so long
    cut | cut-after BYTES         all connections, by a reset; after so many more bytes to clients
    hold | go-on                  nothing reaches clients any more; it does again
    away | back                   connections are cut and new ones refused; or served again
    restart [SECONDS]             away, for so long, and back with nothing remembered of clients
    certificate good|expired|other-name|other-root      that the server shows to new connections
    ca-ttl SECONDS                of certificates, from now on, whatever is asked for; 0: as asked for, and they begin
                                  two minutes before, as istiod's do
    ca-slow SECONDS | ca-release  keeps those who ask waiting
    ca-refuse IDENTITY|* | ca-accept IDENTITY|*
    ca-fault KIND [TIMES]         of the next answers: controlplane_ca.FAULTS
    ca-fail CODE [TEXT]           the next call ends so
    ca-root CERT KEY              signs with this from now on
    ca-wait COUNT SECONDS         wait until so many certificates have been signed, in all
    ca-waiting COUNT SECONDS      wait until so many calls are kept waiting
    quit
"""

import socket
import sys


def ask(path, words):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall((" ".join(words) + "\n").encode())
        answer = connection.makefile().readline().strip()
    print(answer)
    return 0 if answer.startswith("ok") else 1


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if sys.argv[1] != "serve":
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
    import controlplane_server  # here: a command needs none of it

    controlplane_server.serve(sys.argv[2:])


if __name__ == "__main__":
    main()
