#!/bin/sh
# What 'up' builds, as the commands that build it.
#
# Needs root, and a world of its own, so that nothing of this machine is touched:
#
#     unshare --net --mount sh
#     mount -t tmpfs none /run
#     sh this-file
#
# Afterwards look around: ip netns; ip -n NAMESPACE route; ip netns exec NAMESPACE sh.
# Everything is gone when the shell that unshare started has ended.
set -eu
: "${FILES:=/run/podwire/files}"    # the nodes' own files go below this directory

# ============================ network namespaces ============================
ip netns add core1
ip netns add n1
ip netns add n1-p1
ip netns add n2
ip netns add n2-p1
ip netns add out1
ip netns add rack-a

# ================================== core1 ===================================

# cables, with an end in this namespace
ip -n core1 link add name eth0 type veth peer name eth1 netns rack-a

# lo
ip -n core1 link set dev lo up

# eth0
ip -n core1 link set dev eth0 mtu 1500 address be:97:68:fc:5c:e0 addrgenmode none
ip netns exec core1 ethtool -K eth0 tso off gso off gro on
ip -n core1 link set dev eth0 up
ip -n core1 addr add 192.168.1.1/24 brd + dev eth0

# kernel settings
ip netns exec core1 sysctl -qw \
    net/ipv4/conf/all/rp_filter=0 \
    net/ipv4/conf/all/send_redirects=0 \
    net/ipv4/conf/default/rp_filter=0 \
    net/ipv4/conf/default/send_redirects=0 \
    net/ipv4/conf/eth0/rp_filter=0 \
    net/ipv4/conf/eth0/send_redirects=0 \
    net/ipv4/ip_forward=1

# ==================================== n1 ====================================

# cables, with an end in this namespace
ip -n n1 link add name cali4592fd35277 type veth peer name eth0 netns n1-p1
ip -n n1 link add name eth0 type veth peer name eth2 netns rack-a

# lo
ip -n n1 link set dev lo up

# cali4592fd35277
ip -n n1 link set dev cali4592fd35277 mtu 1480 address ee:ee:ee:ee:ee:ee addrgenmode none
ip netns exec n1 ethtool -K cali4592fd35277 tso on gso on gro on
ip -n n1 link set dev cali4592fd35277 up

# eth0
ip -n n1 link set dev eth0 mtu 1500 address 4a:66:c4:21:5e:95 addrgenmode none
ip netns exec n1 ethtool -K eth0 tso off gso off gro on
ip -n n1 link set dev eth0 up
ip -n n1 addr add 192.168.1.11/24 brd + dev eth0

# tunl0
ip -n n1 link add name tunl0 type ipip 2>/dev/null || ip -n n1 link show dev tunl0 >/dev/null
ip -n n1 link set dev tunl0 mtu 1480
ip netns exec n1 ethtool -K tunl0 tso on gso on gro on
ip -n n1 link set dev tunl0 up
ip -n n1 addr add 10.244.83.192/32 dev tunl0

# permanent neighbours
ip -n n1 neigh add 10.244.83.193 lladdr 9a:71:1e:eb:aa:76 dev cali4592fd35277 nud permanent

# routes
ip -n n1 route add blackhole 10.244.83.192/26 proto 80
ip -n n1 route add 10.244.83.193/32 dev cali4592fd35277 src 192.168.1.11 metric 1024
ip -n n1 route add 10.244.55.0/26 via 192.168.1.12 dev tunl0 proto 80 onlink
ip -n n1 route add default via 192.168.1.1 dev eth0

# packet filter
ip netns exec n1 nft -f - <<'EOF'
table ip filter {
	set cali40all-hosts-net {
		type ipv4_addr
		flags interval
		elements = { 192.168.1.11, 192.168.1.12 }
	}

	chain INPUT {
		type filter hook input priority filter; policy accept;
		jump cali-INPUT
	}

	chain cali-INPUT {
		ip protocol ipencap ip saddr @cali40all-hosts-net fib daddr type local accept
		ip protocol ipencap drop
	}
}
EOF
ip netns exec n1 nft -f - <<'EOF'
table ip nat {
	set cali40masq-ipam-pools {
		type ipv4_addr
		flags interval
		elements = { 10.244.0.0/16 }
	}

	set cali40network-ip-pools {
		type ipv4_addr
		flags interval
		elements = { 10.244.0.0/16 }
	}

	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		jump cali-PREROUTING
	}

	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		jump cali-OUTPUT
	}

	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		jump cali-POSTROUTING
	}

	chain cali-PREROUTING {
		jump cali-fip-dnat
	}

	chain cali-OUTPUT {
		jump cali-fip-dnat
	}

	chain cali-POSTROUTING {
		jump cali-fip-snat
		jump cali-nat-outgoing
		oifname "tunl0" fib saddr . oif type != local fib saddr type local masquerade fully-random
	}

	chain cali-fip-dnat {
	}

	chain cali-fip-snat {
	}

	chain cali-nat-outgoing {
		ip saddr @cali40masq-ipam-pools ip daddr != @cali40network-ip-pools masquerade fully-random
	}
}
EOF

