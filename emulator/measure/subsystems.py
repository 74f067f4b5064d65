"""Which part of the kernel a function belongs to: by its module, else by its name. Pure.

A function is counted where it stands, not for whoever calls it. What everybody calls (locks,
lists, copies, the allocator) is therefore a part of its own.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Final, NamedTuple


class Function(NamedTuple):
    """``module``: empty for the kernel proper."""

    name: str
    module: str = ""


USER: Final = Function("user")
"""Whatever is no kernel's."""
OTHER: Final = "other"

MODULES: Final = (
    ("netfilter",
     "nf_* nft_* nfnetlink* xt_* x_tables ip*_tables ip*table_* ipt_* ip6t_* arp*table*"
     " ebt* br_netfilter ip_set* ip_vs*"),
    ("encapsulation",
     "vxlan geneve gre ip_gre ipip sit tunnel4 tunnel6 *_tunnel fou* xfrm* esp* ah*"
     " ipcomp* wireguard"),
    ("encryption",
     "*aes* *chacha* *poly1305* *sha* *gcm* *ghash* *crypt* *geniv *seqiv *curve25519*"
     " authenc* cbc ctr ccm *blake* cmac hmac"),
    ("bridge, veth", "bridge stp llc veth macvlan ipvlan openvswitch nsh dummy"),
    ("devices, softirq", "sch_* cls_* act_* af_packet"),
    ("routing, IP", "ipv6"),
    ("TCP, UDP", "tcp_*"),
)  # fmt: skip
"""The first whose words fit a module's name."""

