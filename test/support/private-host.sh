#!/bin/bash
# Guards one private host: three network namespaces (outside — firewall — inside) and, in the firewall's, a private mount
# namespace (tmpfs /run, copies of /etc and /var that vanish, own sysfs and bpffs), a private PID namespace and an own system bus.
# It says "ready PID" when all of it stands, waits until its standard input ends, and then removes everything.
# Because the end of the input is the signal, the host goes away however its owner dies. Started by private-host.ts only.
# Usage: private-host.sh NAME BOUND_SEC BUS(yes|no) REPOSITORY
set -u
name=$1 bound=$2 bus=$3 repository=$4
trap '' INT TERM HUP PIPE
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
fw=$name-fw out=$name-out in=$name-in
holder= boss=

teardown() {
    # pdeathsig and kill-child: with `boss` dies every process of the PID namespace, and with them the mounts
    [ -n "$boss" ] && kill -9 "$boss" 2>/dev/null
    local namespace pid
    for namespace in "$out" "$in" "$fw"; do
        for pid in $(ip netns pids "$namespace" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; done
        ip netns del "$namespace" 2>/dev/null
    done
    [ -n "$boss" ] && wait "$boss" 2>/dev/null
}
die() { echo "failed $*"; teardown; exit 1; }

for namespace in "$fw" "$out" "$in"; do ip netns add "$namespace" || die "ip netns add $namespace"; done
ip -n "$fw" link add ext0 type veth peer name eth0 netns "$out" || die "veth outside"
ip -n "$fw" link add int0 type veth peer name eth0 netns "$in" || die "veth inside"
ip -n "$fw" -batch - <<END || die "addresses of the firewall"
link set lo up
link set ext0 address 02:00:5e:00:01:01
link set int0 address 02:00:5e:00:02:01
addr add 192.0.2.1/24 dev ext0
addr add 2001:db8:1::1/64 dev ext0 nodad
addr add 198.51.100.1/24 dev int0
addr add 2001:db8:2::1/64 dev int0 nodad
link set ext0 up
link set int0 up
route add default via 192.0.2.2
route add ::/0 via 2001:db8:1::2
neigh replace 192.0.2.2 lladdr 02:00:5e:00:01:02 dev ext0 nud permanent
neigh replace 2001:db8:1::2 lladdr 02:00:5e:00:01:02 dev ext0 nud permanent
neigh replace fe80::1 lladdr 02:00:5e:00:01:02 dev ext0 nud permanent
neigh replace 198.51.100.2 lladdr 02:00:5e:00:02:02 dev int0 nud permanent
neigh replace 2001:db8:2::2 lladdr 02:00:5e:00:02:02 dev int0 nud permanent
neigh replace fe80::1 lladdr 02:00:5e:00:02:02 dev int0 nud permanent
neigh replace 198.51.100.7 lladdr 02:00:5e:00:02:02 dev int0 nud permanent
neigh replace 2001:db8:2::7 lladdr 02:00:5e:00:02:02 dev int0 nud permanent
END
ip -n "$out" -batch - <<END || die "addresses of outside"
link set lo up
link set eth0 address 02:00:5e:00:01:02
addr add 192.0.2.2/24 dev eth0
addr add 192.0.2.3/24 dev eth0
addr add 203.0.113.5/32 dev lo
addr add 2001:db8:1::2/64 dev eth0 nodad
addr add 2001:db8:1::3/64 dev eth0 nodad preferred_lft 0
link set eth0 up
route add default via 192.0.2.1 src 192.0.2.2
route add ::/0 via 2001:db8:1::1
END
ip -n "$in" -batch - <<END || die "addresses of inside"
link set lo up
link set eth0 address 02:00:5e:00:02:02
addr add 198.51.100.2/24 dev eth0
addr add 2001:db8:2::2/64 dev eth0 nodad
link set eth0 up
route add default via 198.51.100.1
route add ::/0 via 2001:db8:2::1
END
# Probes come faster than the kernel's limits on ICMP errors, and from sources that routes do not lead back to.
for namespace in "$fw" "$out" "$in"; do
    nsenter --net="/run/netns/$namespace" -- bash -c '
        cd /proc/sys/net && echo 0 >ipv4/icmp_ratemask && echo 0 >ipv4/icmp_ratelimit && echo 0 >ipv6/icmp/ratelimit
        [ ! -e ipv6/icmp/ratemask ] || echo 127 >ipv6/icmp/ratemask
        for file in ipv4/conf/*/rp_filter; do echo 0 >$file; done
        for file in ipv4/conf/*/accept_redirects ipv4/conf/*/send_redirects ipv6/conf/*/accept_redirects; do echo 0 >$file; done
        for file in ipv6/conf/*/accept_ra ipv6/conf/*/autoconf; do echo 0 >$file; done' || die "sysctl in $namespace"
done
nsenter --net="/run/netns/$fw" -- bash -c '
    echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv6/conf/all/forwarding' || die "forwarding"

# What runs inside: mounts first, then it only waits, as process 1 that the PID namespace hangs on.
read -r -d '' inside <<'END'
set -e
mount --make-rprivate /
cgroups=$(mktemp -d /dev/shm/derpanet-cg.XXXXXX)
mount --rbind /sys/fs/cgroup "$cgroups" 2>/dev/null || true
umount -l /sys && mount -t sysfs sysfs /sys
mount --rbind "$cgroups" /sys/fs/cgroup 2>/dev/null || true
umount -l "$cgroups" 2>/dev/null || true
rmdir "$cgroups" 2>/dev/null || true
mount -t bpf -o mode=700 bpf /sys/fs/bpf 2>/dev/null || true
# the ways out, for a shell inside: /run/peers/outside and /run/peers/inside
peers=$(mktemp -d /dev/shm/derpanet-peers.XXXXXX)
mount -t tmpfs -o mode=755 tmpfs "$peers"
for side in outside inside; do touch "$peers/$side"; done
mount --bind "/run/netns/$3-out" "$peers/outside"
mount --bind "/run/netns/$3-in" "$peers/inside"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/peers && mount --move "$peers" /run/peers && rmdir "$peers"
mkdir -p /run/copy && mount -t tmpfs -o mode=755 tmpfs /run/copy
for tree in etc var; do
    mkdir -p /run/copy/$tree /run/copy/$tree.work
    mount -t overlay overlay -o lowerdir=/$tree,upperdir=/run/copy/$tree,workdir=/run/copy/$tree.work /$tree
done
mkdir -p /run/derpanet/bpf && mount -t bpf -o mode=700 bpf /run/derpanet/bpf
mkdir -p /run/dbus /run/lock /run/user /run/systemd /run/netns
[ -d /var/run ] || ln -sf /run /var/run
rm -rf /var/lib/derpanet /etc/derpanet
[ -s /etc/machine-id ] || dbus-uuidgen >/etc/machine-id
mkdir -p /etc/dbus-1/system.d
for policy in "$1"/systemd/*.conf; do if grep -qs '<busconfig' "$policy"; then cp "$policy" /etc/dbus-1/system.d/; fi; done
if [ "$2" = yes ]; then
    # no activation: what a test starts is what answers; Debian's own service files would start systemd's programs
    sed -e '/<standard_system_servicedirs/d' -e 's,<includedir>system.d<,<includedir>/usr/share/dbus-1/system.d<,' \
        /usr/share/dbus-1/system.conf >/run/bus.conf
    dbus-daemon --config-file=/run/bus.conf --nopidfile --nosyslog --fork
fi
echo standing
set +e
trap : TERM
while :; do sleep 3600 & wait; done
END
exec 3< <(exec setpriv --pdeathsig KILL nsenter --net="/run/netns/$fw" -- \
    unshare -m -p -f --kill-child --mount-proc bash -c "$inside" private-host "$repository" "$bus" "$name" </dev/null 2>&1)
boss=$!
said=
while read -r -t 15 line <&3; do [ "$line" = standing ] && break; said="$said$line; "; done
[ "${line:-}" = standing ] || die "inside: $said"
unshare_pid=$boss
holder=$(tr -d ' ' <"/proc/$unshare_pid/task/$unshare_pid/children")
[ -n "$holder" ] || die "no process inside"
echo "ready $holder"

SECONDS=0
while [ $SECONDS -lt "$bound" ]; do
    read -r -t $((bound - SECONDS)) line; status=$?
    [ $status -eq 0 ] || [ $status -gt 128 ] || break
done
teardown
echo gone
