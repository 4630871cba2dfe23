# swift-netmap: commands for users and developers.
#
#   make setup        install the Debian packages for build, demo and test
#   make demo         build, and show packets moving
#   make test         build and run all tests
#   make fuzz         run every fuzz target for FUZZ_SECONDS, one line each
#   make check-full   run the tests under the address and the thread sanitizer, and in release mode
#   make soak         hours of sleeping, killed and opening processes, with a ledger of their packets (SOAK_SECONDS each)
#   make kill-table   kill and stop a process at every point of every operation, and print how many everybody survived
#   make message-storm  send millions of hostile messages as each kind of peer, and print what other processes noticed
#   make race-table   change each word that a peer can write right after each load, and print how often readers survived
#   make bench        measure, and check the committed limits
#   make bench-preload  the same for programs that never use netmap, with the C library preloaded
#   make docs         build the documentation, in .build/docs
#   make compatibility  write docs/compatibility.md from what the tests prove
#   make install      build, and install to PREFIX (default /usr/local), below DESTDIR if set
#   make uninstall    remove every file that `make install` writes, and no other file; with the same PREFIX
#
# `make install` runs two steps, so that a package or an unprivileged user can build first:
#   make install-build    build the programs, with the Swift runtime linked statically
#   make install-files    install them from PROGRAMS, the folder with the built programs
#
# Installed programs have no symbol table. STRIP= keeps it, STRIP=PROGRAM strips with another program.

PREFIX  ?= /usr/local
DESTDIR ?=
SWIFT   ?= swift
CLANG   ?= clang
STRIP   ?= strip

# Packages for compiling and linking, and programs that the tests call.
SETUP_PACKAGES := binutils git libc6-dev libstdc++-12-dev libbpf-dev libelf-dev zlib1g-dev \
  iproute2 ethtool shellcheck make openssh-client python3
# valgrind counts instructions for the committed limits. DPDK is a peer in comparisons.
BENCH_PACKAGES := valgrind dpdk-dev

RELEASE := .build/release
# Installed programs link the Swift runtime statically.
INSTALL_BUILD := .build/install
PROGRAMS ?= $(INSTALL_BUILD)/release

