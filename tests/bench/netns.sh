#!/bin/sh
# netns: the benchmark's four network namespaces, joined and routed; `up [CC]` and `down`.
#
#   pod-a 10.87.1.2 -- 10.87.1.1 node-a 10.87.0.1 -- 10.87.0.2 node-b 10.87.2.1 -- 10.87.2.2 pod-b
#
# Nothing of it is visible outside the namespaces, so the addresses may exist elsewhere.
set -eu

PREFIX=culvert-bench-
PARTS="node-a node-b pod-a pod-b"

die() {
  echo "netns: $*" >&2
  exit 1
}

# Not `ip -n`, which wants to change the mount of /, and cannot where that is none, as in a chroot.
in_ns() {
  part=$1
  shift
  nsenter --net="/run/netns/$PREFIX$part" "$@"
}

join() { # join PART DEVICE ADDRESS PART DEVICE ADDRESS
  ip link add name "$2" netns "$PREFIX$1" type veth peer name "$5" netns "$PREFIX$4"
  in_ns "$1" ip addr add "$3/24" dev "$2"
  in_ns "$4" ip addr add "$6/24" dev "$5"
  in_ns "$1" ip link set "$2" up
  in_ns "$4" ip link set "$5" up
}

# Ports 15000 to 15099 stay out of the ephemeral range: agents listen there. TIME_WAIT sockets are
# used again after a second, else the loop of short connections runs out of ports.
tune() {
  in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.tcp_tw_reuse=1 \
    net.ipv4.ip_local_port_range="16384 65535" net.core.somaxconn=4096 \
    net.ipv4.tcp_max_syn_backlog=4096
  [ -z "$2" ] && return
  in_ns "$1" sysctl -qw net.ipv4.tcp_congestion_control="$2" 2>/dev/null ||
    die "this kernel does not let a namespace use congestion control '$2'; allowed here:" \
      "$(in_ns "$1" sysctl -n net.ipv4.tcp_allowed_congestion_control)"
}

up() {
  for part in $PARTS; do
    ip netns add "$PREFIX$part"
    in_ns "$part" ip link set lo up
    tune "$part" "$1"
  done
  join pod-a eth0 10.87.1.2 node-a pod 10.87.1.1
  join node-a wan 10.87.0.1 node-b wan 10.87.0.2
  join node-b pod 10.87.2.1 pod-b eth0 10.87.2.2
  in_ns pod-a ip route add default via 10.87.1.1
  in_ns pod-b ip route add default via 10.87.2.1
  in_ns node-a ip route add 10.87.2.0/24 via 10.87.0.2
  in_ns node-b ip route add 10.87.1.0/24 via 10.87.0.1
}

# Ends what still runs inside, politely first; takes a lab that is half there or not there.
down() {
  for signal in TERM KILL; do
    pids=
    for part in $PARTS; do
      [ -e "/run/netns/$PREFIX$part" ] && pids="$pids $(ip netns pids "$PREFIX$part" | tr '\n' ' ')"
    done
    # shellcheck disable=SC2086 # a list
    [ -z "${pids# }" ] || kill -s $signal $pids 2>/dev/null || true
    tries=0
    while [ -n "${pids# }" ] && [ $tries -lt 20 ]; do
      alive=
      for pid in $pids; do
        # One that its parent has not waited for yet is as good as gone.
        grep -Eqs '^State:[[:space:]]+[^ZX[:space:]]' "/proc/$pid/status" && alive="$alive $pid"
      done
      pids=$alive
      [ -z "$pids" ] || sleep 0.1
      tries=$((tries + 1))
    done
  done
  for part in $PARTS; do
    [ ! -e "/run/netns/$PREFIX$part" ] || ip netns del "$PREFIX$part"
  done
}

case "${1:-}" in
up) up "${2:-}" ;;
down) down ;;
*) die "usage: netns.sh up [CONGESTION_CONTROL] | down" ;;
esac