# kernel settings
ip netns exec n1 sysctl -qw \
    net/ipv4/conf/all/rp_filter=0 \
    net/ipv4/conf/cali4592fd35277/forwarding=1 \
    net/ipv4/conf/cali4592fd35277/proxy_arp=1 \
    net/ipv4/conf/cali4592fd35277/route_localnet=1 \
    net/ipv4/conf/cali4592fd35277/rp_filter=0 \
    net/ipv4/conf/default/rp_filter=0 \
    net/ipv4/conf/eth0/rp_filter=0 \
    net/ipv4/conf/tunl0/rp_filter=0 \
    net/ipv4/ip_forward=1 \
    net/ipv4/neigh/cali4592fd35277/proxy_delay=0
ip netns exec n1 sysctl -eqw \
    net/bridge/bridge-nf-call-iptables=1 \
    net/ipv6/conf/cali4592fd35277/accept_ra=0 \
    net/netfilter/nf_conntrack_acct=1

# files
mkdir -p "$FILES"/n1/var/lib/calico
printf %s 1480 >"$FILES"/n1/var/lib/calico/mtu

# ================================== n1-p1 ===================================

# lo
ip -n n1-p1 link set dev lo up

# eth0
ip -n n1-p1 link set dev eth0 mtu 1480 address 9a:71:1e:eb:aa:76 addrgenmode none
ip netns exec n1-p1 ethtool -K eth0 tso on gso on gro on
ip -n n1-p1 link set dev eth0 up
ip -n n1-p1 addr add 10.244.83.193/32 dev eth0

# routes
ip -n n1-p1 route add 169.254.1.1/32 dev eth0
ip -n n1-p1 route add default via 169.254.1.1 dev eth0

# kernel settings
ip netns exec n1-p1 sysctl -qw net/ipv4/ip_forward=0
ip netns exec n1-p1 sysctl -eqw net/ipv6/conf/eth0/accept_dad=0

# ==================================== n2 ====================================

# cables, with an end in this namespace
ip -n n2 link add name calie6368b8e34c type veth peer name eth0 netns n2-p1
ip -n n2 link add name eth0 type veth peer name eth3 netns rack-a

# lo
ip -n n2 link set dev lo up

# calie6368b8e34c
ip -n n2 link set dev calie6368b8e34c mtu 1480 address ee:ee:ee:ee:ee:ee addrgenmode none
ip netns exec n2 ethtool -K calie6368b8e34c tso on gso on gro on
ip -n n2 link set dev calie6368b8e34c up

# eth0
ip -n n2 link set dev eth0 mtu 1500 address 3e:eb:0f:ae:6b:49 addrgenmode none
ip netns exec n2 ethtool -K eth0 tso off gso off gro on
ip -n n2 link set dev eth0 up
ip -n n2 addr add 192.168.1.12/24 brd + dev eth0

# tunl0
ip -n n2 link add name tunl0 type ipip 2>/dev/null || ip -n n2 link show dev tunl0 >/dev/null
ip -n n2 link set dev tunl0 mtu 1480
ip netns exec n2 ethtool -K tunl0 tso on gso on gro on
ip -n n2 link set dev tunl0 up
ip -n n2 addr add 10.244.55.0/32 dev tunl0

# permanent neighbours
ip -n n2 neigh add 10.244.55.1 lladdr c6:6c:55:33:dd:88 dev calie6368b8e34c nud permanent

# routes
ip -n n2 route add blackhole 10.244.55.0/26 proto 80
ip -n n2 route add 10.244.55.1/32 dev calie6368b8e34c src 192.168.1.12 metric 1024
ip -n n2 route add 10.244.83.192/26 via 192.168.1.11 dev tunl0 proto 80 onlink
ip -n n2 route add default via 192.168.1.1 dev eth0

# packet filter
ip netns exec n2 nft -f - <<'EOF'
table ip filter {
	set cali40all-hosts-net {
		type ipv4_addr
		flags interval
		elements = { 192.168.1.11, 192.168.1.12 }
	}

	chain INPUT {
		type filter hook input priority filter; policy accept;
		jump cali-INPUT
	}

	chain cali-INPUT {
		ip protocol ipencap ip saddr @cali40all-hosts-net fib daddr type local accept
		ip protocol ipencap drop
	}
}
EOF
ip netns exec n2 nft -f - <<'EOF'
table ip nat {
	set cali40masq-ipam-pools {
		type ipv4_addr
		flags interval
		elements = { 10.244.0.0/16 }
	}

	set cali40network-ip-pools {
		type ipv4_addr
		flags interval
		elements = { 10.244.0.0/16 }
	}

	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		jump cali-PREROUTING
	}

	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		jump cali-OUTPUT
	}

	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		jump cali-POSTROUTING
	}

	chain cali-PREROUTING {
		jump cali-fip-dnat
	}

	chain cali-OUTPUT {
		jump cali-fip-dnat
	}

	chain cali-POSTROUTING {
		jump cali-fip-snat
		jump cali-nat-outgoing
		oifname "tunl0" fib saddr . oif type != local fib saddr type local masquerade fully-random
	}

	chain cali-fip-dnat {
	}

	chain cali-fip-snat {
	}

	chain cali-nat-outgoing {
		ip saddr @cali40masq-ipam-pools ip daddr != @cali40network-ip-pools masquerade fully-random
	}
}
EOF

