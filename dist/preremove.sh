#!/bin/sh
# Stops the service before its program goes away. An upgrade keeps it running: deb says "upgrade" then, and rpm 1.
set -e
case "$1" in
  remove | 0)
    if [ -d /run/systemd/system ]; then
      systemctl disable --now ifmatch.service ifmatch.socket || true
    fi
    ;;
esac
