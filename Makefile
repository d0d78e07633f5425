# `make check` is what CI runs before the demo; see .ci/run.

GO          ?= go
FUZZTIME    ?= 5s
TESTTIMEOUT ?= 8m
N           ?= 2000000
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build test race vet fmt-check staticcheck fuzz bench bench-keep bench-all bench-peers demo check

all: build

# The command is left in bin/gateline.
build:
	$(GO) build ./...
	$(GO) build -trimpath -o bin/gateline ./cmd/gateline

# Exactly the README's command, so that what `make check` has tested is not run
# again.
test:
	$(GO) test ./...

# Needs cgo, so a C compiler.
race:
	$(GO) test -race -timeout $(TESTTIMEOUT) ./...

vet:
	$(GO) vet ./...

fmt-check:
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then \
		echo "not formatted; run gofmt -w on:"; echo "$$unformatted"; exit 1; fi

staticcheck:
	$(GO) run $(STATICCHECK) ./...

# Every fuzz target for a short while, one after another: go test fuzzes one
# target at a time. What it finds is left in testdata/fuzz and fails `make test`
# from then on. The end of the time is now and then reported as a failure without
# an input, "context deadline exceeded", which is none.
fuzz:
	@set -e; \
	grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | \
	sed -E 's|^(.*)/[^/]*:func (.*)$$|\1 \2|' | \
	while read -r dir target; do \
		echo "fuzz $$dir $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null >fuzz.log 2>&1 && failed= || failed=yes; \
		cat fuzz.log; \
		if [ "$$failed" ] && { grep -q 'Failing input' fuzz.log || ! grep -q '^    context deadline exceeded' fuzz.log; }; then exit 1; fi; \
		rm -f fuzz.log; \
	done

# The benchmarks whose figures are kept in benchmarks/kept, compared with those;
# some three minutes. bench-keep makes the last run the kept one.
bench:
	$(GO) run ./internal/keptbench $(ARGS)

bench-keep:
	$(GO) run ./internal/keptbench -keep

# Every benchmark there is, a city's sizes among them.
bench-all:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# Our store beside others on the same N records; see benchmarks/README.md.
# ARGS adds options: make bench-peers N=25000000 ARGS='--json figures.json'
bench-peers:
	cd benchmarks && $(GO) run . --records $(N) $(ARGS)

demo:
	$(GO) run ./cmd/gateline demo

check: fmt-check vet staticcheck build race fuzz test
