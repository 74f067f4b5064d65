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

# bridges
ip -n n1 link add name cni0 type bridge

# cables, with an end in this namespace
ip -n n1 link add name eth0 type veth peer name eth2 netns rack-a
ip -n n1 link add name vethca71d25b type veth peer name eth0 netns n1-p1

# cni0
ip -n n1 link set dev cni0 mtu 1450 address a6:00:1e:a0:e0:5b addrgenmode none
ip netns exec n1 ethtool -K cni0 tso on gso on gro on
ip -n n1 link set dev cni0 up
ip -n n1 addr add 10.244.1.1/24 brd + dev cni0

# lo
ip -n n1 link set dev lo up

# eth0
ip -n n1 link set dev eth0 mtu 1500 address 4a:66:c4:21:5e:95 addrgenmode none
ip netns exec n1 ethtool -K eth0 tso off gso off gro on
ip -n n1 link set dev eth0 up
ip -n n1 addr add 192.168.1.11/24 brd + dev eth0

# vethca71d25b
ip -n n1 link set dev vethca71d25b mtu 1450 address 8e:37:e7:46:31:f0 master cni0 addrgenmode none
ip netns exec n1 ethtool -K vethca71d25b tso on gso on gro on
ip -n n1 link set dev vethca71d25b type bridge_slave hairpin on
ip -n n1 link set dev vethca71d25b up

# flannel.1
ip -n n1 link add name flannel.1 type vxlan id 1 local 192.168.1.11 dev eth0 dstport 8472 nolearning
ip -n n1 link set dev flannel.1 mtu 1450 address 1a:e8:a4:af:74:33 addrgenmode none
ip netns exec n1 ethtool -K flannel.1 tso on gso on gro on
ip -n n1 link set dev flannel.1 up
ip -n n1 addr add 10.244.1.0/32 dev flannel.1

# permanent neighbours
ip -n n1 neigh add 10.244.2.0 lladdr e2:b5:17:b1:01:ba dev flannel.1 nud permanent

# where to send encapsulated frames
bridge -n n1 fdb append e2:b5:17:b1:01:ba dev flannel.1 dst 192.168.1.12 self permanent

# routes
ip -n n1 route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
ip -n n1 route add default via 192.168.1.1 dev eth0

# packet filter
ip netns exec n1 nft -f - <<'EOF'
table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy accept;
		jump FLANNEL-FWD
	}

	chain FLANNEL-FWD {
		ip saddr 10.244.0.0/16 accept
		ip daddr 10.244.0.0/16 accept
	}
}
EOF
ip netns exec n1 nft -f - <<'EOF'
table ip nat {
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		jump FLANNEL-POSTRTG
	}

	chain FLANNEL-POSTRTG {
		meta mark & 0x00004000 == 0x00004000 return
		ip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return
		ip saddr 10.244.0.0/16 ip daddr 10.244.1.0/24 return
		ip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return
		ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random
	}
}
EOF

# kernel settings
ip netns exec n1 sysctl -qw \
    net/ipv4/conf/all/rp_filter=0 \
    net/ipv4/conf/cni0/rp_filter=0 \
    net/ipv4/conf/default/rp_filter=0 \
    net/ipv4/conf/eth0/rp_filter=0 \
    net/ipv4/conf/flannel.1/rp_filter=0 \
    net/ipv4/ip_forward=1
ip netns exec n1 sysctl -eqw \
    net/bridge/bridge-nf-call-iptables=1 \
    net/ipv6/conf/cni0/accept_ra=0 \
    net/ipv6/conf/flannel.1/accept_ra=0 \
    net/ipv6/conf/vethca71d25b/accept_ra=0

# files
mkdir -p "$FILES"/n1/run/flannel
cat >"$FILES"/n1/run/flannel/subnet.env <<'EOF'
FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
EOF

# ================================== n1-p1 ===================================

# lo
ip -n n1-p1 link set dev lo up

# eth0
ip -n n1-p1 link set dev eth0 mtu 1450 address 9a:71:1e:eb:aa:76 addrgenmode none
ip netns exec n1-p1 ethtool -K eth0 tso on gso on gro on
ip -n n1-p1 link set dev eth0 up
ip -n n1-p1 addr add 10.244.1.2/24 brd + dev eth0

# routes
ip -n n1-p1 route add 10.244.0.0/16 via 10.244.1.1 dev eth0
ip -n n1-p1 route add default via 10.244.1.1 dev eth0

# kernel settings
ip netns exec n1-p1 sysctl -qw \
    net/ipv4/conf/eth0/arp_notify=1 \
    net/ipv4/ip_forward=0
ip netns exec n1-p1 sysctl -eqw net/ipv6/conf/eth0/accept_dad=0

# ==================================== n2 ====================================

