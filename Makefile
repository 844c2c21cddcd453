# Everything that is built, tested and shown goes through here. GNU Make 4.3, git and Go are all it needs; encrypted rooms are
# tested with Node, where it is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TAGS    := goolm
LDFLAGS := -s -w -X main.version=$(VERSION)
# A caller's workspace must not mix other modules in; only `race` needs cgo.
export GOWORK := off
export CGO_ENABLED := 0

DENDRITE := bin/dendrite bin/generate-keys
SYNAPSE  := bin/synapse-venv/installed
PAHO     := bin/paho-venv/installed
MQTTJS   := bin/mqttjs/installed
PEERS    := bin/peers/installed
CLIENTS  := bin/e2ee/installed
AIORTC   := bin/aiortc-venv/installed
INTERCOM := bin/intercom-venv/installed
PHONE    := bin/calls-page/phone.bundle.js
WEBPAGE  := bin/intercom-web/installed
GO2RTC   := bin/go2rtc
LINT     := bin/golangci-lint
# True when mosquitto is here, or root could install it.
MOSQUITTO := { command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	{ apt-get install -y -q mosquitto || { apt-get update -q && apt-get install -y -q mosquitto; }; } >&2; }; }
# The same for mosquitto_pub and mosquitto_sub.
MOSQUITTO_CLIENTS := { command -v mosquitto_pub >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	{ apt-get install -y -q mosquitto-clients || { apt-get update -q && apt-get install -y -q mosquitto-clients; }; } >&2; }; }
# The same for Debian's coturn: a TURN server to compare with, and a client of one.
COTURN := { command -v turnserver >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	{ apt-get install -y -q coturn || { apt-get update -q && apt-get install -y -q coturn; }; } >&2; }; }
# What calls and the TURN relay are shown in their interop tests: Debian's packages by the program that each brings.
CALLPEERS := nft:nftables ip:iproute2 sysctl:procps chromium:chromium
TURNPEERS := turnserver:coturn $(CALLPEERS)
# GOARCH, or GOARCH/its variable=value.
PLATFORMS := amd64 arm64 arm/GOARM=7 arm/GOARM=6 mipsle/GOMIPS=softfloat riscv64 386

.PHONY: help
help: ## this list
	@echo "gatepost: every MQTT device gets a place in Matrix"
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

.PHONY: build
build: go-version ## bin/gatepost for this machine
	@echo "building gatepost (up to a minute and a half the first time, then a second)"
	@go build -tags $(TAGS) -trimpath -ldflags "$(LDFLAGS)" -o bin/gatepost ./cmd/gatepost

.PHONY: demo
demo: build $(DENDRITE) ## a homeserver, gatepost and simulated devices; FOR=20s ends by itself
	@go build -tags $(TAGS) -trimpath -o bin/demo ./test/demo
	@exec bin/demo $(if $(FOR),-for $(FOR)) $(if $(wildcard $(INTERCOM)),-aiortc $(CURDIR)/$(dir $(INTERCOM))bin/python)

.PHONY: unit
unit: go-version ## the tests that need no server, in both builds: without encryption and with it
	go test ./...
	go test -tags $(TAGS) ./gateway/matrix/ ./cmd/gatepost/

.PHONY: test
test: unit build $(DENDRITE) ## unit, then the real binary against a real homeserver and broker; with Node 20 encrypted rooms, too
	@$(MAKE) --no-print-directory --quiet $(CLIENTS) || [ "$${CI:-}" != true ]
	go test -tags e2e,$(TAGS) -count=1 -timeout 15m ./test/...

