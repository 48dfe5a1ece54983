# glusterbackupd: see README.md for what to run first.
#
#   make demo    the main job on the real stack, shown step by step
#   make test    every test, on the same stack
#
# Both do all their own set-up on a fresh Debian or Ubuntu machine, as root:
# packages, servers and the guest image are installed or built once and cached
# in $(CACHE).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The date of the commit: two builds of one commit are equal, byte for byte.
EPOCH    ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
DATE      = $(shell date -u -d @$(EPOCH) +%F)
DIST     := dist
CACHE    := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/glusterbackupd-lab
GOLANGCI_VERSION := 2.15.0
GOLANGCI := $(CACHE)/bin/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
NETNS    := gblab
LAB      := bin/lab
ENTER    := nsenter --net=/run/netns/$(NETNS)

export CGO_ENABLED := 0
export GLUSTERBACKUPD_LAB_BIN := $(CACHE)/bin

# What a step costs is shown at its end.
timed = start=$$(date +%s); $(1); echo "== $@: $$(( $$(date +%s) - start )) s"

.PHONY: build setup test unit integration platform lint fuzz demo \
        lab-up lab-down lab-status lab-ssh man completion clean

build: bin/glusterbackupd

.PHONY: bin/glusterbackupd bin/lab
bin/glusterbackupd: | setup
	@$(call timed,go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/glusterbackupd)

bin/lab: | setup
	@go build -o $@ ./test/lab/cmd/lab

# The packages that building and testing need; only what is missing is installed.
setup:
	@test/setup.sh

test: unit lint integration platform
	@echo "all tests passed"

unit: | setup
	@$(call timed,go test ./...)

# Real Heketi, kube-apiserver, etcd and sshd on loopback; no guest.
integration: bin/lab
	@$(LAB) setup
	@$(call timed,go test -count=1 -tags integration ./runner/... ./systemd/... ./test/integration/...)

# Real Gluster with snapshots, Heketi, Kubernetes and iSCSI: the whole lab.
platform: bin/glusterbackupd lab-up
	@$(call timed,$(ENTER) go test -count=1 -p 1 -timeout 40m -tags platform \
	  ./gluster/... ./blockstore/... ./catalog/... ./copier/... ./test/platform/...)

lint: $(GOLANGCI)
	@$(call timed,$(GOLANGCI) run ./...)

$(GOLANGCI): | setup
	@echo "building golangci-lint $(GOLANGCI_VERSION), once"
	@GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_VERSION)

# Each fuzz target for a short while.
fuzz: | setup
	@go test ./config -run '^$$' -fuzz FuzzParse -fuzzminimizetime 1x -fuzztime 20s
	@go test ./blockstore -run '^$$' -fuzz FuzzParseJournal -fuzztime 20s
	@go test ./manifest -run '^$$' -fuzz FuzzPathRoundTrip -fuzztime 20s
	@go test ./manifest -run '^$$' -fuzz FuzzReader -fuzzminimizetime 10x -fuzztime 20s

demo: bin/glusterbackupd lab-up
	@$(call timed,$(ENTER) go run ./test/demo)

lab-up: bin/lab
	@$(LAB) up

lab-down: bin/lab
	@$(LAB) down

lab-status: bin/lab
	@$(LAB) status

# make lab-ssh CMD='gluster volume info' runs one command; without CMD it is a shell.
lab-ssh: bin/lab
	@$(LAB) ssh $(CMD)

man: bin/glusterbackupd
	@rm -rf $(DIST)/man; mkdir -p $(DIST)/man
	@bin/glusterbackupd man --date $(DATE) $(DIST)/man
	@go run ./systemd/cmd/manpage --date $(DATE) --version $(VERSION) <docs/configuration.md >$(DIST)/man/glusterbackupd.toml.5

completion: bin/glusterbackupd
	@mkdir -p $(DIST)/completion
	@for s in bash zsh fish; do bin/glusterbackupd completion $$s > $(DIST)/completion/glusterbackupd.$$s; done

clean:
	rm -rf bin $(DIST)
