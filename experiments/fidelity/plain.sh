# Two nodes with one pod each, joined by flannel's vxlan or host-gw, in plain commands.
# An independent witness: written by hand after flannel's own documents, not made by Podwire.
#
#   sh plain.sh vxlan|host-gw MTU CONGESTION-CONTROL      as root of a fresh network and mount namespace
#
# It expects /run/netns to be a folder of its own there. Names are those of ip netns.
set -eu
mode=$1 mtu=$2 congestion=$3
case $mode in
    vxlan) pod_mtu=$((mtu - 50)) ;;
    host-gw) pod_mtu=$mtu ;;
    *) echo "unknown mode $mode" >&2; exit 2 ;;
esac

set_in() {  # NAMESPACE KEY VALUE: a sysctl of that namespace
    ip netns exec "$1" sh -c "echo '$3' > /proc/sys/$2"
}

# A bridge hands its frames to the packet filter wherever br_netfilter is loaded. A node must have
# that, a switch has no packet filter: it would pay for every VXLAN frame.
no_packet_filter_in() {  # NAMESPACE
    for protocol in arp ip ip6; do
        [ ! -e /proc/sys/net/bridge ] || set_in "$1" net/bridge/bridge-nf-call-${protocol}tables 0
    done
}

# The rack: a switch in a namespace of its own.
ip netns add rack
ip -n rack link set lo up
ip -n rack link add br0 mtu "$mtu" type bridge
ip -n rack link set br0 up
no_packet_filter_in rack

for k in 1 2; do
    node=n$k pod=n$k-p1

    # A node and its cable to the rack. The cable carries real frames: nothing larger than the
    # MTU leaves either end; receiving may still merge.
    ip netns add $node
    ip -n $node link set lo up
    ip -n $node link add eth0 mtu "$mtu" type veth peer name port$k netns rack mtu "$mtu"
    ip netns exec $node ethtool -K eth0 tso off gso off gro on
    ip netns exec rack ethtool -K port$k tso off gso off gro on
    ip -n rack link set port$k master br0 up
    ip -n $node addr add 192.168.50.1$k/24 dev eth0
    ip -n $node link set eth0 up

    # The pods' bridge, as the bridge plugin makes it.
    ip -n $node link add cni0 mtu "$pod_mtu" type bridge
    ip -n $node addr add 10.244.$k.1/24 dev cni0
    ip -n $node link set cni0 up
    set_in $node net/ipv4/ip_forward 1
    set_in $node net/ipv4/conf/all/rp_filter 0
    set_in $node net/ipv4/conf/default/rp_filter 0
    set_in $node net/ipv4/tcp_congestion_control "$congestion"

    # A pod.
    ip netns add $pod
    ip -n $pod link set lo up
    ip -n $pod link add eth0 mtu "$pod_mtu" type veth peer name veth0 netns $node mtu "$pod_mtu"
    for end in "$pod eth0" "$node veth0"; do
        set -- $end
        ip netns exec "$1" ethtool -K "$2" tso on gso on gro on
    done
    ip -n $node link set veth0 master cni0 up
    bridge -n $node link set dev veth0 hairpin on
    ip -n $pod addr add 10.244.$k.2/24 dev eth0
    ip -n $pod link set eth0 up
    ip -n $pod route add default via 10.244.$k.1
    ip -n $pod route add 10.244.0.0/16 via 10.244.$k.1
    set_in $pod net/ipv4/tcp_congestion_control "$congestion"

    # flannel's rules: forward what is the pods', masquerade what leaves the cluster.
    ip netns exec $node nft -f - <<RULES
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
table ip nat {
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        jump FLANNEL-POSTRTG
    }
    chain FLANNEL-POSTRTG {
        meta mark & 0x4000 == 0x4000 return
        ip saddr 10.244.$k.0/24 ip daddr 10.244.0.0/16 return
        ip saddr 10.244.0.0/16 ip daddr 10.244.$k.0/24 return
        ip saddr != 10.244.0.0/16 ip daddr 10.244.$k.0/24 return
        ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
        ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random
    }
}
RULES
done

# What flannel adds on each node for the other one.
for k in 1 2; do
    other=$((3 - k))
    if [ "$mode" = host-gw ]; then
        ip -n n$k route add 10.244.$other.0/24 via 192.168.50.1$other dev eth0
    else
        ip -n n$k link add flannel.1 mtu "$pod_mtu" address 02:00:0a:f4:0$k:00 \
            type vxlan id 1 local 192.168.50.1$k dev eth0 dstport 8472 nolearning
        ip netns exec n$k ethtool -K flannel.1 tso on gso on gro on
        ip -n n$k addr add 10.244.$k.0/32 dev flannel.1
        ip -n n$k link set flannel.1 up
        ip -n n$k neigh add 10.244.$other.0 lladdr 02:00:0a:f4:0$other:00 dev flannel.1 nud permanent
        bridge -n n$k fdb append 02:00:0a:f4:0$other:00 dev flannel.1 dst 192.168.50.1$other self
        ip -n n$k route add 10.244.$other.0/24 via 10.244.$other.0 dev flannel.1 onlink
    fi
done
