#!/bin/sh
# Build every BPF object of this folder. usage: build.sh OUTDIR [CLANG [OLD_CLANG]]
# The committed .o files were built with clang-19, *_clang16 with clang-16; `dev bpf` builds them again and compares by
# meaning.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
clang=${2:-clang-19} old_clang=${3:-clang-16}
multiarch=/usr/include/$(uname -m)-linux-gnu
cd "$here"

# compile SOURCE OBJECT [FLAGS...]
compile() {
	source=$1 object=$2
	shift 2
	mkdir -p "$(dirname "$out/$object")"
	"${compiler:-$clang}" -O2 -Wall -Wno-unused-variable -target bpf -mcpu=v2 -fdebug-prefix-map="$here"=. \
		-idirafter "$multiarch" "$@" -c "$source" -o "$out/$object"
}

for source in demo_xdp xdp_pass xdp_drop xdp_count tc_count std_maps std_globals std_calls std_externs std_sections \
	std_untyped std_struct_ops std_ctx std_ext std_tracing std_printk std_conf std_netkit reject maps_only invalid_map_pinning; do
	compile $source.bpf.c $source.bpf.o -g
done
compile std_arena.bpf.c std_arena.bpf.o -g -mcpu=v3
compile xdp_count.bpf.c xdp_count_v2.bpf.o -g -DSTEP=1000
compile noted.bpf.c noted.bpf.o -g
compile noted.bpf.c noted_v2.bpf.o -g -DMARK=2
compile stamp.bpf.c stamp.bpf.o -g
compile stamp.bpf.c stamp_v2.bpf.o -g -DSTAMP=2
compile stamp.bpf.c stamp_check.bpf.o -g -DCHECK -mcpu=v3
for source in demo_tc_legacy legacy_pin0 legacy_pin1 legacy_pin2 legacy_pin9 legacy_tail legacy_badkey legacy_mim \
	legacy_globals invalid_legacy_static; do
	compile $source.bpf.c $source.bpf.o
done
compile legacy_tail.bpf.c legacy_tail_pinned.bpf.o -DTAIL_PINNING=PIN_GLOBAL_NS
for name in legacy_cyclic legacy_static_first legacy_tutorial legacy_goebpf legacy_calls legacy_graft legacy_shared \
	legacy_nested legacy_endpoint legacy_subprogs legacy_two legacy_old20 legacy_devmap; do
	compile "$name.bpf.c" "$name.bpf.o"
	compile "$name.bpf.c" "${name}_btf.bpf.o" -g
	compiler=$old_clang compile "$name.bpf.c" "${name}_clang16.bpf.o"
done
compile legacy_own_static.bpf.c legacy_own_static.bpf.o
compile legacy_own_static.bpf.c legacy_own_static_map.bpf.o -DWITH_MAP
compile legacy_own_static.bpf.c legacy_own_static_btf.bpf.o -DWITH_MAP -g
compile legacy_tutorial.bpf.c legacy_tutorial_28.bpf.o -DEXTRA
compile legacy_tutorial.bpf.c legacy_tutorial_28_btf.bpf.o -DEXTRA -g
compile legacy_annotated.bpf.c legacy_annotated.bpf.o -g
compile legacy_shared.bpf.c legacy_shared_object.bpf.o -DSHARED_PINNING=PIN_OBJECT_NS
compile legacy_notype.S legacy_notype.bpf.o
compile legacy_pin2.bpf.c legacy_pin2_btf.bpf.o -g
compile legacy_and_btf.bpf.c legacy_and_btf.bpf.o -g
for size in 12 16 20 24 28 32 36 40; do
	compile legacy_small.bpf.c legacy_small_$size.bpf.o -DSIZE=$size
done
compile xdp_pass.bpf.c big_endian.bpf.o -g -target bpfeb
for source in core/*.c; do
	[ -e "$source" ] || continue
	compile "$source" "${source%.c}.o" -g
done
