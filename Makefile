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
STAGE    := $(DIST)/stage
ARCHES   := amd64 arm64 ppc64le s390x
ARCH     := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
# A version for packages: of the tag, or one that every tag is newer than. A
# release is newer than its candidates (~), and what follows it newer still (+).
PACKAGE_VERSION = $(shell echo '$(VERSION)' | sed -E 's/^v([0-9])/\1/; t tag; s/^/0~$(subst -,,$(DATE))./; :tag; s/-(alpha|beta|rc)/~\1/; s/-/+/; s/-/./g')
BUILD    = go build -ldflags '-s -w -X main.version=$(VERSION)'
CACHE    := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/glusterbackupd-lab
GOLANGCI_VERSION := 2.15.0
GOLANGCI := $(CACHE)/bin/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
NFPM_VERSION := 2.45.0
NFPM     := $(CACHE)/bin/nfpm-$(NFPM_VERSION)/nfpm
NETNS    := gblab
LAB      := bin/lab
ENTER    := nsenter --net=/run/netns/$(NETNS)

export CGO_ENABLED := 0
# With paths as in the released binary, so that tests and it share one build cache.
export GOFLAGS := -trimpath
export GLUSTERBACKUPD_LAB_BIN := $(CACHE)/bin

# What a step costs is shown at its end.
timed = start=$$(date +%s); $(1); echo "== $@: $$(( $$(date +%s) - start )) s"

.PHONY: build setup test unit integration platform lint fuzz soak bench demo \
        lab-up lab-down lab-status lab-ssh package dist man completion clean

build: bin/glusterbackupd

.PHONY: bin/glusterbackupd bin/lab
bin/glusterbackupd: | setup
	@$(call timed,$(BUILD) -o $@ ./cmd/glusterbackupd)

bin/lab: | setup
	@go build -o $@ ./test/lab/cmd/lab

# The packages that building and testing need; only what is missing is installed.
setup:
	@test/setup.sh

test: unit lint integration platform
	@echo "all tests passed"

unit: | setup
	@$(call timed,go test ./...)

# Real Heketi, kube-apiserver, etcd, sshd and promtool on loopback; no guest.
integration: bin/lab package
	@$(LAB) setup
	@$(call timed,go test -count=1 -tags integration ./metrics/... ./runner/... ./systemd/... ./test/integration/... ./test/package/...)

# Real Gluster with snapshots, Heketi, Kubernetes and iSCSI: the whole lab.
platform: bin/glusterbackupd lab-up
	@$(call timed,$(ENTER) go test -count=1 -p 1 -timeout 50m -tags platform \
	  ./gluster/... ./blockstore/... ./catalog/... ./copier/... ./test/platform/...)

# What takes too long for every change: the suite of gluster over every
# transport, Gluster hosts that die, restores that are ended by signals, a fault
# at each step of a backup and a restore, all claims at once (as make demo does),
# claims that are made again, images of which only what changed is read, with
# bricks that come, go and heal meanwhile (TRACK_ROUNDS, 200), what tenants do,
# options that no restore may meet, commands beside each other, an image that has
# lost its claim, a daemon that takes over from a dead one, the installed package
# under the guest's systemd, three daemons for thirty volumes, an API server that
# is away, SOAK_RUNS (200) backups of which every third is killed, VolumeSnapshots
# beside the snapshot-controller of CSI, which is built for that, and those of a
# thousand claims.
soak: bin/glusterbackupd package lab-up
	@$(LAB) glusterd2
	@$(call timed,$(ENTER) go test -count=1 -p 1 -v -timeout 6h -tags 'platform soak' \
	  -run '$(SOAK)' ./gluster/... ./test/package/... ./test/platform/... | grep -vE '^=== ')
	@$(call timed,go test -count=1 -tags 'integration soak' -v -run '^(TestSnapshotController|TestThousandClaims)$$' ./test/integration/ | grep -vE '^ *=== ')