# What cannot run because something is missing is named; with CI=true that is a failure.
.PHONY: interop
interop: build ## the same against Synapse and mosquitto, and other people's MQTT clients; installs them; ONLY=TestReload for some
	@mkdir -p bin/figures
	@missing=""; skip='^$$'; \
	$(MOSQUITTO) || { missing+=" mosquitto (install the package mosquitto, or run this as root);"; skip=Mosquitto; }; \
	$(MAKE) --no-print-directory --quiet $(SYNAPSE) || missing+=" Synapse (see above);"; \
	failed=""; \
	clients() { [ "$$skip" != Mosquitto ] && $(MOSQUITTO_CLIENTS) && $(MAKE) --no-print-directory --quiet $(PAHO) $(MQTTJS); }; \
	if clients; then \
		go test -tags interop -count=1 -timeout 30m -v $(if $(ONLY),-run '$(ONLY)') ./test/clients/ \
			| { grep -v '^=== ' || true; } | tee $(if $(ONLY),/dev/null,bin/figures/clients.tsv) || failed+=" test/clients"; \
	else missing+=" mosquitto-clients, paho-mqtt or MQTT.js (see above);"; fi; \
	if [ -z "$(ONLY)" ] && [ "$$skip" != Mosquitto ]; then go test -tags interop -count=1 -skip '^TestPeer' ./mqtt/... || failed+=" mqtt"; fi; \
	if [ -z "$(ONLY)" ]; then \
		if $(MAKE) --no-print-directory --quiet $(PEERS); then \
			go test -tags interop -count=1 -v -run '^TestPeer|^TestFigures$$' ./mqtt/convention/ ./internal/template/ \
				| { grep -vE '^=== |^    --- PASS' || true; } | tee bin/figures/conventions.tsv || failed+=" mqtt/convention"; \
		else missing+=" the encoders of other conventions' devices (see above);"; fi; \
	fi; \
	if [ -z "$(ONLY)" ]; then $(MAKE) --no-print-directory interop-turn || failed+=" test/turn (see above)"; fi; \
	if [ -z "$(ONLY)" ]; then $(MAKE) --no-print-directory interop-calls || failed+=" test/calls (see above)"; fi; \
	if [ -z "$(ONLY)" ]; then $(MAKE) --no-print-directory interop-demo || failed+=" the demo (see above)"; fi; \
	if [ -z "$(ONLY)" ]; then $(MAKE) --no-print-directory interop-sources || failed+=" test/sources (see above)"; fi; \
	$(MAKE) --no-print-directory --quiet $(CLIENTS) || missing+=" matrix-sdk-crypto (see above);"; \
	if [ -e $(SYNAPSE) ]; then \
		go test -tags interop -count=1 -timeout 30m -v -skip "$$skip" $(if $(ONLY),-run '$(ONLY)') ./test/ ./test/harness/ ./test/e2ee/ \
			| { grep -v '^=== ' || true; } | tee $(if $(ONLY),/dev/null,bin/figures/interop.tsv) || failed+=" test"; \
	fi; \
	if [ -n "$$missing" ]; then echo "interop: not run, for want of:$$missing" >&2; if [ "$${CI:-}" = true ]; then failed+=" (something is missing)"; fi; fi; \
	if [ -n "$$failed" ]; then echo "interop: failed:$$failed" >&2; exit 1; fi

# A test names what it lacks, and with CI=true fails for it.
.PHONY: interop-turn
interop-turn: build ## the TURN relay against coturn's client, aiortc and Chromium behind NATs; installs them; ONLY=TestCalls for some
	@mkdir -p bin/figures
	@for peer in $(TURNPEERS); do \
		program="$${peer%%:*}"; package="$${peer#*:}"; \
		if ! command -v "$$program" >/dev/null && ! [ -x "/usr/sbin/$$program" ]; then \
			if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
				{ apt-get install -y -q "$$package" || { apt-get update -q && apt-get install -y -q "$$package"; }; } >&2 || true; \
			else echo "interop-turn: no $$program here: install the package $$package, or run this as root" >&2; fi; \
		fi; \
	done
	@$(MAKE) --no-print-directory --quiet $(AIORTC) || true
	@go test -tags interop -count=1 -timeout 15m -parallel 6 -v $(if $(ONLY),-run '$(ONLY)') ./test/turn/... \
		| { grep -v '^=== ' || true; } | tee $(if $(ONLY),/dev/null,bin/figures/interop-turn.tsv)

