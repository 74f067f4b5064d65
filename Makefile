# Targets for people and for CI. 'make help' lists them; every target sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help demo test overlay-vs-routed bring-up fidelity plugins convergence cni-verbs encapsulation path-mtu wan instructions reproduce reference calibration plots lint doctor clean setup packages cni-plugins vm-bench vm-packages virtual-lock

# sbin: Debian leaves it out of a user's PATH, and ip, nft, tc and sysctl live there
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin

# package=what it is wanted for: a command, or a file (with * where a version stands)
FOR_PYTHON := python3=/usr/bin/python3 python3-venv=/usr/lib/python3*/ensurepip/__init__.py
FOR_LABS := iproute2=ip nftables=nft ethtool=ethtool procps=sysctl util-linux=setpriv uidmap=newuidmap \
	iperf3=iperf3 sockperf=sockperf iputils-ping=ping tcpdump=tcpdump \
	bird2=bird gobgpd=gobgpd mininet=mnexec net-tools=ifconfig bridge-utils=brctl \
	gcc=gcc libc6-dev=/usr/include/stdio.h libsodium-dev=/usr/include/sodium.h \
	containernetworking-plugins=/usr/lib/cni/bridge iptables=iptables wireguard-tools=wg

# the bench 'vm'; its kernel is unpacked into the user's cache, never installed
FOR_VM := qemu-system-x86=qemu-system-x86_64 kmod=depmod zstd=zstd file=file \
	busybox-static=/var/lib/dpkg/info/busybox-static.list \
	strongswan-charon=/usr/lib/ipsec/charon strongswan-swanctl=swanctl \
	libstrongswan-standard-plugins=/usr/lib/ipsec/plugins/libstrongswan-openssl.so
# of its modules what is not drivers of hardware that the guest has not
NOT_FOR_VM := drivers/gpu drivers/media drivers/staging drivers/usb drivers/scsi drivers/infiniband \
	drivers/net/wireless drivers/net/ethernet drivers/iio drivers/hwmon drivers/input drivers/mtd \
	drivers/platform drivers/md drivers/gpio drivers/i2c drivers/firmware fs/btrfs fs/xfs fs/ocfs2 \
	fs/nfs fs/cifs fs/ceph fs/smb sound

# CNI's reference plugins with STATUS and GC, and the Go that they ask for
CNI_PLUGINS := 1.9.1
CNI_GO := 1.24.13
CNI_NAMES := main/bridge main/host-device main/ipvlan main/loopback main/macvlan main/ptp main/vlan \
	ipam/dhcp ipam/host-local ipam/static \
	meta/bandwidth meta/firewall meta/portmap meta/sbr meta/tuning meta/vrf

# options of an experiment: make fidelity ARGS='--precision 2%'
ARGS ?=

help: ## list all targets
	@echo "Podwire: Kubernetes pod networks from YAML as real kernel objects."
	echo
	grep -E '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'
	echo
	echo "Options of an experiment: make fidelity ARGS='--precision 2%'. All of them: podwire run --help"

demo: setup ## from a YAML spec to a figure in five minutes: overlay against routed
	@say() { printf '\n== %s\n' "$$*"; }
	say "1/5  can this machine run it?                 podwire doctor --brief"
	podwire doctor --brief
	podwire ls | awk '$$1 == "demo"' | grep -q . && podwire down demo
	say "2/5  a cluster of two nodes and four pods     podwire up topologies/flannel-vxlan.yaml"
	podwire up topologies/flannel-vxlan.yaml --name demo
	trap 'podwire down demo >/dev/null 2>&1 || true' EXIT
	podwire exec --lab demo n1 -- ip -d -br link show type vxlan
	podwire exec --lab demo n1-p1 -- ping -c 2 10.244.2.2
	say "3/5  is it what the network model asks for?   podwire verify"
	podwire verify --lab demo
	say "4/5  take it down                             podwire down"
	podwire down demo
	trap - EXIT
	say "5/5  overlay against routed, measured         podwire run overlay-vs-routed --quick"
	podwire run overlay-vs-routed --quick
	echo
	echo "Next:"
	echo "  source .venv/bin/activate                        then 'podwire --help'"
	echo "  podwire up topologies/flannel-vxlan.yaml         a lab to look around in (README: a tour)"
	echo "  make overlay-vs-routed                           the same comparison in full"