# The C half of the C library. SwiftPM links every library with swiftc, which adds libraries that this one must not need.
C_LIBRARY := $(PROGRAMS)/libnetmap.so.1
C_SOURCES := $(wildcard Sources/NetmapPreload/*.c Sources/NetmapPreload/library/*.c)
C_HEADERS := $(wildcard Sources/NetmapPreload/*.h Sources/NetmapPreload/library/*.h Sources/CNetmapHalves/include/*.h)
C_VERSIONS := Sources/NetmapPreload/libnetmap.map
C_FLAGS := -O2 -fPIC -fvisibility=hidden -Wall -Wextra -ISources/CNetmapHalves/include -ISources/CNetmap/include
# lld, which every Swift toolchain has, lets the writable part begin with a page. So every program that loads the library writes
# to one page of it instead of two. The version script names symbols that lld does not define.
C_LINK := -shared -nostartfiles -Wl,-soname,libnetmap.so.1 -Wl,-z,lazy -Wl,-z,norelro -Wl,-z,nodelete \
  -Wl,-Bsymbolic-functions -Wl,--version-script=$(C_VERSIONS) \
  -fuse-ld=lld -Wl,--undefined-version -Wl,--no-rosegment -Wl,-z,separate-loadable-segments

$(C_LIBRARY): $(C_SOURCES) $(C_HEADERS) $(C_VERSIONS)
	@mkdir -p $(@D)
	$(CLANG) $(C_FLAGS) $(C_LINK) $(C_SOURCES) -o $@

.PHONY: setup setup-bench build demo test soak soak-faults hostile kill-table kill-table-programs mutants message-storm race-table fuzz \
  check-full check-address check-thread check-release bench bench-peers bench-preload bench-smoke lint docs \
  compatibility install install-build install-files check-install check-bare uninstall clean

setup:
	@./scripts/apt-install $(SETUP_PACKAGES)

setup-bench: setup
	@./scripts/apt-install $(BENCH_PACKAGES)

build:
	$(SWIFT) build -c release

demo: build
	@./scripts/demo $(RELEASE)

# The attackers use as much processor time as possible, so other tests do not run at the same time. The kill table
# measures how long other processes are held, and the soaks how long processes sleep.
test:
	$(SWIFT) test --disable-xctest --filter HostileTests
	$(SWIFT) test --disable-xctest --filter KillTableTests
	$(SWIFT) test --disable-xctest --filter SoakTests
	@rm -f $(CLAIMS)
	NETMAP_CLAIMS=$(abspath $(CLAIMS)) $(SWIFT) test --disable-xctest --skip HostileTests --skip KillTableTests \
	  --skip SoakTests
	./scripts/compatibility check $(CLAIMS)

# Writes the tables of docs/compatibility.md from what the tests prove.
CLAIMS := .build/claims
compatibility:
	@mkdir -p $(dir $(CLAIMS)) && rm -f $(CLAIMS)
	NETMAP_CLAIMS=$(abspath $(CLAIMS)) $(SWIFT) test --disable-xctest \
	  --filter 'ConformanceTests|NetmapRequestsTests'
	./scripts/compatibility write $(CLAIMS)

# Processes that sleep, that are killed and stopped, and that open and close, for SOAK_SECONDS each. Each soak prints what
# it has counted, and after a failure the commands that show the dump and that repeat the run. SOAK_FLAGS are options of
# the program, such as --seed 42.
SOAK_SECONDS ?= 7200
SOAK_FLAGS ?=
SOAKS ?= sleep kill open
SOAK_PRODUCTS := netmapd netmap soak soak-client netmap-c netmap-half fault-module
soak:
	@for product in $(SOAK_PRODUCTS); do $(SWIFT) build -c release --product $$product || exit; done
	@mkdir -p .build/soak
	@for soak in $(SOAKS); do \
	  $(RELEASE)/soak $$soak --seconds $(SOAK_SECONDS) --dumps .build/soak $(SOAK_FLAGS) || exit; \
	done

# Sends 10^9 packets through a pipe between two processes, and checks every packet. Then runs every fault of
# the fault suite, more often than in 'make test'.
SOAK_ROUNDS ?= 5000
soak-faults: build
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

# Builds the package Tests/Fuzz, and runs every target for FUZZ_SECONDS, FUZZ_JOBS at a time. FUZZ_TARGETS names some of
# them.
FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 1
FUZZ_TARGETS ?=
fuzz:
	@SWIFT='$(SWIFT)' FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_JOBS=$(FUZZ_JOBS) ./scripts/fuzz $(FUZZ_TARGETS)

# The tests under the sanitizers and in release mode; each needs a build of its own. Tests/Support/Sanitizers has the
# tests that a sanitizer cannot run, with the reasons.
check-full: check-address check-thread check-release

check-address check-thread check-release: check-%:
	@SWIFT='$(SWIFT)' ./scripts/check-sanitized $*

# KILL_TABLE_FLAGS are options of kill-table: --every 16 tries every 16th point, from a random one on.
KILL_TABLE_FLAGS ?=
kill-table: kill-table-programs
	$(RELEASE)/kill-table $(KILL_TABLE_FLAGS)

kill-table-programs:
	$(SWIFT) build -c release --product netmapd
	for product in kill-table kill-client netmap-c netmap-half port-guard; do \
	  $(SWIFT) build -c release --product $$product || exit; \
	done

# RACE_TABLE_FLAGS are options of race-table: --changes 1000 for a shorter run, --row and --word for some pairs. Results
# are kept in .build/race-table.tsv, so a run goes on where the one before was ended; delete the file after a change.
RACE_TABLE_FLAGS ?= --changes 100000
race-table:
	$(SWIFT) build -c release --product netmapd
	$(SWIFT) build -c release --product race-table
	$(RELEASE)/race-table --keep .build/race-table.tsv $(RACE_TABLE_FLAGS)

# Breaks the code that makes deaths harmless, one place at a time, and reports whether the kill table notices.
mutants:
	SWIFT='$(SWIFT)' scripts/kill-mutants

# Sends MESSAGES messages as each kind of peer. Goes on where the last run ended: `rm -r .build/message-storm` starts anew.
# MESSAGE_STORM_FLAGS are options of message-storm: --kind S --seed 7 --replay 12034 repeats a failure.
MESSAGES ?= 2000000
MESSAGE_STORM_FLAGS ?=
message-storm:
	for product in netmapd hostile-peer message-storm storm-module port-guard; do \
	  $(SWIFT) build -c release --product $$product || exit; \
	done
	$(RELEASE)/message-storm --messages $(MESSAGES) --progress .build/message-storm $(MESSAGE_STORM_FLAGS)

bench: build
	Benchmarks/check

# The peers that 'netmap bench --compare' measures.
bench-peers: build
	$(SWIFT) build -c release --package-path Benchmarks

# What the C library costs programs that never use netmap, against limits. BENCH_PRELOAD: options.
BENCH_PRELOAD ?= --scripts $(CURDIR)/Tests/Conformance/Bystanders
bench-preload: $(C_LIBRARY)
	$(SWIFT) build -c release --package-path Benchmarks --product preload-costs
	Benchmarks/.build/release/preload-costs --library $(abspath $(C_LIBRARY)) --compiler $(CLANG) \
	  $(BENCH_PRELOAD)

bench-smoke: build
	Benchmarks/check --smoke
	@$(MAKE) --no-print-directory bench-preload BENCH_PRELOAD='--starts 200 --slack 2'

# An import of a target that Package.swift does not name as a dependency is an error.
lint:
	./scripts/check-shared
	./scripts/check-house
	shellcheck .ci/run Benchmarks/check scripts/* Tests/Conformance/Bystanders/*.sh
	$(SWIFT) format lint --strict --parallel --recursive \
	  Package.swift Plugins Sources Tests Examples Benchmarks/Package.swift Benchmarks/Sources
	$(SWIFT) build --build-tests --disable-xctest --explicit-target-dependency-import-check error
	./scripts/compatibility complete "$$($(SWIFT) build --show-bin-path)/libnetmap-c.so"

# A link to a symbol that does not exist is an error.
docs:
	@SWIFT='$(SWIFT)' ./scripts/build-docs

# Everything that is installed, as paths below PREFIX. `make uninstall` removes exactly these files.
INSTALLED_PROGRAMS := bin/netmap sbin/netmapd libexec/netmap/pkt-gen libexec/netmap/vale-ctl
INSTALLED_LINKS := libexec/netmap/pkt-gen-b
INSTALLED_LIBRARIES := lib/libnetmap.so.1 lib/netmap/libnetmap-half.so
INSTALLED_LIBRARY_LINKS := lib/libnetmap.so
INSTALLED_PKGCONFIG := lib/pkgconfig/libnetmap.pc
INSTALLED_HEADERS := include/libnetmap.h \
  $(patsubst Sources/CNetmap/%,%,$(wildcard Sources/CNetmap/include/net/*.h))
INSTALLED_PAGES := $(foreach section,1 8,\
  $(patsubst docs/man/%,share/man/man$(section)/%,$(wildcard docs/man/*.$(section))))
INSTALLED_UNITS := lib/systemd/system/netmapd.socket lib/systemd/system/netmapd.service
INSTALLED_USERS := lib/sysusers.d/netmap.conf
# Programs that print their own completion scripts.
BASH_COMPLETIONS := $(addprefix share/bash-completion/completions/,netmap netmapd)
ZSH_COMPLETIONS  := $(addprefix share/zsh/site-functions/_,netmap netmapd)
FISH_COMPLETIONS := $(addprefix share/fish/vendor_completions.d/,netmap.fish netmapd.fish)
INSTALLED := $(INSTALLED_PROGRAMS) $(INSTALLED_LINKS) $(INSTALLED_LIBRARIES) $(INSTALLED_LIBRARY_LINKS) \
  $(INSTALLED_PKGCONFIG) $(INSTALLED_HEADERS) $(INSTALLED_PAGES) \
  $(INSTALLED_UNITS) $(INSTALLED_USERS) $(BASH_COMPLETIONS) $(ZSH_COMPLETIONS) $(FISH_COMPLETIONS)

ROOT := $(DESTDIR)$(PREFIX)
INSTALL_PROGRAM := install -D -m 755 $(if $(STRIP),-s --strip-program=$(STRIP))
INSTALL_LIBRARY := install -D -m 644 $(if $(STRIP),-s --strip-program=$(STRIP))
INSTALL_FILE := install -D -m 644

install: install-build
	@$(MAKE) --no-print-directory install-files

install-build: $(C_LIBRARY)
	$(SWIFT) build -c release --scratch-path $(INSTALL_BUILD) --product netmap-half
	@for program in $(notdir $(INSTALLED_PROGRAMS)); do \
	  $(SWIFT) build -c release --static-swift-stdlib --scratch-path $(INSTALL_BUILD) --product $$program \
	    || exit; \
	done

install-files: $(C_LIBRARY)
	@set -e; \
	for file in $(INSTALLED_LIBRARIES); do \
	  $(INSTALL_LIBRARY) $(PROGRAMS)/$${file##*/} $(ROOT)/$$file; \
	done; \
	ln -sf libnetmap.so.1 $(ROOT)/lib/libnetmap.so; \
	$(INSTALL_FILE) packaging/libnetmap.pc $(ROOT)/$(INSTALLED_PKGCONFIG); \
	sed -i 's,@PREFIX@,$(PREFIX),' $(ROOT)/$(INSTALLED_PKGCONFIG); \
	for file in $(INSTALLED_PROGRAMS); do \
	  $(INSTALL_PROGRAM) $(PROGRAMS)/$${file##*/} $(ROOT)/$$file; \
	done; \
	ln -sf pkt-gen $(ROOT)/libexec/netmap/pkt-gen-b; \
	for file in $(INSTALLED_HEADERS); do $(INSTALL_FILE) Sources/CNetmap/$$file $(ROOT)/$$file; done; \
	for file in $(INSTALLED_PAGES); do $(INSTALL_FILE) docs/man/$${file##*/} $(ROOT)/$$file; done; \
	for file in $(INSTALLED_UNITS); do $(INSTALL_FILE) packaging/$${file##*/} $(ROOT)/$$file; done; \
	sed -i 's,@PREFIX@,$(PREFIX),' $(ROOT)/lib/systemd/system/netmapd.service; \
	$(INSTALL_FILE) packaging/netmap.sysusers $(ROOT)/lib/sysusers.d/netmap.conf; \
	complete() { \
	  program=$$1 shell=$$2 file=$(ROOT)/$$3; \
	  install -d $${file%/*}; \
	  $(ROOT)/$$program --generate-completion-script $$shell >$$file; \
	  chmod 644 $$file; \
	}; \
	for program in bin/netmap sbin/netmapd; do \
	  complete $$program bash share/bash-completion/completions/$${program##*/}; \
	  complete $$program zsh share/zsh/site-functions/_$${program##*/}; \
	  complete $$program fish share/fish/vendor_completions.d/$${program##*/}.fish; \
	done
	@echo "installed $(words $(INSTALLED)) files in $(ROOT)"

# Folders stay, because other packages may use them; libexec/netmap and lib/netmap are this package's own.
uninstall:
	@rm -f $(addprefix $(ROOT)/,$(INSTALLED))
	@for folder in $(ROOT)/libexec/netmap $(ROOT)/lib/netmap; do \
	  [ ! -d $$folder ] || rmdir --ignore-fail-on-non-empty $$folder; \
	done

# Installs the programs of a plain release build, which 'make build' and 'make demo' leave.
check-install: build
	./scripts/check-install $(RELEASE)

# Builds a package that depends on this one, without the trait Interfaces.
check-bare:
	@SWIFT='$(SWIFT)' ./scripts/check-bare

clean:
	rm -rf .build Benchmarks/.build