# The same promise as interop-turn's.
.PHONY: interop-calls
interop-calls: build $(DENDRITE) ## calls of matrix-js-sdk in Chromium with the gateway, the example devices and another browser; installs them; ONLY=TestCalls for some, without Synapse
	@mkdir -p bin/figures
	@for peer in $(CALLPEERS); do \
		program="$${peer%%:*}"; package="$${peer#*:}"; \
		if ! command -v "$$program" >/dev/null && ! [ -x "/usr/sbin/$$program" ]; then \
			if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
				{ apt-get install -y -q "$$package" || { apt-get update -q && apt-get install -y -q "$$package"; }; } >&2 || true; \
			else echo "interop-calls: no $$program here: install the package $$package, or run this as root" >&2; fi; \
		fi; \
	done
	@$(MAKE) --no-print-directory --quiet $(INTERCOM) || true
	@$(MAKE) --no-print-directory --quiet $(PHONE) || true
	@$(MAKE) --no-print-directory --quiet $(WEBPAGE) || true
	@failed=""; \
	go test -tags interop -count=1 -timeout 20m -v $(if $(ONLY),-run '$(ONLY)') ./test/calls/ \
		| { grep -v '^=== ' || true; } | tee $(if $(ONLY),/dev/null,bin/figures/interop-calls.tsv) || failed+=" with Dendrite"; \
	if [ -n "$(ONLY)" ]; then true; elif $(MAKE) --no-print-directory --quiet $(SYNAPSE); then \
		GATEPOST_TEST_HOMESERVER=synapse go test -tags interop -count=1 -timeout 10m -v -run '^(TestCalls|TestUnanswered|TestTerminatedCalls|TestTerminatedVideo)$$' ./test/calls/ \
			| { grep -v '^=== ' || true; } | tee -a bin/figures/interop-calls.tsv || failed+=" with Synapse"; \
	else echo "interop-calls: not run on Synapse, which could not be installed" >&2; if [ "$${CI:-}" = true ]; then failed+=" (no Synapse)"; fi; fi; \
	if [ -n "$$failed" ]; then echo "interop-calls: failed:$$failed" >&2; exit 1; fi

.PHONY: interop-demo
interop-demo: build $(INTERCOM) ## the demo for 45 s, with aiortc as the client of who answers the gate; installs it
	@$(MAKE) --no-print-directory demo FOR=45s

# The same promise as interop-turn's.
.PHONY: interop-sources
interop-sources: build $(DENDRITE) ## calls to go2rtc, FFmpeg and a stand-in of libpeer, from aiortc; installs them; ONLY=TestWHEP, FOR=20s
	@mkdir -p bin/figures
	@$(MAKE) --no-print-directory --quiet $(INTERCOM) || true
	@$(MAKE) --no-print-directory --quiet $(GO2RTC) || true
	@go test -tags interop -count=1 -timeout 15m -parallel 2 -v $(if $(ONLY),-run '$(ONLY)') ./test/sources/ \
		| { grep -v '^=== ' || true; } | tee $(if $(ONLY),/dev/null,bin/figures/interop-sources.tsv)

.PHONY: race
race: go-version ## the unit tests under the race detector (needs a C compiler)
	@command -v "$${CC:-gcc}" >/dev/null || { echo "race: needs a C compiler; install gcc" >&2; exit 1; }
	CGO_ENABLED=1 go test -race -tags $(TAGS) ./...

.PHONY: lint
lint: go-version $(LINT) ## golangci-lint, the version in tools/lint
	$(LINT) run ./...

.PHONY: fuzz
fuzz: go-version ## every fuzz test for FUZZTIME (30s)
	@go list ./... | while read -r package; do \
		{ go test -tags $(TAGS) -list '^Fuzz' "$$package" | grep '^Fuzz' || true; } | while read -r name; do \
			echo "$$package $$name"; \
			go test -tags $(TAGS) -run '^$$' -fuzz "^$$name\$$" -fuzztime "$(or $(FUZZTIME),30s)" "$$package" </dev/null; \
		done; \
	done