SOAK := ^(TestTenants|TestHost.*|TestFaultAtEachStep|TestBackupOfAll.*|TestMandatoryLocking.*|TestDaemonTakesOver|TestRestoreNew.*|TestRestoreFrom|TestTwoInstances|TestRestoreBlockWithoutClaim|TestInterruptedRestore.*|TestTransports|TestRealServer|TestTracked.*|TestConfine.*|TestService.*|TestDaemonsShareTheWork|TestDaemonsWithoutAPIServer|TestSoak)$$

lint: $(GOLANGCI)
	@$(call timed,$(GOLANGCI) run ./...)

$(GOLANGCI): | setup
	@echo "building golangci-lint $(GOLANGCI_VERSION), once"
	@GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_VERSION)

# The copy engines beside other tools, on a Gluster of its own; writes
# docs/benchmarks.md. Takes an hour; BENCH='-files 2000 -many 5000 -delayed 500
# -image 268435456 -repeat 1' some minutes.
bench: | setup
	@go build -o bin/bench ./test/bench
	@$(call timed,bin/bench $(BENCH))

# Each fuzz target for a short while.
fuzz: | setup
	@go test ./config -run '^$$' -fuzz FuzzParse -fuzzminimizetime 1x -fuzztime 20s
	@go test ./schedule -run '^$$' -fuzz FuzzParse -fuzzminimizetime 1x -fuzztime 20s
	@go test ./retention -run '^$$' -fuzz FuzzParsePolicy -fuzzminimizetime 1x -fuzztime 20s
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

# The deb and the rpm for this machine's architecture, in $(DIST).
package: package-$(ARCH)

# Static binaries and packages for all architectures, with their sums.
dist: $(ARCHES:%=package-%)
	@cd $(DIST) && sha256sum glusterbackupd[-_]* >SHA256SUMS

.PHONY: $(ARCHES:%=package-%)
$(ARCHES:%=package-%): package-%: stage $(NFPM)
	@$(call timed,GOARCH=$* $(BUILD) -o $(DIST)/glusterbackupd-linux-$* ./cmd/glusterbackupd)
	@touch -d @$(EPOCH) $(DIST)/glusterbackupd-linux-$*
	@for kind in deb rpm; do \
	  SOURCE_DATE_EPOCH=$(EPOCH) ARCH=$* VERSION='$(PACKAGE_VERSION)' BINARY=$(DIST)/glusterbackupd-linux-$* STAGE=$(STAGE) \
	    $(NFPM) package --config systemd/package/nfpm.yaml --packager $$kind --target $(DIST)/ | tail -n 1; done

# What the packages of all architectures have in common. The sums of the
# packages depend on modes and times, so both are set.
.PHONY: stage
stage: man completion
	@rm -rf $(STAGE) $(DIST)/glusterbackupd[-_]* $(DIST)/SHA256SUMS; mkdir -p $(STAGE)/doc/docs
	@cp -r $(DIST)/man $(DIST)/completion systemd/glusterbackupd.service systemd/config.toml LICENSE $(STAGE)
	@cp -r README.md CHANGELOG.md $(STAGE)/doc; cp -r docs/* $(STAGE)/doc/docs; rm $(STAGE)/doc/docs/lab.md
	@go run ./systemd/cmd/licenses $(ARCHES:%=-arch %) >$(STAGE)/THIRD-PARTY-LICENSES
	@gzip -9n $(STAGE)/man/*
	@chmod -R u=rwX,go=rX $(STAGE); find $(STAGE) -exec touch -d @$(EPOCH) {} +

$(NFPM): | setup
	@echo "building nfpm $(NFPM_VERSION), once"
	@GOBIN=$(@D) go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v$(NFPM_VERSION)

man: bin/glusterbackupd
	@rm -rf $(DIST)/man; mkdir -p $(DIST)/man
	@bin/glusterbackupd man --date $(DATE) $(DIST)/man
	@go run ./systemd/cmd/manpage --date $(DATE) --version $(VERSION) <docs/configuration.md >$(DIST)/man/glusterbackupd.toml.5

completion: bin/glusterbackupd
	@mkdir -p $(DIST)/completion
	@for s in bash zsh fish; do bin/glusterbackupd completion $$s > $(DIST)/completion/glusterbackupd.$$s; done

clean:
	rm -rf bin $(DIST)
