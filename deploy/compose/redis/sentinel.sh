#!/bin/sh
# Starts a sentinel with a configuration of its own, which it rewrites with what it learns.
set -eu
if [ ! -f /data/sentinel.conf ]; then
    umask 077
    cat > /data/sentinel.conf <<EOF
port 26379
dir /data
protected-mode no
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $(hostname)
sentinel monitor ringway redis-1 6379 2
sentinel auth-user ringway sentinel
sentinel auth-pass ringway $(cat /run/secrets/redis.password)
# How long a silence counts as death: shorter fails over on every stall, longer keeps senders waiting.
sentinel down-after-milliseconds ringway 5000
sentinel failover-timeout ringway 15000
sentinel parallel-syncs ringway 1
EOF
fi
exec redis-sentinel /data/sentinel.conf
