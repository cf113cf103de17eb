#!/bin/sh
# Makes the topics, or finds them there. A broker tells its name server of itself some seconds after its start, so this
# tries until it is known, for two minutes at most.
set -eu
make_topic() {
    tries=0
    # mqadmin exits with 0 whatever came of it: its words tell.
    until sh mqadmin updateTopic -n "$NAMESRV_ADDR" -c ringway -t "$1" -r 8 -w 8 -p 6 2>&1 | grep -q 'success'; do
        tries=$((tries + 1))
        if [ "$tries" -ge 60 ]; then
            echo "topic $1 cannot be made" >&2
            exit 1
        fi
        sleep 2
    done
    echo "topic $1 has 8 queues"
}
# Ringway writes to im_event. The other two carry nothing: persist/README.md says why.
for topic in im_event im_signal im_status; do
    make_topic "$topic"
done
