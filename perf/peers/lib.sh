# What every peer's script shares; sourced by bash with $name set.
# shellcheck shell=bash disable=SC2034

set -euo pipefail

# Programs that were installed or built, one folder a peer; nothing goes into the checkout.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/ringway/peers/${name:?}"
# A server that is not there by then does not come.
ready_seconds_max=60
# A server that has not ended by then is killed.
stop_seconds_max=10

die() {
    echo "$name: $*" >&2
    exit 1
}

# Debian packages, without starting their services.
debian() {
    local missing=() package policy=/usr/sbin/policy-rc.d
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ "${#missing[@]}" -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || die "needs root to install ${missing[*]}"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        # shellcheck disable=SC2064
        trap "rm -f $policy" EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# run DIR PORT COMMAND…: starts the server with its output in DIR/log and its process id in DIR/pid, and waits until it
# listens. PEER_UNDER may hold words to put before the command.
run() {
    local folder=$1 port=$2 under=() deadline
    shift 2
    [ -s "$folder/pid" ] && kill -0 "$(cat "$folder/pid")" 2>/dev/null && die "already runs in $folder"
    read -ra under <<<"${PEER_UNDER:-}"
    ulimit -n "$(ulimit -Hn)"
    "${under[@]}" "$@" >"$folder/log" 2>&1 </dev/null &
    echo $! >"$folder/pid"
    deadline=$((SECONDS + ready_seconds_max))
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$(cat "$folder/pid")" 2>/dev/null || { tail -n 5 "$folder/log" >&2; die "ended at once"; }
        [ "$SECONDS" -lt "$deadline" ] || { halt "$folder"; die "does not listen on port $port"; }
        sleep 0.1
    done
}

# halt DIR: ends the server by its process id.
halt() {
    local folder=$1 server deadline
    [ -s "$folder/pid" ] || return 0
    server=$(cat "$folder/pid")
    kill "$server" 2>/dev/null || true
    deadline=$((SECONDS + stop_seconds_max))
    while kill -0 "$server" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || kill -KILL "$server" 2>/dev/null || true
        sleep 0.1
    done
    rm -f "$folder/pid"
}

usage() {
    echo "usage: $name/peer install | start DIR PORT | stop DIR | about" >&2
    exit 2
}

# dispatch ARGUMENTS…: calls the peer's functions install, start DIR PORT, about.
dispatch() {
    case "${1:-} $#" in
        "install 1") install ;;
        "start 3")
            mkdir -p "$2"
            start "$(cd "$2" && pwd)" "$3"
            ;;
        "stop 2") halt "$2" ;;
        "about 1") about ;;
        *) usage ;;
    esac
}
