#!/usr/bin/env bash
# flushes.sh NAME: shows whether a peer's acknowledgement waits for its flushes. Runs it twice, the second time with
# every fsync, fdatasync and msync delayed by 100 ms (injected by strace), and compares how long a message takes to be
# acknowledged, one in flight.
name=${1:?NAME of a peer}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"

delay_us=100000
calls=fsync,fdatasync,msync,sync_file_range
load=${RINGWAY_LOAD:-${CARGO_TARGET_DIR:-$here/../../target}/release/ringway-load}
[ -x "$load" ] || die "no $load; build it, or name it in RINGWAY_LOAD"
command -v strace >/dev/null || debian strace

folder=$(mktemp -d)
clean() {
    "$here/peer" "$name" stop "$folder/peer" || true
    rm -rf "$folder"
}
trap clean EXIT

# A port that was free a moment ago, below those the kernel gives out itself.
free_port() {
    local port
    while port=$((20000 + RANDOM % 10000)) && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

# measure WORDS: medians in ms until acknowledged and until delivered, the server run under these words.
measure() {
    local port code=0
    port=$(free_port)
    PEER_UNDER=$1 "$here/peer" "$name" start "$folder/peer" "$port"
    "$load" relay_durable --protocol "$name" --url "ws://127.0.0.1:$port" --api "http://127.0.0.1:$port" \
        --pairs 1 --inflight 1 --warmup 1 --seconds 4 --json "$folder/figures.json" 2>"$folder/told" || code=$?
    "$here/peer" "$name" stop "$folder/peer"
    rm -rf "$folder/peer"
    case "$code" in
        0 | 3) ;;
        5)
            echo "$name: $(sed -n 's/^ringway-load: //p' "$folder/told")"
            exit 0
            ;;
        *)
            cat "$folder/told" >&2
            die "cannot be measured"
            ;;
    esac
    awk '/"(sent|deliver)_us"/ { inside = 1 }
        inside && /"p50"/ { gsub(/[^0-9.]/, "", $2); printf "%.1f ", $2 / 1000; inside = 0 }' "$folder/figures.json"
}

plain=$(measure "")
case "$plain" in
    *cannot:*)
        echo "$plain"
        exit
        ;;
esac
delayed=$(measure "strace -D -f -qq -o /dev/null -e trace=$calls -e inject=$calls:delay_enter=$delay_us")
read -r sent delivered <<<"$plain"
read -r sent_late delivered_late <<<"$delayed"
echo "$name: ms until acknowledged $sent, delivered $delivered; each flush delayed by $((delay_us / 1000)) ms:" \
    "$sent_late and $delivered_late"
if [ "${sent_late%.*}" -ge $((delay_us / 1000)) ]; then
    echo "$name: the acknowledgement waits for the disk"
else
    echo "$name: the acknowledgement does not wait for the disk"
fi