# bridges
ip -n n2 link add name cni0 type bridge

# cables, with an end in this namespace
ip -n n2 link add name eth0 type veth peer name eth3 netns rack-a
ip -n n2 link add name veth5f9f3b48 type veth peer name eth0 netns n2-p1

# cni0
ip -n n2 link set dev cni0 mtu 1450 address 86:aa:e0:0d:10:68 addrgenmode none
ip netns exec n2 ethtool -K cni0 tso on gso on gro on
ip -n n2 link set dev cni0 up
ip -n n2 addr add 10.244.2.1/24 brd + dev cni0

# lo
ip -n n2 link set dev lo up

# eth0
ip -n n2 link set dev eth0 mtu 1500 address 3e:eb:0f:ae:6b:49 addrgenmode none
ip netns exec n2 ethtool -K eth0 tso off gso off gro on
ip -n n2 link set dev eth0 up
ip -n n2 addr add 192.168.1.12/24 brd + dev eth0

# veth5f9f3b48
ip -n n2 link set dev veth5f9f3b48 mtu 1450 address f6:71:e5:85:77:f9 master cni0 addrgenmode none
ip netns exec n2 ethtool -K veth5f9f3b48 tso on gso on gro on
ip -n n2 link set dev veth5f9f3b48 type bridge_slave hairpin on
ip -n n2 link set dev veth5f9f3b48 up

# flannel.1
ip -n n2 link add name flannel.1 type vxlan id 1 local 192.168.1.12 dev eth0 dstport 8472 nolearning
ip -n n2 link set dev flannel.1 mtu 1450 address e2:b5:17:b1:01:ba addrgenmode none
ip netns exec n2 ethtool -K flannel.1 tso on gso on gro on
ip -n n2 link set dev flannel.1 up
ip -n n2 addr add 10.244.2.0/32 dev flannel.1

# permanent neighbours
ip -n n2 neigh add 10.244.1.0 lladdr 1a:e8:a4:af:74:33 dev flannel.1 nud permanent

# where to send encapsulated frames
bridge -n n2 fdb append 1a:e8:a4:af:74:33 dev flannel.1 dst 192.168.1.11 self permanent

# routes
ip -n n2 route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
ip -n n2 route add default via 192.168.1.1 dev eth0

# packet filter
ip netns exec n2 nft -f - <<'EOF'
table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy accept;
		jump FLANNEL-FWD
	}

	chain FLANNEL-FWD {
		ip saddr 10.244.0.0/16 accept
		ip daddr 10.244.0.0/16 accept
	}
}
EOF
ip netns exec n2 nft -f - <<'EOF'
table ip nat {
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		jump FLANNEL-POSTRTG
	}

	chain FLANNEL-POSTRTG {
		meta mark & 0x00004000 == 0x00004000 return
		ip saddr 10.244.2.0/24 ip daddr 10.244.0.0/16 return
		ip saddr 10.244.0.0/16 ip daddr 10.244.2.0/24 return
		ip saddr != 10.244.0.0/16 ip daddr 10.244.2.0/24 return
		ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random
	}
}
EOF

# kernel settings
ip netns exec n2 sysctl -qw \
    net/ipv4/conf/all/rp_filter=0 \
    net/ipv4/conf/cni0/rp_filter=0 \
    net/ipv4/conf/default/rp_filter=0 \
    net/ipv4/conf/eth0/rp_filter=0 \
    net/ipv4/conf/flannel.1/rp_filter=0 \
    net/ipv4/ip_forward=1
ip netns exec n2 sysctl -eqw \
    net/bridge/bridge-nf-call-iptables=1 \
    net/ipv6/conf/cni0/accept_ra=0 \
    net/ipv6/conf/flannel.1/accept_ra=0 \
    net/ipv6/conf/veth5f9f3b48/accept_ra=0

# files
mkdir -p "$FILES"/n2/run/flannel
cat >"$FILES"/n2/run/flannel/subnet.env <<'EOF'
FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.2.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
EOF

# ================================== n2-p1 ===================================

# lo
ip -n n2-p1 link set dev lo up

# eth0
ip -n n2-p1 link set dev eth0 mtu 1450 address c6:6c:55:33:dd:88 addrgenmode none
ip netns exec n2-p1 ethtool -K eth0 tso on gso on gro on
ip -n n2-p1 link set dev eth0 up
ip -n n2-p1 addr add 10.244.2.2/24 brd + dev eth0

# routes
ip -n n2-p1 route add 10.244.0.0/16 via 10.244.2.1 dev eth0
ip -n n2-p1 route add default via 10.244.2.1 dev eth0

# kernel settings
ip netns exec n2-p1 sysctl -qw \
    net/ipv4/conf/eth0/arp_notify=1 \
    net/ipv4/ip_forward=0
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
