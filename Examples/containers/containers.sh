#!/bin/sh
# Two containers without privileges that share nothing with the host but a socket of netmapd: they send packets to each other
# over a switch and over a veth, and the host reaches a program in one of them.
#
#   containers.sh [BIN]    BIN: the folder with netmapd, netmap and responder (default: the current PATH)
#
# Needs root, util-linux and iproute2. Everything is in namespaces of its own, which end with this script.
set -eu

if [ "${CONTAINERS_STAGE:-}" != inside ]; then
	export CONTAINERS_STAGE=inside
	exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi

if [ $# -gt 0 ]; then PATH="$1:$PATH"; fi
export PATH
packets=${PACKETS:-1000000}
folder=$(mktemp -d /tmp/containers-XXXXXX)
chmod 755 "$folder"
trap 'rm -rf "$folder"' EXIT
say() { echo "== $*"; }
fail() { echo "containers.sh: $*" >&2; exit 1; }

# The host: netmapd, with a socket for containers. Whoever connects there gets isolated ports only.
mkdir "$folder/socket"
ip link set lo up
netmapd --foreground --join-veths --socket "$folder/netmapd.sock" --listen "$folder/socket/netmapd.sock:isolated" \
	--allow-isolated 'vale0:*' >"$folder/netmapd.log" 2>&1 &
waited=0
until [ -S "$folder/socket/netmapd.sock" ]; do
	waited=$((waited + 1))
	[ $waited -lt 200 ] || fail "netmapd does not listen: $(cat "$folder/netmapd.log")"
	sleep 0.1
done

# A container: an ordinary user, in a user namespace, a network namespace and others that belong to it.
container() {
	setpriv --reuid "$1" --regid "$1" --clear-groups unshare --user --map-root-user --net --mount --ipc --uts \
		sh -c "echo \$\$ >&3; exec sleep 1000" 3>"$folder/$2" >/dev/null 2>&1 &
	waited=0
	until [ -s "$folder/$2" ]; do
		waited=$((waited + 1))
		[ $waited -lt 200 ] || fail "container $2 does not start: may users make namespaces (user.max_user_namespaces)?"
		sleep 0.1
	done
	cat "$folder/$2"
}
touch "$folder/a" "$folder/b"
chmod 666 "$folder/a" "$folder/b"
a=$(container 65534 a)
b=$(container 65533 b)

# in_a, in_b: run a command in a container, as its user. Of the host's netmap it has the socket only.
as_user() {
	user=$1
	shift
	setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
}
in_a() { as_user 65534 nsenter --target "$a" --preserve-credentials --user --net --mount env NETMAP_SOCKET="$folder/socket/netmapd.sock" "$@"; }
in_b() { as_user 65533 nsenter --target "$b" --preserve-credentials --user --net --mount env NETMAP_SOCKET="$folder/socket/netmapd.sock" "$@"; }

# send PORT PORT: packets from container a to container b.
send() {
	in_b netmap pkt-gen -i "$2" -f rx -n "$packets" -T 1000 >"$folder/receiver" 2>&1 &
	receiver=$!
	waited=0
	until grep -q -i 'rx\|receiv\|wait' "$folder/receiver"; do
		waited=$((waited + 1))
		[ $waited -lt 300 ] || fail "the receiver does not start: $(cat "$folder/receiver")"
		sleep 0.1
	done
	in_a netmap pkt-gen -i "$1" -f tx -n "$packets" >"$folder/sender" 2>&1 || fail "$(cat "$folder/sender")"
	wait $receiver || fail "$(cat "$folder/receiver")"
	tail -n 3 "$folder/receiver"
}

say "ports on a switch"
send vale0:a vale0:b

say "a veth between the containers"
ip link add va netns "$a" type veth peer name vb netns "$b"
in_a ip link set va up
in_b ip link set vb up
send netmap:va netmap:vb
# netmapd has joined the two ends: the packets did not pass through the kernel.
kernel=$(in_a cat /proc/thread-self/net/dev | awk '$1 == "va:" { print $11 }')
echo "$kernel packets of va went through the kernel"
[ "$kernel" -lt 1000 ] || fail "the veth is not joined"

say "the host reaches a program in a container"
ip link add host0 type veth peer name h0
ip address add 10.9.0.1/24 dev host0
ip link set host0 up
ip link set h0 up
NETMAP_SOCKET="$folder/netmapd.sock" netmap vale-ctl -a vale0:h0 >/dev/null
in_a responder vale0:r 10.9.0.2 >"$folder/responder" 2>&1 &
sh -c "${PING:-ping -c 3 -w 30 10.9.0.2}" || fail "no answer: $(cat "$folder/responder")"
say "done"