.PHONY: cover
cover: go-version ## which lines the unit tests run; bin/cover.html
	@mkdir -p bin
	go test -tags $(TAGS) -coverprofile bin/cover.out ./...
	@go tool cover -func bin/cover.out | tail -n 1
	@go tool cover -html bin/cover.out -o bin/cover.html

.PHONY: release
release: go-version ## stripped Linux binaries for every supported processor in dist/, with their sizes
	@mkdir -p dist
	@for platform in $(PLATFORMS); do \
		arch="$${platform%%/*}"; variant="$${platform#"$$arch"}"; variant="$${variant#/}"; \
		name="gatepost-linux-$$arch"; if [ "$$arch" = arm ]; then name="gatepost-linux-armv$${variant#GOARM=}"; fi; \
		env GOOS=linux "GOARCH=$$arch" $${variant:+"$$variant"} \
			go build -tags $(TAGS) -trimpath -ldflags "$(LDFLAGS)" -o "dist/$$name" ./cmd/gatepost; \
		printf '%s\t%d\n' "dist/$$name" "$$(wc -c < "dist/$$name")"; \
	done

.PHONY: bench
bench: build release $(DENDRITE) ## how fast and how small, calls included: one line a figure; ONLY=intake,broker or ONLY=calls for some
	@$(MOSQUITTO) || \
		echo "bench: no mosquitto here (Debian package mosquitto); the figure that needs it will be missing" >&2
	@go build -trimpath -o bin/ ./test/bench ./test/bench/baseline
	@mkdir -p bin/figures
	@[ "$(ONLY)" = calls ] || bin/bench $(if $(ONLY),-only $(ONLY)) $(BENCHFLAGS) | tee $(if $(ONLY),/dev/null,bin/figures/bench.tsv)
	@if [ -z "$(ONLY)" ]; then \
		go test -tags bench -count=1 -v -run '^TestFigures$$' ./gateway/ | { grep -v '^=== ' || true; } | tee bin/figures/discovery.tsv; fi
	@if [ -z "$(ONLY)" ] || [ "$(ONLY)" = calls ]; then $(MAKE) --no-print-directory bench-calls ONLY= BENCHFLAGS=; fi

.PHONY: bench-turn
bench-turn: build ## the TURN relay beside coturn and pion/turn, twenty minutes; ONLY=relay,memory ROUNDS=1
	@mkdir -p bin/figures
	@missing=""; \
	$(COTURN) || { missing=coturn; echo "bench-turn: no coturn here (install the package coturn, or run this as root): its figures will be missing" >&2; }; \
	if [ -n "$$missing" ] && [ "$${CI:-}" = true ]; then exit 1; fi
	@go build -trimpath -o bin/ ./test/turnbench ./test/turnbench/pionserver
	bin/turnbench $(if $(ONLY),-only $(ONLY)) $(if $(ROUNDS),-rounds $(ROUNDS)) $(BENCHFLAGS) | tee $(if $(ONLY),/dev/null,bin/figures/turn.tsv)

.PHONY: bench-calls
bench-calls: build $(DENDRITE) bin/go2rtc ## calls whose media goes through gatepost, one beside go2rtc, eight minutes; FOR=10s ONLY=setup,cpu
	@mkdir -p bin/figures
	@go build -trimpath -o bin/ ./test/callbench
	bin/callbench $(if $(ONLY),-only $(ONLY)) $(if $(FOR),-length $(FOR)) $(BENCHFLAGS) | tee $(if $(ONLY),/dev/null,bin/figures/calls.tsv)

.PHONY: fault
fault: build $(DENDRITE) $(PAHO) ## what survives kills, outages and full disks: about half an hour; FAULT_SCALE=0.1, ONLY=Flood
	@$(MOSQUITTO_CLIENTS) || { echo "fault: needs mosquitto_pub and mosquitto_sub: install the package mosquitto-clients" >&2; exit 1; }
	@mkdir -p bin/figures
	@$(MAKE) --no-print-directory --quiet $(CLIENTS) || [ "$${CI:-}" != true ]
	go test -tags fault -count=1 -timeout 2h -v $(if $(ONLY),-run '$(ONLY)') ./test/fault/ | tee $(if $(ONLY),/dev/null,bin/figures/fault.tsv)
	go test -tags fault -count=1 -timeout 1h -v -run '$(or $(ONLY),WhileKilled$$)' ./test/e2ee/ | tee $(if $(ONLY),/dev/null,bin/figures/fault-encrypted.tsv)

