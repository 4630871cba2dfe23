# swift-netmap: commands for users and developers.
#
#   make setup        install the Debian packages for build, demo and test
#   make demo         build, and show packets moving
#   make test         build and run all tests
#   make bench        measure, and check the committed limits
#   make docs         build the documentation, in .build/docs
#   make install      install to PREFIX (default /usr/local), below DESTDIR if set

PREFIX  ?= /usr/local
DESTDIR ?=
SWIFT   ?= swift

# Packages for compiling and linking, and programs that the tests call.
SETUP_PACKAGES := binutils git libc6-dev libstdc++-12-dev libbpf-dev libelf-dev zlib1g-dev \
  iproute2 ethtool shellcheck
# valgrind counts instructions for the committed limits. DPDK is a peer in comparisons.
BENCH_PACKAGES := valgrind dpdk-dev

RELEASE := .build/release
# Installed programs link the Swift runtime statically.
INSTALL_BUILD := .build/install

.PHONY: setup setup-bench build demo test soak hostile bench bench-smoke lint docs install clean

setup:
	@./scripts/apt-install $(SETUP_PACKAGES)

setup-bench: setup
	@./scripts/apt-install $(BENCH_PACKAGES)

build:
	$(SWIFT) build -c release

demo: build
	@./scripts/demo $(RELEASE)

# The attackers use as much processor time as possible, so other tests do not run at the same time.
test:
	$(SWIFT) test --disable-xctest --filter HostileTests
	$(SWIFT) test --disable-xctest --skip HostileTests

# Sends 10^9 packets through a pipe between two processes, and checks every packet. Then runs every fault of
# the fault suite, more often than in 'make test'.
SOAK_ROUNDS ?= 5000
soak: build
	$(RELEASE)/pipe-peer soak --packets 1000000000 --batch 256
	NETMAP_FAULT_ROUNDS=$(SOAK_ROUNDS) $(SWIFT) test --disable-xctest --filter FaultTests

# Runs every attack HOSTILE_ROUNDS times in a release build, next to HOSTILE_LOOPS busy loops. Takes a night.
HOSTILE_ROUNDS ?= 200
HOSTILE_LOOPS ?= 2
# Options of `swift test`: --no-parallel runs the attacks one after the other.
HOSTILE_FLAGS ?=
HOSTILE_OPTIONS := -c release --scratch-path .build/hostile -Xswiftc -enable-testing
hostile:
	$(SWIFT) build $(HOSTILE_OPTIONS) --build-tests
	@for loop in $$(seq $(HOSTILE_LOOPS)); do sh -c 'while :; do :; done' & loops="$$loops $$!"; done; \
	  trap '[ -z "$$loops" ] || kill $$loops' EXIT; \
	  NETMAP_HOSTILE_ROUNDS=$(HOSTILE_ROUNDS) NETMAP_FAULT_ROUNDS=$(HOSTILE_ROUNDS)0 \
	  $(SWIFT) test $(HOSTILE_OPTIONS) $(HOSTILE_FLAGS) --skip-build --disable-xctest --filter HostileTests

bench: build
	Benchmarks/check

bench-smoke: build
	Benchmarks/check --smoke

# An import of a target that Package.swift does not name as a dependency is an error.
lint:
	./scripts/check-shared
	./scripts/check-house
	shellcheck .ci/run Benchmarks/check scripts/*
	$(SWIFT) format lint --strict --parallel --recursive \
	  Package.swift Plugins Sources Tests Examples Benchmarks/Package.swift Benchmarks/Sources
	$(SWIFT) build --build-tests --disable-xctest --explicit-target-dependency-import-check error

# A link to a symbol that does not exist is an error.
docs:
	@SWIFT='$(SWIFT)' ./scripts/build-docs

install:
	$(SWIFT) build -c release --static-swift-stdlib --scratch-path $(INSTALL_BUILD) --product netmap
	$(SWIFT) build -c release --static-swift-stdlib --scratch-path $(INSTALL_BUILD) --product pkt-gen
	$(SWIFT) build -c release --static-swift-stdlib --scratch-path $(INSTALL_BUILD) --product vale-ctl
	$(SWIFT) build -c release --static-swift-stdlib --scratch-path $(INSTALL_BUILD) --product netmapd
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin \
	  $(DESTDIR)$(PREFIX)/libexec/netmap $(DESTDIR)$(PREFIX)/lib/systemd/system \
	  $(DESTDIR)$(PREFIX)/lib/sysusers.d \
	  $(DESTDIR)$(PREFIX)/share/man/man8 \
	  $(DESTDIR)$(PREFIX)/include/net $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(INSTALL_BUILD)/release/netmap $(DESTDIR)$(PREFIX)/bin/netmap
	install -m 755 $(INSTALL_BUILD)/release/pkt-gen $(DESTDIR)$(PREFIX)/libexec/netmap/pkt-gen
	install -m 755 $(INSTALL_BUILD)/release/vale-ctl $(DESTDIR)$(PREFIX)/libexec/netmap/vale-ctl
	install -m 755 $(INSTALL_BUILD)/release/netmapd $(DESTDIR)$(PREFIX)/sbin/netmapd
	install -m 644 packaging/netmap.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/netmap.conf
	install -m 644 packaging/netmapd.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/
	sed 's,@PREFIX@,$(PREFIX),' packaging/netmapd.service \
	  >$(DESTDIR)$(PREFIX)/lib/systemd/system/netmapd.service
	ln -sf pkt-gen $(DESTDIR)$(PREFIX)/libexec/netmap/pkt-gen-b
	install -m 644 Sources/CNetmap/include/net/*.h $(DESTDIR)$(PREFIX)/include/net/
	install -m 644 Sources/CNetmap/include/libnetmap.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 docs/man/netmap.1 docs/man/pkt-gen.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 docs/man/netmapd.8 docs/man/vale-ctl.8 $(DESTDIR)$(PREFIX)/share/man/man8/

clean:
	rm -rf .build Benchmarks/.build
