# splice: two relays that only splice (splice.c): the floor for an agent that touches no byte.

RELAY=splice
. "$(dirname "${BASH_SOURCE[0]}")/relay.sh"

pair_describe() { echo "two relays that splice, one thread each, pipes of 256 KiB, no TLS"; }
