# Sourced: a configuration with something of everything, and what becomes of packets under it. Needs lib.sh and peer_up.
packets_configuration() {
    cat >/etc/derpanet/derpanet.yaml <<'END'
default-zone: public
block: [bad]
never-block: [192.0.2.48/28]
failsafe-ports: [2222/tcp]
xdp-interfaces: {ext0: native}
END
    cat >/etc/derpanet/zones/public.yaml <<'END'
services: [ssh]
ports: [80/tcp]
interfaces: [ext0]
rich-rules:
  - rule family="ipv4" source address="192.0.2.4" port port="80" protocol="tcp" reject type="icmp-port-unreachable"
  - rule family="ipv4" source address="192.0.2.5" drop
END
    printf 'target: DROP\nsources: [192.0.2.16/28]\nports: [80/tcp]\n' >/etc/derpanet/zones/dmz.yaml
    printf 'target: ACCEPT\nsources: [192.0.2.32/28]\n' >/etc/derpanet/zones/trusted.yaml
    printf '192.0.2.3\n192.0.2.49\n2001:db8:1:bad::/64\n' >/etc/derpanet/lists/bad.list
}

# packets TITLE: every row of the table
packets() {
    local title=$1 what kind source port expected
    while read -r kind source port expected what; do
        [ -n "$kind" ] && is "$title: $kind $source → $port, $what" "$expected" "$(probe "$kind" "$source" "$port")"
    done <<'END'
tcp 192.0.2.2 22 open a service of the zone
tcp 192.0.2.2 80 open a port of the zone
tcp 192.0.2.2 81 unreachable the zone's default answer
tcp 192.0.2.4 80 refused a rich rule's reject
tcp 192.0.2.4 22 open and the service beside it
tcp 192.0.2.5 22 timeout a rich rule's drop
tcp 192.0.2.17 80 open a zone by source
tcp 192.0.2.17 22 timeout its target DROP
tcp 192.0.2.33 81 open a zone with target ACCEPT
tcp 192.0.2.3 80 timeout a block list
tcp 192.0.2.3 2222 open a failsafe port is open even to it
tcp 192.0.2.49 80 open never-block goes before the list
ping 192.0.2.2 0 open a ping
ping 192.0.2.3 0 timeout a blocked ping
tcp 2001:db8:1::2 80 open IPv6
tcp 2001:db8:1::2 81 unreachable IPv6, the default answer
tcp 2001:db8:1:bad::3 80 timeout IPv6, a block list
END
}