test: setup vm-bench ## everything that CI runs, in stages with a time budget each
	@.ci/stages

overlay-vs-routed: setup ## experiment: what does the overlay cost? (in full)
	@podwire run overlay-vs-routed $(ARGS)

bring-up: setup ## experiment: how long does a cluster take to come up? (in full)
	@podwire run bring-up $(ARGS)

fidelity: setup ## experiment: does a lab behave like plain 'ip' commands? (in full)
	@podwire run fidelity $(ARGS)

plugins: setup ## experiment: what does each plugin cost, and put on the wire? (in full)
	@podwire run plugins $(ARGS)

convergence: setup ## experiment: what is lost while routes are found anew? (in full)
	@podwire run convergence $(ARGS)

cni-verbs: setup ## experiment: how long do ADD, CHECK and DEL of CNI take? (in full)
	@podwire run cni-verbs $(ARGS)

encapsulation: setup ## experiment: what does each tunnel put on the wire? (in full)
	@podwire run encapsulation $(ARGS)

path-mtu: setup ## experiment: what becomes of packets that are too large? (in full)
	@podwire run path-mtu $(ARGS)

wan: setup ## experiment: TCP over a long, slow, lossy link (in full)
	@podwire run wan $(ARGS)

instructions: setup ## experiment: where in the kernel does each network spend its instructions?
	@podwire run instructions --on virtual $(ARGS)

reproduce: setup ## the reference results of bench virtual made again, compared, all figures redrawn
	@podwire reproduce $(ARGS)

reference: setup ## measure the reference results of bench virtual anew, in place of the old ones
	@podwire reproduce --renew $(ARGS)

calibration: .venv/ready ## draw ratios of bench virtual beside native and published ones
	@python -m experiments.calibration

plots: .venv/ready ## redraw every figure from stored results; needs no root and no lab
	@podwire plot $(ARGS)

lint: .venv/ready ## ruff, mypy --strict and the import contract
	@.ci/stages lint types imports

doctor: setup ## what this machine can run, with a remedy for what is missing
	@podwire doctor

virtual-lock: .venv/ready ## renew the lock of bench virtual from today's mirrors (on Debian 12)
	@python -m emulator.bench.virtual.renew

vm-bench: vm-packages ## what bench vm is made of: QEMU, and a stock kernel in your cache
	@into=$${XDG_CACHE_HOME:-$$HOME/.cache}/podwire/kernels
	name=linux-image-amd64
	! grep -q '^ID=ubuntu' /etc/os-release || name=linux-image-generic
	needs() { apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
		--no-replaces --no-enhances "$$name" 2>/dev/null |
		grep -Eo '^linux-(image|modules|modules-extra)-[0-9][^ ]*(amd64|generic)$$' | sort -u || true; }
	packages=$$(needs)
	if [ ! "$$packages" ]; then
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo
		$$sudo apt-get -q update >/dev/null
		packages=$$(needs)
	fi
	image=$$(grep -m 1 '^linux-image' <<<"$$packages") || {
		echo "podwire: no package $$name: bench vm takes any stock kernel: PODWIRE_VM_KERNEL=/path/to/vmlinuz-VERSION" >&2
		exit 1
	}
	[ ! -d "$$into/$$image" ] || exit 0
	echo "kernel of bench vm: $$image, unpacked into $$into (not installed) …"
	mkdir -p "$$into"
	work=$$(mktemp -d -p "$$into") && trap 'rm -rf "$$work"' EXIT
	(cd "$$work" && apt-get -q -o APT::Sandbox::User= download $$packages >/dev/null)
	mkdir "$$work/root"
	for package in "$$work"/*.deb; do
		dpkg-deb --fsys-tarfile "$$package" |
			tar -x -C "$$work/root" --wildcards $(NOT_FOR_VM:%=--exclude='*/kernel/%') \
			--exclude='*/share/doc*'
	done
	[ -e "$$work/root/lib" ] || ln -s usr/lib "$$work/root/lib"
	PATH=$$PATH:/sbin:/usr/sbin depmod -b "$$work/root" "$${image#linux-image-}"
	mv "$$work/root" "$$into/$$image"

vm-packages: LIST = $(FOR_VM)
vm-packages:
	@$(install)

