#!/bin/bash
# `readyz PORT`: exit 0 when the process on this port says that it is ready. For health checks, without a program for it.
set -euo pipefail
exec 3<> "/dev/tcp/127.0.0.1/$1"
printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[[ $status == 200 ]]
