# sandgate: `make help` lists what can be done here.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

include tools/tools.mk

# The version comes from git through the toolchain (internal/version); outside a
# clone, or where git refuses to read one, the build still works without.
BUILDVCS := $(shell git status --porcelain >/dev/null 2>&1 && echo true || echo false)

# One set of flags for daemon, tests and linters, so that each dependency is
# compiled once: only the race detector and runc need another.
export CGO_ENABLED ?= 0
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath

# Results of the test runs of one `make test`, for its last line.
RECORD := .cache/tests.jsonl
go-test = go run ./test/report -label '$(1)' -record $(RECORD) --

# $(call step,TARGET): run a target as a step of `make test`, with its time.
step = @echo; echo "==> make $(1)"; start=$$SECONDS; \
	$(MAKE) --no-print-directory $(1); echo "<== make $(1): $$((SECONDS - start)) s"

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile



.PHONY: deps
deps: ## install what must come from the distribution (Debian and its kin, as root); does nothing when all is there
	@tools/scripts/deps

.PHONY: runtimes
runtimes: deps $(RUNTIMES) bin/runsc ## build containerd, its runc shim, ctr, runc and gVisor from their pins into bin/

.PHONY: gvisor
gvisor: bin/runsc ## build only gVisor, which is the largest of them

.PHONY: build
build: ## build sandgated, sandgate and sandgate-init into bin/
	@mkdir -p bin
	go build -buildvcs=$(BUILDVCS) -ldflags '-s -w' -o bin/ ./cmd/...

.PHONY: generate
generate: bin/buf bin/protoc-gen-go bin/protoc-gen-go-grpc ## write the Go code of proto/
	bin/buf generate

.PHONY: clean
clean: stop ## stop what `make run` started and remove all that was built
	rm -rf bin .cache .sandgate



.PHONY: run
run: deps $(RUNTIMES) build ## install and build what is missing, start the daemon, show one allowed and one denied call
	@tools/scripts/try start

.PHONY: stop
stop: ## stop the daemon that `make run` started
	@tools/scripts/try stop



.PHONY: test
test: ## everything that CI checks; ends with what was skipped and why
	@mkdir -p .cache; rm -f $(RECORD)
	$(call step,runtimes)
	$(call step,build)
	$(call step,unit)
	$(call step,policy-test)
	$(call step,fuzz-short)
	$(call step,lint)
	$(call step,check-generate)
	$(call step,root-test)
	$(call step,test-cgroup2)
	@echo; echo "==> all of make test"; go run ./test/report -total -record $(RECORD)

.PHONY: unit
unit: ## tests that need neither root nor network, with the race detector
	@mkdir -p .cache
	@CGO_ENABLED=1 $(call go-test,unit) -race -timeout 10m ./...

.PHONY: root-test
root-test: runtimes build ## tests on real containerd, runc, gVisor and the daemon; needs root
	@mkdir -p .cache; if [ "$$(id -u)" != 0 ]; then echo "root-test: skipped, not root"; exit 0; fi; \
	SANDGATE_ROOT_TESTS=1 SANDGATE_BIN_DIR=$(CURDIR)/bin $(call go-test,root) -p 1 -count=1 -timeout 10m ./cmd/sandgate-init/... ./sandbox/... ./test/...

.PHONY: e2e
e2e: runtimes build ## only the tests of the whole daemon; needs root
	SANDGATE_ROOT_TESTS=1 SANDGATE_BIN_DIR=$(CURDIR)/bin go test -p 1 -count=1 -timeout 10m -v ./test/e2e/... ./test/abuse/...

# Package and pattern of the tests that are run on cgroup v2, each pair quoted.
CGROUP2_TESTS ?= './sandbox/containerd=^(TestContract|TestIsolation)$$/(memory|fork|deadline|cpu|disk|receipt|workspace|nothing_passes|no_privilege)' './test/abuse=ForkBomb|MemoryBomb|DeadlineEnds|NothingOutside' './sandbox/containerd=^(TestInteractive|TestTransaction|TestTransactionIsBounded)$$/(signals|program.s$$|its_size|job_control|dies_with|nothing|files|directories|links|fifo|parts)' './sandbox/diskimage=.'

.PHONY: test-cgroup2
test-cgroup2: runtimes build ## the sandbox tests on a second kernel with pure cgroup v2, under qemu; needs root for its packages
	@mkdir -p .cache/cgroup2/tests; args=(); for pair in $(CGROUP2_TESTS); do \
		package=$${pair%%=*}; binary=.cache/cgroup2/tests/$$(basename "$$package").test; \
		go test -c -o "$$binary" "$$package"; \
		args+=("$$binary" "$$package" "-test.v -test.timeout=9m -test.run='$${pair#*=}'"); \
	done; test/cgroup2/run -- "$${args[@]}"

