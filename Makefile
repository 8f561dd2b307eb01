# Everything that people and CI do with this project. "make help" lists it.
SHELL   := /bin/bash
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
SOURCE  := $(shell git log -1 --format=%ct 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.source=$(SOURCE)
# Nothing of ours speaks HTTP/2, which net/http leaves out with this tag: 0.46 MB.
BUILD   := CGO_ENABLED=0 go build -tags nethttpomithttp2 -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
CHECKER := honnef.co/go/tools/cmd/staticcheck@v0.8.2
export GOFLAGS := -buildvcs=false
export PATH    := $(PATH):/usr/sbin

SEEDS ?= 1000
HOURS ?= 6

.PHONY: help build man demo test sim proofs soak e2e small race lint fuzz bench cross generate check new-model packages clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/bordo, bin/bordoctl and bin/bordo-sim
	@$(BUILD) -o bin/ ./cmd/bordo ./cmd/bordoctl ./cmd/bordo-sim

man: ## the manual pages of the three programs, in dist/man
	@for p in bordo bordoctl bordo-sim; do SOURCE_DATE_EPOCH=$(SOURCE) go run -tags manual ./cmd/$$p manual dist/man; done

demo: build ## simulator, broker and agent together, without hardware
	@bin/bordo-sim demo --bordo bin/bordo

test: packages ## everything a change has to pass; installs the Debian packages that tests need
	@test -z "$$(gofmt -l .)" || { gofmt -d . | head -n 40; exit 1; }
	go vet ./... && go vet -tags e2e,world,soak,bench ./... && go vet -tags manual ./cmd/...
	.ci/gotest ./...
	cd docs/publiccode && ../../.ci/gotest ./...
	$(MAKE) sim proofs e2e small

sim: ## the agent in worlds that try to break it: five seeds of six simulated hours, and those that once failed
	GOGC=400 .ci/gotest -tags world ./sim -run '^TestWorld$$' -parallel $$((2 * $$(nproc))) -world.seeds=5 -world.hours=6

proofs: ## a defect for each checker of the worlds, a day of a bad network, a long outage, a full store, what a quiet card is written
	GOGC=400 .ci/gotest -tags world ./sim -run '^TestWorld.' -parallel $$((2 * $$(nproc)))

soak: packages ## fresh seeds, a week without broker, 500 kills of the store, a full one on arm, for hours: make soak SEEDS=1000 HOURS=6
	.ci/soak $(SEEDS) $(HOURS)
	BORDO_KILL_CYCLES=500 go test -count=1 -tags e2e,soak -timeout 8h ./buffer -rapid.checks=1000
	GOARCH=arm GOARM=6 CGO_ENABLED=0 go test -count=1 -tags soak -timeout 2h -exec qemu-arm-static ./buffer -run 'TestLarge$$'

e2e: packages build ## the built binaries against servers that are not ours
	.ci/gotest -tags e2e $$(grep -rl --include='*_e2e_test.go' . . | xargs -r -n1 dirname | sort -u)

small: ## the store and the drivers on 32 bits: natively as 386, and as arm v6 in an emulator
	GOARCH=386 CGO_ENABLED=0 .ci/gotest ./buffer/... ./contract/... ./drivers/...
	GOARCH=arm GOARM=6 CGO_ENABLED=0 .ci/gotest -exec qemu-arm-static ./buffer ./drivers ./drivers/line ./drivers/modbus

race: ## the race detector (needs a C compiler)
	CGO_ENABLED=1 .ci/gotest -race ./...

lint: ## staticcheck, for 64 and for 32 bits
	GOBIN=$(CURDIR)/bin go install $(CHECKER)
	bin/staticcheck -tags e2e,world,soak,bench ./...
	GOARCH=arm bin/staticcheck -checks SA1027 ./...

fuzz: ## every fuzz target for 30 seconds
	.ci/fuzz 30s

bench: packages ## all benchmarks, with allocations; agent and store take minutes, root, and a quiet machine
	go test -tags e2e,bench -run '^$$' -bench . -benchmem -timeout 2h $$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)

generate: ## rewrite the generated parts of the documents
	go test ./drivers/modbus -run TestGenerated -update # the others are built on this one
	go test $$(grep -rl --include='*_test.go' '^func TestGenerated' . | xargs -n1 dirname | sort -u) -run TestGenerated -update

check: lint generate ## what a commit has to pass besides the tests: lint, and nothing generated is stale
	git diff --exit-code

# The second word of "make new-model vendor-family" is a name and no goal.
ifeq ($(firstword $(MAKECMDGOALS)),new-model)
NAME ?= $(word 2,$(MAKECMDGOALS))
$(eval $(or $(filter-out new-model,$(MAKECMDGOALS)),none):;@:)
endif

new-model: ## lay out the three files of a Modbus model: make new-model vendor-family
	@.ci/new-model $(NAME)

cross: ## dist/: all targets, static
	for t in amd64 arm64 arm/6 arm/7 386; do \
	  GOOS=linux GOARCH=$${t%/*} GOARM=$${t#arm/} $(BUILD) -o dist/bordo-linux-$${t/\//v} ./cmd/bordo || exit 1; done
	for t in amd64 arm64; do GOOS=linux GOARCH=$$t $(BUILD) -o dist/bordoctl-linux-$$t ./cmd/bordoctl || exit 1; done
	ls -l dist

packages: # Debian packages that tests need
	@.ci/packages

clean: ## what was built
	rm -rf bin dist