.PHONY: fault-race
fault-race: go-version $(PAHO) ## the broker's part of it, once, with a gatepost under the race detector (needs a C compiler)
	@$(MOSQUITTO_CLIENTS) || { echo "fault-race: needs mosquitto_pub and mosquitto_sub: install the package mosquitto-clients" >&2; exit 1; }
	@mkdir -p bin/race
	CGO_ENABLED=1 go build -race -tags $(TAGS) -o bin/race/gatepost ./cmd/gatepost
	FAULT_BIN=../../bin/race FAULT_RACE=1 go test -tags fault -count=1 -timeout 1h -v -run '$(or $(ONLY),^TestBroker)' ./test/fault/

.PHONY: soak
soak: build $(PAHO) ## a thousand MQTT clients that come and go at the embedded broker, for FOR (10m)
	@mkdir -p bin/figures
	SOAK=$(or $(FOR),10m) go test -tags fault -count=1 -timeout 2h -v -run '^TestBrokerSoak$$' ./test/fault/ | tee bin/figures/soak.tsv

.PHONY: figures
figures: ## what bench, fault and interop printed when they ran last, as docs/bench/figures.tsv
	@cat bin/figures/*.tsv | { grep '^figure' || true; } > docs/bench/figures.tsv
	@cat docs/bench/figures.tsv

.PHONY: clean
clean: ## removes bin/ and dist/
	rm -rf bin dist

.PHONY: go-version
go-version:
	@command -v go >/dev/null || { echo "gatepost is built with Go, and there is none here: see https://go.dev/doc/install" >&2; exit 1; }
	@want="$$(sed -n 's/^go //p' go.mod)"; have="$$(GOTOOLCHAIN=local go env GOVERSION)"; have="$${have#go}"; have="$${have%% *}"; \
	if [ "$$(printf '%s\n' "$$want" "$$have" | sort -V | head -n 1)" != "$$want" ] && ! go version >/dev/null 2>&1; then \
		echo "gatepost needs Go $$want or later, this is $$have and it could not get another" >&2; exit 1; \
	fi

# The outside programs, built from source by their own modules; rebuilt when those change.
$(DENDRITE) &: test/dendrite/go.mod test/dendrite/go.sum test/dendrite/tools.go | go-version
	@echo "building Dendrite, a Matrix homeserver, for the tests: about 2 minutes the first time"
	@mkdir -p bin
	@go -C test/dendrite build -trimpath -ldflags "-s -w" -o ../../bin/ \
		github.com/element-hq/dendrite/cmd/dendrite github.com/element-hq/dendrite/cmd/generate-keys
	@touch $(DENDRITE)

$(GO2RTC): test/go2rtc/go.mod test/go2rtc/go.sum test/go2rtc/tools.go | go-version
	@echo "building go2rtc, a server of camera streams, for the tests"
	@mkdir -p bin
	@go -C test/go2rtc build -trimpath -ldflags "-s -w" -o ../../bin/ github.com/AlexxIT/go2rtc
	@touch $(GO2RTC)

# A Python environment of its own; nothing is built from source, every file has its hash.
$(SYNAPSE): test/synapse/requirements.txt
	@python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "interop: Synapse needs Python 3.10 or later and its venv module: install python3 and python3-venv" >&2; exit 1; }
	@echo "installing Synapse, a Matrix homeserver, for the tests: about a minute the first time"
	@rm -rf $(@D)
	@mkdir -p bin
	@python3 -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r test/synapse/requirements.txt
	@touch $@

# The wheel is installed; of the source package only the tests are used, as files.
$(PAHO): test/clients/requirements.txt
	@python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "paho-mqtt needs Python 3.10 or later and its venv module: install python3 and python3-venv" >&2; exit 1; }
	@echo "installing paho-mqtt, an MQTT client, for the tests"
	@rm -rf $(@D)
	@mkdir -p bin
	@python3 -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r test/clients/requirements.txt
	@$(@D)/bin/pip download --quiet --disable-pip-version-check --require-hashes --no-deps --no-binary :all: -d $(@D)/source -r test/clients/requirements.txt
	@mkdir -p $(@D)/suite
	@tar -xzf $(@D)/source/paho_mqtt-*.tar.gz -C $(@D)/suite --strip-components 1
	@touch $@

# What makes messages of Zigbee2MQTT, Sparkplug and Homie; scripts around them.
$(PEERS): $(addprefix mqtt/convention/testdata/peers/,package.json package-lock.json exposes.js sparkplug.js requirements.txt homie.py)
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || \
		{ echo "the encoders that conventions are tested against need Node 20 or later and npm: install nodejs and npm" >&2; exit 1; }
	@python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "the encoders that conventions are tested against need Python 3.11 or later and its venv module: install python3 and python3-venv" >&2; exit 1; }
	@echo "installing zigbee-herdsman-converters, sparkplug-payload and two Homie libraries, for the tests"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp $^ $(@D)/
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel error
	@python3 -m venv $(@D)/venv
	@$(@D)/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $(@D)/requirements.txt
	@touch $@

# The clients that encrypt; nothing runs when it is installed, every file has its hash.
$(CLIENTS): $(addprefix test/e2ee/client/,package.json package-lock.json main.mjs actions.mjs device.mjs homeserver.mjs room.mjs)
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || \
		{ echo "encrypted rooms are tested with Node 20 or later and npm: install nodejs and npm" >&2; exit 1; }
	@echo "installing matrix-sdk-crypto, the encryption of Matrix clients, for the tests"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp $^ $(@D)/
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

# Nothing of it runs when it is installed; every file has its hash.
$(MQTTJS): test/clients/package.json test/clients/package-lock.json
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || \
		{ echo "MQTT.js needs Node 20 or later and npm: install nodejs and npm" >&2; exit 1; }
	@echo "installing MQTT.js, an MQTT client, for the tests"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp $^ $(@D)/
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

$(AIORTC): test/turn/aiortc/requirements.txt
	@python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "interop-turn: aiortc needs Python 3.11 or later and its venv module: install python3 and python3-venv" >&2; exit 1; }
	@echo "installing aiortc, a WebRTC peer, for the tests"
	@rm -rf $(@D)
	@mkdir -p bin
	@python3 -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

$(INTERCOM): examples/intercom-python/requirements.txt
	@python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "interop-calls: the example device needs Python 3.11 or later and its venv module: install python3 and python3-venv" >&2; exit 1; }
	@echo "installing aiortc and paho-mqtt, for the example device"
	@rm -rf $(@D)
	@mkdir -p bin
	@python3 -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

# Nothing of it runs when it is installed, save the bundler; every file has its hash.
$(WEBPAGE): $(addprefix examples/intercom-web/,package.json package-lock.json index.html intercom.js call.js)
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || \
		{ echo "interop-calls: the example page is installed with Node 20 or later and npm: install nodejs and npm" >&2; exit 1; }
	@echo "installing MQTT.js, for the example page"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp $^ $(@D)/
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

$(PHONE): $(addprefix test/calls/page/,package.json package-lock.json phone.js)
	@node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null || \
		{ echo "interop-calls: matrix-js-sdk is bundled with Node 20 or later and npm: install nodejs and npm" >&2; exit 1; }
	@echo "installing matrix-js-sdk, the code of Matrix clients, for the tests"
	@rm -rf $(@D)
	@mkdir -p $(@D)
	@cp $^ $(@D)/
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel error
	@cd $(@D) && node_modules/.bin/esbuild phone.js --bundle --format=esm --log-level=warning --outfile=$(@F)

$(LINT): tools/lint/go.mod tools/lint/go.sum | go-version
	@echo "building golangci-lint: about 2 minutes the first time"
	@mkdir -p bin
	@go -C tools/lint build -trimpath -ldflags "-s -w" -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $(LINT)