# kernel settings
ip netns exec n2 sysctl -qw \
    net/ipv4/conf/all/rp_filter=0 \
    net/ipv4/conf/calie6368b8e34c/forwarding=1 \
    net/ipv4/conf/calie6368b8e34c/proxy_arp=1 \
    net/ipv4/conf/calie6368b8e34c/route_localnet=1 \
    net/ipv4/conf/calie6368b8e34c/rp_filter=0 \
    net/ipv4/conf/default/rp_filter=0 \
    net/ipv4/conf/eth0/rp_filter=0 \
    net/ipv4/conf/tunl0/rp_filter=0 \
    net/ipv4/ip_forward=1 \
    net/ipv4/neigh/calie6368b8e34c/proxy_delay=0
ip netns exec n2 sysctl -eqw \
    net/bridge/bridge-nf-call-iptables=1 \
    net/ipv6/conf/calie6368b8e34c/accept_ra=0 \
    net/netfilter/nf_conntrack_acct=1

# files
mkdir -p "$FILES"/n2/var/lib/calico
printf %s 1480 >"$FILES"/n2/var/lib/calico/mtu

# ================================== n2-p1 ===================================

# lo
ip -n n2-p1 link set dev lo up

# eth0
ip -n n2-p1 link set dev eth0 mtu 1480 address c6:6c:55:33:dd:88 addrgenmode none
ip netns exec n2-p1 ethtool -K eth0 tso on gso on gro on
ip -n n2-p1 link set dev eth0 up
ip -n n2-p1 addr add 10.244.55.1/32 dev eth0

# routes
ip -n n2-p1 route add 169.254.1.1/32 dev eth0
ip -n n2-p1 route add default via 169.254.1.1 dev eth0

# kernel settings
ip netns exec n2-p1 sysctl -qw net/ipv4/ip_forward=0
ip netns exec n2-p1 sysctl -eqw net/ipv6/conf/eth0/accept_dad=0

# =================================== out1 ===================================

# cables, with an end in this namespace
ip -n out1 link add name eth0 type veth peer name eth4 netns rack-a

# lo
ip -n out1 link set dev lo up

# eth0
ip -n out1 link set dev eth0 mtu 1500 address 8a:6b:1c:8d:9d:fd addrgenmode none
ip netns exec out1 ethtool -K eth0 tso off gso off gro on
ip -n out1 link set dev eth0 up
ip -n out1 addr add 192.168.1.254/24 brd + dev eth0

# routes
ip -n out1 route add default via 192.168.1.1 dev eth0

# kernel settings
ip netns exec out1 sysctl -qw net/ipv4/ip_forward=0

# ================================== rack-a ==================================

# bridges
ip -n rack-a link add name br0 type bridge

# br0
ip -n rack-a link set dev br0 mtu 1500 address 7a:28:e1:c1:d6:6b addrgenmode none
ip netns exec rack-a ethtool -K br0 tso on gso on gro on
ip -n rack-a link set dev br0 up

# lo
ip -n rack-a link set dev lo up

# eth1
ip -n rack-a link set dev eth1 mtu 1500 address e2:33:5b:67:ec:f6 master br0 addrgenmode none
ip netns exec rack-a ethtool -K eth1 tso off gso off gro on
ip -n rack-a link set dev eth1 up

# eth2
ip -n rack-a link set dev eth2 mtu 1500 address 6a:7d:ef:27:db:f1 master br0 addrgenmode none
ip netns exec rack-a ethtool -K eth2 tso off gso off gro on
ip -n rack-a link set dev eth2 up

# eth3
ip -n rack-a link set dev eth3 mtu 1500 address 1a:dd:82:97:5e:88 master br0 addrgenmode none
ip netns exec rack-a ethtool -K eth3 tso off gso off gro on
ip -n rack-a link set dev eth3 up

# eth4
ip -n rack-a link set dev eth4 mtu 1500 address 2a:78:04:bc:e8:d4 master br0 addrgenmode none
ip netns exec rack-a ethtool -K eth4 tso off gso off gro on
ip -n rack-a link set dev eth4 up

# kernel settings
ip netns exec rack-a sysctl -qw net/ipv4/ip_forward=0
ip netns exec rack-a sysctl -eqw \
    net/bridge/bridge-nf-call-arptables=0 \
    net/bridge/bridge-nf-call-ip6tables=0 \
    net/bridge/bridge-nf-call-iptables=0
