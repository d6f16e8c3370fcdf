#!/bin/sh
# People also publish port 80 of this image. Engines that let every user bind low ports inside a
# container say so in this file; elsewhere nginx would refuse to start over it.
set -eu
first=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
if [ "$first" -le 80 ]; then
    echo 'listen 80;' >/tmp/listen-80.conf
fi
