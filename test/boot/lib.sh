# Sourced by the scripts that run inside of a machine: counts, prints one line a fact, ends with the sum.
passed=0 failed=0
# slow machines (emulated ones) need more patience: PATIENCE=20
PATIENCE=${PATIENCE:-1}
good() { passed=$((passed + 1)); echo "ok - $*"; }
bad() { failed=$((failed + 1)); echo "NOT ok - $*"; }
# is TITLE EXPECTED ACTUAL
is() { if [ "$2" = "$3" ]; then good "$1: $3"; else bad "$1: expected '$2', found '$3'"; fi; }
# like TITLE REGEX TEXT
like() { if grep -qE -- "$2" <<<"$3"; then good "$1: $(grep -oE -m1 -- ".{0,60}$2.{0,80}" <<<"$3" | head -1)"; else bad "$1: no '$2' in: $(tail -c 400 <<<"$3")"; fi; }
unlike() { if grep -qE -- "$2" <<<"$3"; then bad "$1: '$2' is in it: $(grep -E -m1 -- "$2" <<<"$3")"; else good "$1"; fi; }
figure() { echo "# $*"; }
part() { echo; echo "## $*"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
# until SECONDS COMMAND…: waits for it to succeed
until_true() {
    local left=$(($1 * 10 * PATIENCE)); shift
    while ! "$@" >/dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 0.1; done
}
property() { systemctl show -P "$2" "$1"; }
journal() { journalctl --no-pager -o cat -u derpanetd -u derpanet-early "$@"; }
# journal entries since mark() was called
mark() { cursor=$(journalctl --no-pager -n 0 --show-cursor | sed -n 's/^-- cursor: //p'); }
since() { journalctl --no-pager -o cat --after-cursor="$cursor" "$@"; }
running() { [ "$(property derpanetd ActiveState)" = active ]; }
finish() { echo; echo "$passed passed, $failed failed"; [ $failed = 0 ] && [ $passed -gt 0 ]; }

# --- traffic: a peer in an own namespace behind ext0
peer_up() {
    ip netns add peer
    ip link add ext0 type veth peer name eth0 netns peer
    ip addr add 192.0.2.1/24 dev ext0
    ip addr add 2001:db8:1::1/64 dev ext0 nodad
    ip link set ext0 up
    ip -n peer link set lo up
    ip -n peer link set eth0 up
    local host
    for host in 2 3 4 5 17 33 49; do ip -n peer addr add 192.0.2.$host/24 dev eth0; done
    for host in 1::2 1:bad::3; do ip -n peer addr add 2001:db8:$host/32 dev eth0 nodad; done
    python3 "$here/probe.py" serve 22 80 81 2222 >/run/boot-serve.log 2>&1 &
    until_true 10 grep -q serving /run/boot-serve.log
}
# probe PROTOCOL SOURCE PORT: open, refused, unreachable or timeout
probe() { nsenter --net=/run/netns/peer python3 "$here/probe.py" "$1" "$2" "$3"; }