.PHONY: policy-test
policy-test: bin/opa build ## what any policy repository can run: OPA's own tests, then lint, tests with coverage, a sample of mutations
	bin/opa test --timeout 60s policies/
	bin/opa check --strict --schema policies/schemas policies/
	bin/sandgate policy lint policies
	bin/sandgate policy test policies --coverage --threshold 95
	bin/sandgate policy mutate policies --sample 100 --threshold 80

.PHONY: policy-mutate
policy-mutate: build ## every mutation of the policies; fails when less than 90 % are noticed (some minutes)
	bin/sandgate policy mutate policies --threshold 90

.PHONY: policy-replay
policy-replay: ## replay 100,000 records, with the time and memory that it takes
	SANDGATE_LONG_TESTS=1 go test -count=1 -v -timeout 15m -run AHundred ./internal/policy/replay

.PHONY: storm
storm: runtimes build ## 200 revisions of a policy in a minute under 200 calls a second; needs root
	SANDGATE_ROOT_TESTS=1 SANDGATE_BIN_DIR=$(CURDIR)/bin SANDGATE_STORM=1 go test -count=1 -v -timeout 10m -run TestReloadStorm ./test/e2e

FUZZTIME ?= 2s

.PHONY: fuzz-short
fuzz-short: ## every fuzz target for FUZZTIME (2s)
	@tools/scripts/fuzz $(FUZZTIME)

.PHONY: fuzz
fuzz: ## the comparison with bash for ten minutes, every other fuzz target for one
	@tools/scripts/fuzz 10m 'FuzzShell(Facts|Commands)'
	@tools/scripts/fuzz 1m

.PHONY: lint
lint: bin/golangci-lint bin/buf bin/opa ## golangci-lint with gosec, buf lint and breaking, opa fmt and check
	bin/golangci-lint run
	bin/buf lint
	@tools/scripts/breaking
	bin/opa fmt --list --fail policies
	bin/opa check --strict --schema policies/schemas policies/

.PHONY: check-generate
check-generate: generate ## fail when the committed generated code is not what the protos say
	@if [ -n "$$(git status --porcelain -- proto)" ]; then \
		git status --short -- proto; git --no-pager diff --stat -- proto; \
		echo "check-generate: run 'make generate' and commit the result" >&2; exit 1; fi

.PHONY: vuln
vuln: bin/govulncheck ## known vulnerabilities in what we call; says so when their database is out of reach
	@tools/scripts/vuln

.PHONY: bench
bench: runtimes build ## the whole matrix of measurements, beside floor and peers, into test/bench/RESULTS.md (about 22 minutes); needs root
	@tools/scripts/deps bubblewrap || echo "bench: goes on without bubblewrap"
	go run ./test/bench $(BENCHFLAGS)

.PHONY: bench-quick
bench-quick: runtimes build ## the same matrix with few calls, shown and not kept (about two minutes); needs root
	go run ./test/bench -quick $(BENCHFLAGS)

LEAKS_CALLS ?= 10000

.PHONY: leaks
leaks: runtimes build ## LEAKS_CALLS (10000) mixed calls, after which nothing may be left on the machine; needs root
	SANDGATE_ROOT_TESTS=1 SANDGATE_BIN_DIR=$(CURDIR)/bin SANDGATE_LEAKS_CALLS=$(LEAKS_CALLS) go test -count=1 -timeout 60m -v ./test/leaks

CRASH_KILLS ?= 200

.PHONY: crash
crash: runtimes build ## kill -9 the daemon CRASH_KILLS (200) times and at every failpoint, containerd and shims 30 times each, under load (about 10 minutes); needs root
	SANDGATE_ROOT_TESTS=1 SANDGATE_BIN_DIR=$(CURDIR)/bin SANDGATE_CRASH_KILLS=$(CRASH_KILLS) go test -count=1 -timeout 60m -v ./test/crash

POWERCUTS ?= 20

.PHONY: powercut
powercut: runtimes build ## cut the power of a virtual machine with the daemon POWERCUTS (20) times and look for what was acknowledged (about 15 minutes); needs root
	@mkdir -p .cache
	SANDGATE_ROOT_TESTS=1 SANDGATE_BIN_DIR=$(CURDIR)/bin SANDGATE_POWERCUTS=$(POWERCUTS) go test -count=1 -timeout 120m -v -run TestPowerCut ./test/powercut
