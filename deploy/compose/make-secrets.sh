#!/usr/bin/env bash
# Makes the secrets of this deployment, each in a file of its own in `secrets`. Files that are there stay as they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077
mkdir -p secrets

make_secret() {
    local file=secrets/$1
    shift
    if [[ ! -s $file ]]; then
        "$@" > "$file.new"
        mv "$file.new" "$file"
    fi
}

make_secret peers.key openssl rand -hex 32
make_secret token.key openssl rand 32
for password in redis.password mysql.root mysql.password mysql.replication; do
    make_secret "$password" openssl rand -hex 24
done

# Users of Redis, with the hash of the password: what Ringway needs (persist/redis/README.md), replication, sentinels,
# and a look for health checks.
users() {
    local hash
    hash=$(tr -d '\n' < secrets/redis.password | sha256sum | cut -d' ' -f1)
    echo 'user default reset'
    echo "user ringway on #$hash resetkeys ~im:* resetchannels -@all +@connection +info +role +cluster|slots" \
        '+cluster|info +eval +evalsha +scan +time +get +set +del +pexpire +pexpireat +hget +hmget +hset +hdel +hlen +hvals' \
        '+hgetall +hrandfield +lindex +lrange +lset +lpop +rpush +@sortedset +sadd +srem +scard +sismember +smembers +srandmember'
    echo "user replica on #$hash resetkeys resetchannels -@all +psync +replconf +ping"
    echo "user sentinel on #$hash resetkeys allchannels -@all +multi +slaveof +ping +exec +subscribe +config|rewrite" \
        '+role +publish +info +client|setname +client|kill +script|kill'
    echo "user watcher on #$hash resetkeys resetchannels -@all +ping"
}
make_secret redis.users.acl users
# Read by other users inside of their containers; the folder keeps everybody else out.
chmod 0444 secrets/*
chmod 0700 secrets
echo "secrets: $(ls secrets | tr '\n' ' ')"