cni-plugins: ## build CNI's reference plugins with STATUS and GC into your cache; needs Go
	@into=$${XDG_CACHE_HOME:-$$HOME/.cache}/podwire/cni-plugins-$(CNI_PLUGINS)
	go=$$(command -v go) || {
		echo "podwire: there is no Go; any version from 1.19 on will do: apt-get install golang-go" >&2
		exit 1
	}
	# modules are kept in a folder of their own, so that all of it can be thrown away
	export GOMODCACHE=$$into/modules GOFLAGS=-modcacherw GOBIN=$$into GOTOOLCHAIN=local CGO_ENABLED=0
	if ! "$$go" version | awk '{ split(substr($$3, 3), v, "."); exit !(v[1] > 1 || v[2] >= 25) }'; then
		at=golang.org/toolchain@v0.0.1-go$(CNI_GO).$$("$$go" env GOOS)-$$("$$go" env GOARCH)
		echo "$$("$$go" version | cut -d' ' -f3) is too old for them: Go $(CNI_GO) comes as a module …"
		"$$go" mod download "$$at"
		chmod +x "$$into/modules/$$at"/bin/* "$$into/modules/$$at"/pkg/tool/*/*
		go=$$into/modules/$$at/bin/go
	fi
	"$$go" install $(CNI_NAMES:%=github.com/containernetworking/plugins/plugins/%@v$(CNI_PLUGINS))
	rm -rf "$$into/modules"
	echo "built: binDir: [$$into]"

clean: ## remove the virtual environment and caches; results stay
	@rm -rf .venv build podwire.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find emulator experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

setup: packages .venv/ready ## install what is missing: Debian packages, a virtual environment

packages: LIST = $(FOR_PYTHON) $(FOR_LABS)
packages:
	@$(install)

.venv/ready: LIST = $(FOR_PYTHON)
.venv/ready: pyproject.toml
	@if ! $(find_python) >/dev/null; then
		$(install)
	fi
	python=$$( $(find_python) ) || {
		echo "podwire: no Python 3.11 or newer with 'venv' among /usr/bin/python3, python3, python3.12" >&2
		echo "    hint: Debian 12 and Ubuntu 24.04 have one: apt-get install python3-venv" >&2
		exit 1
	}
	echo "Python packages into .venv, with $$python (about a minute) …"
	[ "$$(readlink -f .venv/bin/python 2>/dev/null)" = "$$(readlink -f "$$python")" ] || rm -rf .venv
	"$$python" -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch .venv/ready

# The first Python that is new enough. The distribution's comes first: it lies where an
# unprivileged user can read it, too.
find_python = (for p in /usr/bin/python3 python3 python3.12; do \
	p=$$(command -v $$p) && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$p && exit 0; done; exit 1)

# Says what is missing of LIST, and with which command it is installed, before it does so.
define install
(
missing=
for pair in $(LIST); do
	case $${pair#*=} in
	/*) compgen -G "$${pair#*=}" >/dev/null || missing+=" $${pair%%=*}" ;;
	*) command -v "$${pair#*=}" >/dev/null || missing+=" $${pair%%=*}" ;;
	esac
done
[ "$$missing" ] || exit 0
command -v apt-get >/dev/null || {
	echo "podwire: this is no Debian: please install the counterparts of:$$missing" >&2
	exit 1
}
# without recommended packages: mininet would bring the Open vSwitch daemon, iperf3 is fine alone
sudo= apt="env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120"
if [ "$$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "podwire: Debian packages are missing, and there is no sudo; as root: apt-get install --no-install-recommends$$missing" >&2
		exit 1
	}
	sudo=sudo apt="sudo $$apt"
fi
# Debian starts a daemon when its package is installed; labs run their own, the machine none
services=
for package in $$missing; do
	case $$package in
	bird2) services+=" bird.service" ;;
	gobgpd) services+=" gobgpd.service" ;;
	strongswan-charon) services+=" strongswan-starter.service" ;;
	esac
done
[ -d /run/systemd/system ] || services=
echo "Debian packages that are missing and will be installed:$$missing"
echo "    $$apt install --no-install-recommends$$missing"
$$apt update >/dev/null
if [ "$$services" ]; then
	echo "    (without starting$$services on this machine)"
	$$sudo systemctl mask --runtime --quiet $$services
fi
$$apt install --no-install-recommends $$missing >/dev/null
if [ "$$services" ]; then
	$$sudo systemctl disable --quiet $$services
	$$sudo systemctl unmask --runtime --quiet $$services
fi
)
endef
