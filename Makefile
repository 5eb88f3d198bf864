# sluice: one non-recursive Makefile.
#
#   make                          build build/release/sluice
#   make check                    unit tests (no root needed)
#   make check-kernel             kernel tests (root, real sockets)
#   make check-e2e                end-to-end tests
#   make SAN=address,undefined    the same in build/san-address-undefined/
#   make CC=clang V=1 WERROR=1    another compiler, the commands shown, warnings fatal
#
#   make install PREFIX=/usr      with DESTDIR= for packages
#
# `make help` lists every target.  CFLAGS and LDFLAGS are yours: ours are kept apart.  What the build needs is installed
# by scripts/bootstrap.

CC       ?= cc
CLANG    ?= clang
BPFTOOL  ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PKG      ?= pkg-config
CFLAGS   ?= -O2 -g
SAN      ?=
V        ?=
WERROR   ?=
PREFIX   ?= /usr/local
DESTDIR  ?=

comma    := ,
VARIANT  ?= $(if $(SAN),san-$(subst $(comma),-,$(SAN)),release)
B        := build/$(VARIANT)
Q        := $(if $(V),,@)
say       = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# llhttp >= 9.2: the system's where it is new enough, else what scripts/bootstrap put below build/deps.
LLHTTP_DIR := $(firstword $(wildcard build/deps/llhttp/usr/lib/*/libllhttp.a))
ifneq ($(LLHTTP_DIR),)
LLHTTP_CFLAGS := -isystem build/deps/llhttp/usr/include
LLHTTP_LIBS   := $(LLHTTP_DIR)
else
LLHTTP_CFLAGS := $(shell $(PKG) --cflags libllhttp 2>/dev/null)
LLHTTP_LIBS   := $(shell $(PKG) --libs libllhttp 2>/dev/null || echo -lllhttp)
endif

PKGS       := libbpf libconfuse jansson libcap-ng libseccomp ncursesw libcares nettle zlib hiredis lmdb
# Has no .pc file.
WSLAY_LIBS := -lwslay

# Say what is missing before a compiler does so less clearly.
GOALS      := $(or $(MAKECMDGOALS),all)
IS_BUILD   := $(filter-out help clean lint compile_commands.json,$(GOALS))
IS_TEST    := $(filter tests check check-kernel vm fuzz fuzz-check,$(GOALS))
LACKING    := $(if $(IS_BUILD),$(shell \
                for tool in $(PKG) $(firstword $(CC)) $(CLANG) $(BPFTOOL); do \
                        command -v $$tool >/dev/null || echo $$tool; done; \
                for lib in $(PKGS) libxxhash $(if $(IS_TEST),cmocka); do \
                        $(PKG) --exists $$lib 2>/dev/null || echo $$lib; done; \
                echo '#include <wslay/wslay.h>' | $(CC) -E - >/dev/null 2>&1 || echo wslay; \
                [ -n '$(LLHTTP_DIR)' ] || $(PKG) --atleast-version=9.2 libllhttp 2>/dev/null || echo 'llhttp>=9.2'))
ifneq ($(LACKING),)
$(error not installed: $(LACKING); run: sudo scripts/bootstrap$(if $(IS_TEST), test))
endif

# hiredis brings -D_FILE_OFFSET_BITS=64, which on 64-bit systems does nothing but give calls other names: pread64.
DEP_CFLAGS := $(filter-out -D_FILE_OFFSET_BITS=%,$(shell $(PKG) --cflags $(PKGS) 2>/dev/null)) $(LLHTTP_CFLAGS)
DEP_LIBS   := $(shell $(PKG) --libs $(PKGS) 2>/dev/null) $(LLHTTP_LIBS) $(WSLAY_LIBS) -lm

OUR_CFLAGS := -std=gnu11 -D_GNU_SOURCE -Iuser -Iinclude -I$(B)/bpf -I$(B)/gen \
              -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter \
              -fno-strict-aliasing -fno-common -fstack-protector-strong \
              $(if $(WERROR),-Werror) $(DEP_CFLAGS) \
              $(if $(SAN),-DSLUICE_SANITIZED -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
OUR_LDFLAGS := $(if $(SAN),-fsanitize=$(SAN)) -Wl,-z,relro,-z,now

ARCH       := $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Ivmlinux -Iinclude -Wall -Wextra \
              -Wno-unused-parameter $(if $(WERROR),-Werror) $(shell $(PKG) --cflags libbpf 2>/dev/null)

SRCS      := $(filter-out user/main.c,$(wildcard user/*/*.c))
OBJS      := $(SRCS:%.c=$(B)/%.o)
BPF_SRCS  := $(wildcard bpf/*.bpf.c)
SKELS     := $(BPF_SRCS:bpf/%.bpf.c=$(B)/bpf/%.skel.h)
LIB       := $(B)/libsluice.a
BIN       := $(B)/sluice

# Tests that replace system calls, or a function of ours.
UNIT_LDFLAGS_test_sock := -Wl,--wrap=recv,--wrap=sendmsg,--wrap=sendfile,--wrap=accept4
UNIT_LDFLAGS_test_loop := -Wl,--wrap=epoll_wait
UNIT_LDFLAGS_test_udp_io := -Wl,--wrap=sendmmsg
UNIT_LDFLAGS_test_acceptor := -Wl,--wrap=accept4
UNIT_LDFLAGS_test_redis_conn := -Wl,--wrap=redis_link_send_words
UNIT_LDFLAGS_test_store_redis := -Wl,--wrap=redis_server_call,--wrap=redis_call_cancel,--wrap=redis_server_access
UNIT_LDFLAGS_test_upstream := -Wl,--wrap=epoll_ctl
UNIT_LDFLAGS_test_supervisor := -Wl,--wrap=fork
UNIT_LDFLAGS_test_file_cache := -Wl,--wrap=pread
UNIT_LDFLAGS_test_beneath := -Wl,--wrap=syscall
UNIT_LDFLAGS_test_ctl := -Wl,--wrap=clock_gettime
UNIT_LDFLAGS_test_log := -Wl,--wrap=write
UNIT_LDFLAGS_test_logfile := -Wl,--wrap=write
UNIT_LDFLAGS_test_config_memory := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
UNIT_LDFLAGS_test_pool := -Wl,--wrap=mmap,--wrap=munmap

UNIT      := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
KERNEL    := $(patsubst tests/kernel/%.c,$(B)/tests/kernel/%,$(wildcard tests/kernel/test_*.c))
FUZZ      := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_S    ?= 10
BENCH     := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/*.c)) \
             $(patsubst tests/bench/preload/%.c,$(B)/tests/bench/%.so,$(wildcard tests/bench/preload/*.c))
MODULES   := $(patsubst tests/modules/%.c,$(B)/tests/modules/%.so,$(wildcard tests/modules/*.c))
BENCH_LIB := $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/lib/*.c))

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all clean check check-kernel check-e2e vm help tests fuzz fuzz-check fuzz-diff lint bench-tools bench bench-nginx bench-idle bench-channel bench-burst \
        bench-load bench-sim bench-steer bench-reload bench-crash bench-proxy bench-udp bench-limits bench-module bench-slow bench-upstream-conns bench-redis bench-guard bench-scale bpf-stats \
        soak soak-proxy soak-redis check-store crash-store bench-store chaos docs-sim compile_commands.json tidy cppcheck install uninstall FORCE

all: $(BIN) ## build the server (default)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9_.-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo; sed -n '3,/^$$/s/^#   \(.*=.*\)/  \1/p' $(firstword $(MAKEFILE_LIST))

# Programs of tests/bench that tests use.
E2E_TOOLS := $(B)/tests/bench/backend $(B)/tests/bench/limit

tests: $(UNIT) $(KERNEL) $(MODULES) $(E2E_TOOLS) ## build the test programs
bench-tools: $(BENCH) ## build the programs of tests/bench

check: $(UNIT) $(MODULES) ## run the unit tests
	$(Q)scripts/run-tests unit $(B)

check-kernel: $(KERNEL) $(BIN) ## run the kernel tests (root)
	$(Q)scripts/run-tests kernel $(B)

check-e2e: $(BIN) $(MODULES) $(E2E_TOOLS) ## run the end-to-end tests
	$(Q)scripts/run-tests e2e $(B)

vm: $(BIN) $(KERNEL) $(B)/tests/unit/test_sandbox ## the kernel tests and a short end-to-end test on other kernels, under qemu (ARGS=--help)
	$(Q)tests/vm/run --build $(B) $(ARGS)

bench: $(BIN) $(BENCH) ## beside nginx, HAProxy, h2o and lighttpd: all cases, about 20 minutes (N=1 QUICK=1 CASES=... WRITE=docs/benchmarks.md)
	$(Q)SLUICE=$(BIN) python3 tests/bench/vs_peers.py --tools $(B)/tests/bench --out $(B)/bench $(if $(CASES),--cases $(CASES)) \
		$(if $(QUICK),--quick) $(if $(N),--rounds $(N)) $(if $(WRITE),--write $(WRITE)) $(ARGS)

bench-nginx: $(BIN) ## side by side with nginx: requests/s and CPU per request (ARGS=--help)
	$(Q)SLUICE=$(BIN) python3 tests/bench/vs_nginx.py $(ARGS)

bench-idle: $(BIN) ## memory of an idle keep-alive connection
	$(Q)SLUICE=$(BIN) python3 tests/bench/idle_memory.py $(ARGS)

bench-channel: $(BIN) ## 10,000 subscribers of one channel: memory of each, time until all have a message
	$(Q)SLUICE=$(BIN) python3 tests/bench/channel.py $(ARGS)

bench-burst: $(BIN) ## 256 SYNs in one burst at workers that accept late (root)
	$(Q)SLUICE=$(BIN) python3 tests/bench/burst.py $(ARGS)

bpf-stats: $(B)/tests/kernel/bpf_stats ## the steering program: verifier, stack, size, run time of each policy (root)
	$(Q)$<

bench-load: $(BIN) ## `sluice load` beside wrk and h2load on the same server
	$(Q)SLUICE=$(BIN) python3 tests/bench/load_check.py $(ARGS)

bench-sim: $(BIN) ## the simulator against real sockets: a burst, long-lived connections (root)
	$(Q)SLUICE=$(BIN) python3 tests/bench/sim_check.py $(ARGS)

bench-steer: $(BIN) $(BENCH) $(B)/tests/kernel/bpf_stats ## every row of the steering's figures (root; ROWS=1,2,9 QUICK=1 WRITE=docs/benchmarks.md)
	$(Q)SLUICE=$(BIN) python3 tests/bench/steer_figures.py --tools $(B)/tests/bench $(if $(ROWS),--rows $(ROWS)) \
		$(if $(QUICK),--quick) $(if $(WRITE),--write $(WRITE)) $(ARGS)

bench-reload: $(BIN) $(BENCH) ## reloads and upgrades under load, beside nginx and HAProxy (root; RELOADS=1000 UPGRADES=50 WRITE=FILE)
	$(Q)SLUICE=$(BIN) python3 tests/bench/lifecycle.py reload --tools $(B)/tests/bench $(if $(RELOADS),--reloads $(RELOADS)) \
		$(if $(UPGRADES),--upgrades $(UPGRADES)) $(if $(WRITE),--write $(WRITE)) $(ARGS)

bench-crash: $(BIN) $(BENCH) ## workers killed under load: who lost what, and do the counts agree (root; KILLS=100 WRITE=FILE)
	$(Q)SLUICE=$(BIN) python3 tests/bench/lifecycle.py crash --tools $(B)/tests/bench $(if $(KILLS),--kills $(KILLS)) \
		$(if $(WRITE),--write $(WRITE)) $(ARGS)

bench-proxy: $(BIN) $(BENCH) ## the reverse proxy beside nginx and HAProxy (ROWS=1,2 QUICK=1 WRITE=docs/benchmarks.md)
	$(Q)SLUICE=$(BIN) python3 tests/bench/vs_proxies.py --tools $(B)/tests/bench $(if $(ROWS),--rows $(ROWS)) \
		$(if $(QUICK),--quick) $(if $(WRITE),--write $(WRITE)) $(ARGS)

bench-udp: $(BIN) $(BENCH) ## the UDP proxy beside nginx's stream module: datagrams per CPU second (ARGS=--help)
	$(Q)SLUICE=$(BIN) python3 tests/bench/vs_nginx_udp.py --tools $(B)/tests/bench $(ARGS)

bench-limits: $(BENCH) ## instructions for a request, without limits and with them (valgrind)
	$(Q)python3 tests/bench/limit_cost.py --tools $(B)/tests/bench $(ARGS)

bench-guard: $(BIN) $(B)/tests/bench/backend ## instructions for a request, held against those committed (valgrind; WRITE=1 commits)
	$(Q)SLUICE=$(BIN) python3 tests/bench/guard.py --tools $(B)/tests/bench $(if $(WRITE),--write) $(ARGS)

bench-scale: $(BIN) $(BENCH) ## how cost grows with routes, sites, fields, servers, connections, workers (valgrind; docs/scale.md)
	$(Q)SLUICE=$(BIN) python3 tests/bench/scale.py --tools $(B)/tests/bench $(ARGS)

bench-module: $(BENCH) $(MODULES) ## instructions for a constant answer, and for the same by a module (valgrind)
	$(Q)python3 tests/bench/limit_cost.py --tools $(B)/tests/bench --modules $(B)/tests/modules $(ARGS)

bench-slow: $(BIN) $(BENCH) ## others while 15,000 connections are idle and others send or read a byte a second (QUICK=1 WRITE=FILE)
	$(Q)SLUICE=$(BIN) python3 tests/bench/slow_clients.py --tools $(B)/tests/bench \
		$(if $(QUICK),--quick) $(if $(WRITE),--write $(WRITE)) $(ARGS)

bench-upstream-conns: $(BIN) $(BENCH) ## connections to the back end, one worker and several (QUICK=1 WRITE=FILE)
	$(Q)SLUICE=$(BIN) python3 tests/bench/upstream_conns.py --tools $(B)/tests/bench \
		$(if $(QUICK),--quick) $(if $(WRITE),--write $(WRITE)) $(ARGS)

bench-redis: $(BIN) ## routes to Redis beside webdis: CPU per request (WRITE=FILE ARGS=--help)
	$(Q)SLUICE=$(BIN) python3 tests/bench/vs_webdis.py $(if $(WRITE),--write $(WRITE)) $(ARGS)

soak-redis: $(BIN) ## 100,000 random commands, by sluice and by redis-cli: every answer compared (ARGS=--help)
	$(Q)SLUICE=$(BIN) python3 tests/e2e/redis_session.py $(ARGS)

soak-proxy: $(BIN) $(BENCH) ## a million proxied requests, every byte compared (ARGS="--requests 24000000" WRITE=FILE)
	$(Q)SLUICE=$(BIN) python3 tests/bench/proxy_soak.py --tools $(B)/tests/bench \
		$(if $(WRITE),--write $(WRITE)) $(ARGS)

chaos: $(BIN) $(BENCH) ## everything at once for S seconds: reloads, crashes, stalls, clients of all kinds (root; S=30 SEED=n SAN=...)
	$(Q)SLUICE=$(BIN) python3 tests/bench/chaos.py --tools $(B)/tests/bench --out $(B)/chaos $(if $(S),--seconds $(S)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

soak: $(BIN) ## minutes of real clients: bytes, errors, memory over 10 million requests
	$(Q)SLUICE=$(BIN) python3 tests/bench/soak.py $(ARGS)

check-store: $(BIN) ## random concurrent histories of a store are linearizable (OPS=100000 ARGS=--help)
	$(Q)SLUICE=$(BIN) python3 tests/bench/store_check.py history --ops $(or $(OPS),100000) $(ARGS)

crash-store: $(BIN) ## no acknowledged change of a store is lost when processes are killed (KILLS=100 ARGS=--help)
	$(Q)SLUICE=$(BIN) python3 tests/bench/store_check.py crashes --kills $(or $(KILLS),100) $(ARGS)

bench-store: $(BIN) ## a store: reads, durable changes, commits for each of them (ARGS=--help)
	$(Q)SLUICE=$(BIN) python3 tests/bench/store_bench.py $(ARGS)

# libFuzzer needs clang and a library instrumented throughout, so this has a build of its own.  A folder
# tests/fuzz/seeds/NAME is where a target starts; what it finds on the way stays below build/.
fuzz: ## run every fuzz target for FUZZ_S seconds (clang)
	$(Q)$(MAKE) CC=$(CLANG) VARIANT=fuzz SAN=fuzzer-no-link,address,undefined \
		$(FUZZ:%=build/fuzz/tests/fuzz/%)
	$(Q)set -e; for t in $(FUZZ); do \
		mkdir -p build/fuzz/corpus/$$t; seeds=tests/fuzz/seeds/$${t#fuzz_}; [ -d $$seeds ] || seeds=; \
		echo "fuzz $$t"; \
		build/fuzz/tests/fuzz/$$t -max_total_time=$(FUZZ_S) -max_len=1024 -verbosity=0 -print_final_stats=1 \
			-artifact_prefix=build/fuzz/$$t- build/fuzz/corpus/$$t $$seeds; \
	done

fuzz-diff: $(BIN) ## odd requests: sluice's verdicts beside nginx's and HAProxy's (COUNT=5000 SEED=7)
	$(Q)SLUICE=$(BIN) python3 tests/e2e/differential.py --count $(or $(COUNT),5000) --seed $(or $(SEED),$$(date +%s))

fuzz-check: $(FUZZ:%=$(B)/tests/fuzz/%.o) ## compile the fuzz targets

lint: ## check tiers, sizes and forbidden words
	$(Q)scripts/check-tiers

clean: ## remove every build (not build/deps)
	rm -rf $(filter-out build/deps,$(wildcard build/*))

# A change of flags rebuilds: the file is rewritten only when the flags differ.
FLAGS := $(CC) $(CFLAGS) $(OUR_CFLAGS) $(LDFLAGS) $(OUR_LDFLAGS) $(BPF_CFLAGS)
$(B)/flags: FORCE
	@mkdir -p $(@D); echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' > $@
FORCE:

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(B)/flags
	$(call say,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@
	$(Q)llvm-strip -g $@ 2>/dev/null || true

$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(notdir $*)_bpf > $@

$(B)/%.o: %.c $(B)/flags | $(SKELS)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(OUR_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(LIB): $(OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $(OBJS)

$(BIN): $(B)/user/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(OUR_CFLAGS) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) $< $(LIB) $(DEP_LIBS) -o $@

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(OUR_CFLAGS) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) $(UNIT_LDFLAGS_$*) $< $(LIB) $(DEP_LIBS) -lcmocka -o $@

$(B)/tests/kernel/%: $(B)/tests/kernel/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(OUR_CFLAGS) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) $< $(LIB) $(DEP_LIBS) -lcmocka -o $@

$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(OUR_CFLAGS) $(CFLAGS) $(OUR_LDFLAGS) -fsanitize=fuzzer $(LDFLAGS) $< $(LIB) $(DEP_LIBS) -lcmocka -o $@

$(B)/tests/bench/%: $(B)/tests/bench/%.o $(BENCH_LIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(OUR_CFLAGS) $(CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) $< $(BENCH_LIB) $(LIB) $(DEP_LIBS) -o $@

# Preloaded into servers of any make, so without sanitizers and without the library.
$(B)/tests/bench/%.so: tests/bench/preload/%.c $(B)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 -Wall -Wextra $(if $(WERROR),-Werror) -shared -fPIC $< -ldl -o $@

# As its users build one: with the public headers and nothing of ours.
$(B)/tests/modules/%.so: tests/modules/%.c $(wildcard include/sluice/*.h) $(B)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 -g -Wall -Wextra $(if $(WERROR),-Werror) -shared -fPIC -Iinclude $< -o $@

# clangd and clang-tidy look for the database below build/ by themselves.
DB_SRCS := $(wildcard user/main.c tests/unit/*.c tests/kernel/*.c tests/bench/*.c) $(SRCS)
db_line  = $(if $(filter $(firstword $(DB_SRCS)),$1),,$(comma)){"directory": "$(CURDIR)", "file": "$1", \
           "command": "$(subst ",\",$2 -c $1)"}
compile_commands.json: ## write build/compile_commands.json for clangd and clang-tidy
	@mkdir -p build
	$(file >build/compile_commands.json,[)
	$(foreach f,$(DB_SRCS),$(file >>build/compile_commands.json,$(call db_line,$f,$(CC) $(OUR_CFLAGS) $(CFLAGS))))
	$(foreach f,$(BPF_SRCS),$(file >>build/compile_commands.json,$(call db_line,$f,$(CLANG) $(BPF_CFLAGS))))
	$(file >>build/compile_commands.json,])

TIDY_CHECKS := -*,clang-analyzer-*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,\
-bugprone-narrowing-conversions,-bugprone-assignment-in-if-condition,-bugprone-branch-clone,-bugprone-macro-parentheses,\
-bugprone-implicit-widening-of-multiplication-result,-bugprone-sizeof-expression,\
-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling

# One file a process: with several, clang-tidy 14 takes every va_list after the first for uninitialized.
tidy: compile_commands.json $(SKELS) ## read the source with clang-tidy (scripts/bootstrap dev)
	$(Q)printf '%s\n' user/main.c $(SRCS) | xargs -P $$(nproc) -n 1 clang-tidy -p build --quiet \
	--checks='$(subst $() ,,$(TIDY_CHECKS))'

cppcheck: compile_commands.json $(SKELS) ## read the source with cppcheck (scripts/bootstrap dev)
	$(Q)cppcheck --quiet --project=build/compile_commands.json --file-filter='user/*' --inline-suppr \
	--enable=warning,performance,portability --suppress=missingIncludeSystem --error-exitcode=1 -j $$(nproc)

docs-sim: $(BIN) ## make the figures of docs/steering-at-scale.md anew (minutes)
	$(Q)scripts/sim-docs $(BIN)

install: $(BIN) ## install below DESTDIR and PREFIX (/usr/local)
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/sluice
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|g' scripts/sluice.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service
	install -d $(DESTDIR)$(PREFIX)/include/sluice
	install -m 644 include/sluice/*.h $(DESTDIR)$(PREFIX)/include/sluice
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/sluice/README.md
	install -d $(DESTDIR)$(PREFIX)/share/doc/sluice/docs
	install -m 644 docs/*.md docs/*.svg docs/sluice.conf $(DESTDIR)$(PREFIX)/share/doc/sluice/docs
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/sluice/copyright

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/sluice $(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/sluice $(DESTDIR)$(PREFIX)/include/sluice

-include $(shell find $(B) -name '*.d' 2>/dev/null)
