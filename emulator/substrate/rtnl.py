"""Numbers of the route family of netlink (linux/rtnetlink.h, if_link.h, neighbour.h)."""

from __future__ import annotations

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTCLASS, RTM_DELTCLASS, RTM_GETTCLASS = 40, 41, 42
RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER = 44, 45, 46
RTM_GETNSID = 90

AF_BRIDGE = 7
IFF_UP = 1
IFF_PROMISC = 0x100

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_PROTINFO, IFLA_LINKINFO, IFLA_AF_SPEC = 12, 18, 26
IFLA_NET_NS_FD, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 28, 29, 37
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE = 4
IFLA_INET_CONF = 1
IFLA_INET6_ADDR_GEN_MODE = 8
VETH_INFO_PEER = 1
IFLA_VXLAN_ID, IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL = 1, 3, 4
IFLA_VXLAN_LEARNING, IFLA_VXLAN_PORT, IFLA_VXLAN_LOCAL6 = 7, 15, 17
IFLA_TUN_TYPE = 3
IFLA_IPTUN_LINK, IFLA_IPTUN_LOCAL, IFLA_IPTUN_REMOTE, IFLA_IPTUN_TTL, IFLA_IPTUN_TOS = 1, 2, 3, 4, 5
IFLA_IPTUN_ENCAP_LIMIT, IFLA_IPTUN_FLAGS, IFLA_IPTUN_PROTO, IFLA_IPTUN_PMTUDISC = 6, 8, 9, 10
IFLA_IPTUN_ENCAP_TYPE, IFLA_IPTUN_ENCAP_FLAGS = 15, 16
IFLA_IPTUN_ENCAP_SPORT, IFLA_IPTUN_ENCAP_DPORT = 17, 18
IFLA_GENEVE_ID, IFLA_GENEVE_REMOTE, IFLA_GENEVE_PORT, IFLA_GENEVE_REMOTE6 = 1, 2, 5, 7
RTEXT_FILTER_SKIP_STATS = 1 << 3
NETNSA_NSID, NETNSA_FD = 1, 3

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_PROTO = 1, 2, 4, 11
IFAPROT_KERNEL_LL = 3

RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 4, 5, 6, 7
RTA_MULTIPATH, RTA_TABLE = 9, 15
RTNH_F_ONLINK = 4
RTM_F_CLONED = 0x200

NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT, NUD_NOARP = 0x80, 0x40
NTF_SELF = 0x02

FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_PRIORITY, FRA_FWMARK = 1, 2, 3, 6, 10
FRA_TABLE, FRA_FWMASK, FRA_OIFNAME = 15, 16, 17
FIB_RULE_INVERT = 2

TCA_KIND, TCA_OPTIONS = 1, 2
TC_H_ROOT = 0xFFFFFFFF
TC_H_INGRESS = 0xFFFFFFF1
TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_BURST = 1, 4, 6
TCA_U32_CLASSID, TCA_U32_SEL = 1, 5
TCA_HTB_PARMS, TCA_HTB_INIT, TCA_HTB_RATE64, TCA_HTB_CEIL64 = 1, 2, 6, 7

SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
SCOPE_NUMBERS = {name: number for number, name in SCOPES.items()}
PROTOCOLS = {
    0: "unspec",
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    11: "zebra",
    12: "bird",
    16: "dhcp",
    186: "bgp",
}
PROTOCOL_NUMBERS = {name: number for number, name in PROTOCOLS.items()}
ROUTE_TYPES = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
ROUTE_TYPE_NUMBERS = {name: number for number, name in ROUTE_TYPES.items()}

INET_DEVCONF = {
    "forwarding": 1,
    "mc_forwarding": 2,
    "proxy_arp": 3,
    "accept_redirects": 4,
    "secure_redirects": 5,
    "send_redirects": 6,
    "shared_media": 7,
    "rp_filter": 8,
    "accept_source_route": 9,
    "bootp_relay": 10,
    "log_martians": 11,
    "tag": 12,
    "arp_filter": 13,
    "medium_id": 14,
    "disable_xfrm": 15,
    "disable_policy": 16,
    "force_igmp_version": 17,
    "arp_announce": 18,
    "arp_ignore": 19,
    "promote_secondaries": 20,
    "arp_accept": 21,
    "arp_notify": 22,
    "accept_local": 23,
    "src_valid_mark": 24,
    "proxy_arp_pvlan": 25,
    "route_localnet": 26,
}
"""Names of net/ipv4/conf/<interface>/… that a link message can set."""