FUNCTIONS: Final = (
    ("locks, lists, RCU",
     "raw_spin_* raw_read_* raw_write_* rcu_read_* list_add_* list_del_* rcu_nocb_unlock*"
     " mutex_* down_* up_* rb_* find_*_bit srcu_* rcu_* percpu_* xa_* xas_* idr_* call_rcu*"
     " refcount_* rht_* rhash* str* queued_spin_* lock_is_* llist_* timerqueue_*"
     " raw_notifier_* notifier_* hex* sort* ida_* radix_* mt_* mtree_* mas_* lockref_*"
     " osq_*"),
    ("memory", "copy_skb_header"),
    ("GRO, GSO",
     "*_gro_* gro_* *_gso_* skb_segment* skb_udp_tunnel_segment skb_headers_offset_update"
     " skb_zerocopy_clone"),
    ("netfilter", "nf_* nft_* siphash_*aligned strncpy ip_route_me_harder"),
    ("bridge, veth", "br_* dev_forward_skb* is_skb_forwardable skb_scrub_packet nbp_*"),
    ("routing, IP", "xfrm_lookup* xfrm_policy* xfrm_sk_policy* siphash_3u32 siphash_1u32 fnhe_*"),
    ("devices, softirq", "validate_xmit_*"),
    ("encapsulation",
     "iptunnel_* ip_tunnel_* udp_tunnel_* gro_cell* *tunnel* *xfrm* dst_cache_*"
     " metadata_dst*"),
    ("encryption",
     "crypto_* *aead* *shash* *ahash* *skcipher* scatterwalk_* chacha_* poly1305_*"
     " blake2s_* aes_* *aesni* gcm_* ghash_* sg_* skb_to_sgvec* skb_cow_data curve25519*"
     " irq_fpu_usable kernel_fpu_*"),
    ("copies, checksums",
     "*csum* *checksum* copy_* *memcpy* *memmove* memcmp bcmp clear_page_* *datagram_iter"
     " simple_copy_* *iov_iter* iovec_* check_*object* check_heap_* virt_addr_valid"
     " is_vmalloc_addr import_*range ip_generic_getfrag skb_copy_* rep_* csum* get_user_*"
     " put_user_*"),
    ("TCP, UDP",
     "tcp* udp* bictcp_* cubictcp_* inet_csk_* inet_lookup* inet_e*hash* inet_hash*"
     " inet6_*lookup* compute_score raw_local_deliver raw_v4* inet_sendmsg inet_recvmsg"
     " skb_recv_udp skb_try_recv_* skb_consume_udp skb_wait_for_more_* sk_reset_timer"
     " reuseport_* minmax_running_*"),
    ("routing, IP",
     "ip_* ip4_* ip6_* ipv4_* ipv6_* fib* neigh_* arp_* dst_* sk_dst_* icmp* rt_* rt6_*"
     " igmp* ndisc_* inet_* inet6_* find_exception skb_dst_* mkroute_* nexthop_* l3mdev_*"
     " update_or_create_fnhe mld_* raw6_* rawv6_* in_dev_* INET_ECN_*"),
    ("devices, softirq",
     "dev_* netdev_* netif_* net_rx_* net_tx_* napi_* process_backlog enqueue_to_backlog"
     " eth_* skb_network_protocol qdisc_* pfifo_* noqueue_* sch_* loopback_*"
     " handle_softirqs do_softirq* raise_softirq* local_bh_* irq_exit_* deliver_*"
     " passthru_* skb_defer_rx_* skb_clone_tx_* skb_flow_* skb_get_hash* flow_hash_*"
     " skb_vlan_* vlan_* xdp_* rps_* get_rps_* tcf_* tasklet_* skb_get_poff ksoftirqd_*"
     " run_ksoftirqd ethtool_* trylock_* tun_* do_xdp_* bpf_prog_* bpf_dispatcher*"
     " skb_tx_hash linkwatch_* packet_* prb_* tpacket_* run_filter sk_run_filter"),
    ("memory",
     "kmem_* kmalloc* kzalloc* kfree* kvfree* kvmalloc* *slab* alloc_* build_skb*"
     " consume_* skb_* pskb_* memset* cache_from_obj cmpxchg_double_* *memcg* *mem_cgroup*"
     " *_page *_pages *_page_* page_* free_* get_partial_* put_cpu_partial unfreeze_*"
     " should_fail* *folio* *_zone_* mod_*_state sock_wfree sock_rfree sock_wmalloc *_fault"
     " *_pte flush_tlb_* zone_* rmqueue* setup_object policy_node* filemap_* lru_*"
     " PageHuge* PageHead* compound_head pmd_* pud_* p4d_* pgd_* pfn_* add_mm_* vma_*"
     " find_vma* mempolicy_* ksize kasan_* obj_cgroup_* get_obj_* refill_* drain_*"
     " try_charge* vmalloc_* vm_* mm_* init_on_* blkcg_*"),
    ("scheduling, timers",
     "schedule* enqueue_* dequeue_* update_load_* update_curr* update_rq_* update_min_*"
     " update_cfs_* update_process_* update_wall_* update_fast_* update_vsyscall*"
     " update_blocked_* psi_* try_to_wake_* ttwu_* switch_* pick_* put_prev_* set_next_*"
     " wake_* check_preempt_* check_cfs_* check_spread* select_task_* select_idle_*"
     " finish_task_* finish_wait finish_swait prepare_to_* *wait_* *timer* tick_* ktime_*"
     " *clock* read_tsc cpuacct_* load_new_mm_* place_entity reweight_* resched_*"
     " default_wake_* autoremove_* *poll* *futex* kthread_* worker_* *work *work_* kick_*"
     " cpu_* *idle* clockevents_* calc_* account_* acct_* fpregs_* save_fpregs_*"
     " restore_fpregs_* rseq_* *nohz* task_* perf_* cgroup_* record_times clear_buddies"
     " hrtick_* detach_if_* receiver_wake_* woken_* timekeeping_* ntp_* cond_resched*"
     " sched_* scheduler_* *_task_fair *_entity *_task *_rt_rq *_dl_* complete* smpboot_*"
     " usecs_* jiffies_* msecs_* nsecs_* cr4_* invalidate_user_* amd_clear_* enter_lazy_*"
     " note_gp_* run_rebalance* trigger_load_* rebalance_* load_balance* *posix_cpu*"
     " arch_scale_* get_nohz_* swake_* *balance* ret_from_fork* profile_tick sugov_*"
     " io_schedule* set_task_* *signal* *sigqueue* call_function_* hrtimers_* irq_work_*"
     " native_load_tls native_write_msr native_apic_* x2apic_* lapic_* apic_*"),
    ("sockets, system calls",
     "sock* sk_* release_sock lock_sock* *sys_* *syscall* entry_* x64_* security_* aa_*"
     " apparmor_* tomoyo_* bpf_lsm_* bpf_skops_* fget* fdget* fput* exit_to_user_*"
     " irqentry_* error_* asm_* sysvec_* *sendmsg* *recvmsg* move_addr_* map_id_* make_kuid"
     " make_kgid *cmsg* audit_* landlock_* lsm_* *_syscall restore_regs_* do_syscall_*"
     " common_interrupt* native_irq_* sync_regs vfs_* do_accept get_unused_* from_kuid*"
     " ns_capable* capable* datagram_* netlink_*"),
)  # fmt: skip
"""The first whose words fit the name of a function of the kernel proper, without underscores in
front and what a compiler puts behind (``.constprop.0``).

Who calls what is small and common was looked up where it counts: ``siphash`` of many words hashes
connections (``hash_conntrack_raw``), of three IP's identification (``__ip_select_ident``), of one
exceptions of routes; ``strncpy`` copies the name of a device that a rule compares.
``skb_scrub_packet`` is what a veth does, too.
"""

NAMES: Final = (
    "sockets, system calls", "scheduling, timers", "copies, checksums", "TCP, UDP",
    "memory", "locks, lists, RCU", "devices, softirq", "GRO, GSO", "routing, IP", "netfilter",
    "bridge, veth", "encapsulation", "encryption", OTHER,
)  # fmt: skip
"""All subsystems, in the order of figures: what every network has comes first."""


def _compiled(table: Sequence[tuple[str, str]]) -> list[tuple[str, re.Pattern[str]]]:
    return [
        (name, re.compile("|".join(map(fnmatch.translate, words.split())))) for name, words in table
    ]


_MODULES = _compiled(MODULES)
_FUNCTIONS = _compiled(FUNCTIONS)


@cache
def of(function: Function) -> str:
    """One of ``NAMES``. A module that is nobody's goes by the names of its functions."""
    name = function.name.lstrip("_").partition(".")[0]
    found: Iterator[str] = (subsystem for subsystem, words in _FUNCTIONS if words.match(name))
    if function.module:
        found = chain((one for one, words in _MODULES if words.match(function.module)), found)
    return next(found, OTHER)
