# direct: no agents: what the kernel and the applications cost by themselves.

pair_start() { :; }
pair_target() { server_target "$1"; }
pair_describe() { echo "no agents, plain TCP"; }
