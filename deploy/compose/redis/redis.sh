#!/bin/sh
# Starts a server with a configuration of its own, which sentinels have it rewrite: after a failover a restart keeps its
# role. It says its own name to others, so that sentinels know it by it when its address changes.
#   redis.sh [PRIMARY PORT]    at the first start, follow this one
set -eu
if [ ! -f /data/redis.conf ]; then
    umask 077
    {
        cat /redis.conf
        echo "masterauth $(cat /run/secrets/redis.password)"
        echo "replica-announce-ip $(hostname)"
        if [ $# -eq 2 ]; then
            echo "replicaof $1 $2"
        fi
    } > /data/redis.conf.new
    mv /data/redis.conf.new /data/redis.conf
fi
exec redis-server /data/redis.conf
