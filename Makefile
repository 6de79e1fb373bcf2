# sandgate: `make help` lists what can be done here.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

include tools/tools.mk

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install what must come from the distribution (Debian and its kin, as root); does nothing when all is there
	@tools/deps

.PHONY: runtimes
runtimes: deps $(RUNTIMES) ## build containerd, its runc shim, ctr and runc from their pins into bin/

.PHONY: gvisor
gvisor: bin/runsc ## build gVisor's runsc from its pin into bin/

.PHONY: generate
generate: bin/buf bin/protoc-gen-go bin/protoc-gen-go-grpc ## write the Go code of proto/
	bin/buf generate

.PHONY: check-generate
check-generate: generate ## fail when the committed generated code is not what the protos say
	@if [ -n "$$(git status --porcelain -- proto)" ]; then \
		git status --short -- proto; git --no-pager diff --stat -- proto; \
		echo "check-generate: run 'make generate' and commit the result" >&2; exit 1; fi
