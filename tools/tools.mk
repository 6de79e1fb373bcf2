# Everything that is built from somebody else's Go module. Each has a module
# file of its own here, so that its dependencies never reach sandgate's go.mod,
# and its go.sum pins every byte. To move a pin:
#   cd tools/NAME && go get -tool MODULE@VERSION
#
# A binary is rebuilt when its module files, this file or the Go toolchain
# change, and only then: their hash is in the name of a stamp that it depends on.

STAMPS := bin/.stamps
GOVERSION := $(shell go env GOVERSION 2>/dev/null)

# $(call pin,NAME): the stamp of tools/NAME as it is now.
pin = $(STAMPS)/$(1)-$(shell { cat tools/$(1)/go.mod tools/$(1)/go.sum tools/tools.mk; echo $(GOVERSION); } | sha256sum | cut -c1-16)

# $(call build-tools,NAME,ENVIRONMENT,FLAGS): every `tool` of tools/NAME into bin/.
build-tools = @echo "build tools/$(1) -> $@"; \
	mkdir -p bin; \
	cd tools/$(1) && GOWORK=off GOFLAGS=-mod=readonly $(2) go build -trimpath $(3) -o ../../bin/ tool

$(STAMPS)/%:
	@mkdir -p $(STAMPS)
	@name='$*'; rm -f $(STAMPS)/"$${name%-*}"-*
	@touch $@

CONTAINERD_VERSION := $(shell sed -n 's|.*github.com/containerd/containerd/v2 \(v[^ ]*\).*|\1|p' tools/containerd/go.mod)

# The private containerd runs cells and nothing else: what serves kubelet, other
# snapshotters and tracing would only be more code with root's rights.
CONTAINERD_TAGS := no_cri,no_btrfs,no_devmapper,no_zfs,no_tracing

RUNTIMES := bin/containerd bin/containerd-shim-runc-v2 bin/ctr bin/runc

bin/containerd bin/containerd-shim-runc-v2 bin/ctr &: $(call pin,containerd)
	$(call build-tools,containerd,CGO_ENABLED=0,-tags '$(CONTAINERD_TAGS)' -ldflags '-s -w -X github.com/containerd/containerd/v2/version.Version=$(CONTAINERD_VERSION)')
	@touch bin/containerd bin/containerd-shim-runc-v2 bin/ctr

# runc needs cgo for its nsenter stage and libseccomp for its filters; without
# the tag it would refuse every container that asks for a filter.
bin/runc: $(call pin,runc)
	$(call build-tools,runc,CGO_ENABLED=1,-tags seccomp -ldflags '-s -w')
	@touch $@

# A dynamically linked runsc cannot start its own sandbox.
bin/runsc: $(call pin,gvisor)
	$(call build-tools,gvisor,CGO_ENABLED=0,-ldflags '-s -w')
	@touch $@

bin/buf: $(call pin,buf)
	$(call build-tools,buf,CGO_ENABLED=0,-ldflags '-s -w')
	@touch $@

bin/protoc-gen-go bin/protoc-gen-go-grpc &: $(call pin,proto)
	$(call build-tools,proto,CGO_ENABLED=0,-ldflags '-s -w')
	@touch bin/protoc-gen-go bin/protoc-gen-go-grpc

bin/golangci-lint: $(call pin,lint)
	$(call build-tools,lint,CGO_ENABLED=0,-ldflags '-s -w')
	@touch $@

bin/opa: $(call pin,opa)
	$(call build-tools,opa,CGO_ENABLED=0,-ldflags '-s -w')
	@touch $@

bin/govulncheck: $(call pin,vuln)
	$(call build-tools,vuln,CGO_ENABLED=0,-ldflags '-s -w')
	@touch $@
