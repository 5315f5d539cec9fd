# Taffrail. `make help` lists the targets; each does all the set-up it needs (packages by apt on Debian and Ubuntu).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PREFIX ?= /usr/local
MINUTES ?= 3
DESTDIR ?=
DIST ?= target/dist

CARGO := .ci/cargo
MUSL := x86_64-unknown-linux-musl
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
STATIC := $(TARGET_DIR)/$(MUSL)/shim
PROFILE := release
# FAILPOINTS=1: a build of its own, which tests may kill, fail or delay at each named step. Never to be installed.
ifdef FAILPOINTS
override DIST := target/dist-failpoints
STATIC := $(TARGET_DIR)/failpoints/$(MUSL)/shim
PROFILE := dev
SHIM_FEATURES := --features shim/failpoints --target-dir $(TARGET_DIR)/failpoints
DAEMON_FEATURES := --features failpoints
endif
# The daemon embeds both; one cargo call for all packages would unify features and pull tokio into the shim.
export TAFFRAIL_SHIM_BIN := $(STATIC)/taffrail-shim
export TAFFRAIL_DEMO_BIN := $(STATIC)/taffrail-demo
export TAFFRAIL_BIN := $(abspath $(DIST))/taffrail
export TAFFRAIL_TOOLS := $(abspath target/tools)

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.PHONY: build
build: ## target/dist/taffrail, the shim embedded, and the same shim beside it; FAILPOINTS=1: target/dist-failpoints
	@.ci/setup build
	$(CARGO) build -p shim -p demo --profile shim --target $(MUSL) $(SHIM_FEATURES)
	@.ci/static $(TAFFRAIL_SHIM_BIN) $(TAFFRAIL_DEMO_BIN)
	$(CARGO) build --profile $(PROFILE) -p daemon $(DAEMON_FEATURES)
	@mkdir -p $(DIST)
	@install -m 755 $(TAFFRAIL_SHIM_BIN) $(DIST)/.taffrail-shim.new && mv $(DIST)/.taffrail-shim.new $(DIST)/taffrail-shim
	@install -m 755 $(TARGET_DIR)/$(PROFILE:dev=debug)/taffrail $(DIST)/.taffrail.new && mv $(DIST)/.taffrail.new $(DIST)/taffrail
	@ls -l $(DIST)/taffrail $(DIST)/taffrail-shim

.PHONY: install
install: ## into DESTDIR and PREFIX (/usr/local); builds nothing
	@test -x $(DIST)/taffrail || { echo "nothing to install: run make build first" >&2; exit 1; }
	install -D -m 755 $(DIST)/taffrail $(DESTDIR)$(PREFIX)/bin/taffrail
	@install -d $(DESTDIR)$(PREFIX)/share/man/man8
	$(DIST)/taffrail man --into $(DESTDIR)$(PREFIX)/share/man/man8
	@install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|' daemon/dist/taffrail.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/taffrail.service

.PHONY: root
root:
	@test "$$(id -u)" = 0 || { echo "containers need root: run it through sudo" >&2; exit 1; }

.PHONY: quickstart
quickstart: root build ## a pod, a container, its log, the daemon killed in the middle: half a minute
	@.ci/setup run
	$(DIST)/taffrail quickstart

.PHONY: test
test: root build ## format, lints and every test; what continuous integration runs
	@.ci/setup test
	@.ci/tools
	@.ci/images
	@.ci/test

.PHONY: test-full
test-full: ## the same with the long ones
	@.ci/setup vm
	@TAFFRAIL_TEST_FULL=1 $(MAKE) test

.PHONY: test-vm
test-vm: root build ## the tests of a modern node (systemd, cgroup v2), in a virtual machine without KVM: six minutes
	@.ci/setup vm
	@.ci/vm $(NAMES)

.PHONY: soak
soak: root build ## pods come and go while everything breaks; MINUTES=3, SEED=7
	@.ci/setup test
	$(MAKE) build FAILPOINTS=1
	TAFFRAIL_SOAK_MINUTES=$(MINUTES) TAFFRAIL_SOAK_SEED=$(SEED) $(CARGO) test -q -p tests --test it soak:: -- --nocapture

.PHONY: bench
bench: root build ## medians beside conmon and containerd on this machine
	@.ci/setup bench
	$(CARGO) build --release -q -p tests --bins
	$(CARGO) run --release -q -p tests --bin bench -- $(PARTS)

.PHONY: fmt
fmt: ## format all code
	$(CARGO) fmt --all

.PHONY: lint
lint: ## format check, clippy, house rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test -q -p tests --test tidy

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean
	rm -rf target/dist target/tools
