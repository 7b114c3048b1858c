#!/bin/sh
# Makes the user of the service. The service is not started: there is nothing in its directory yet.
set -e
if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers ifmatch.conf
fi
chgrp ifmatch /etc/ifmatch/environment 2>/dev/null || true
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
  systemctl try-restart ifmatch.service || true # one that runs, at an upgrade
fi
