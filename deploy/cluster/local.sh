#!/bin/sh
# Starts a whole cluster on this machine, without a container engine: PostgreSQL, three servers, and nginx, which sends each
# request to the next of them. It runs until Ctrl-C, and goes on with the same tree the next time.
#
#   deploy/cluster/local.sh [DIR]      the tree is in DIR (default: ./cluster)
#
#   PORT=8080         where the cluster listens, on loopback. The servers have the ports after it
#   IFMATCH=ifmatch   the program
#   REPLICAS=3        how many servers
#   FLAGS=            more flags for each of them
#
# It needs the packages postgresql and nginx. All of it is on one machine: it shows how the parts fit, and is no protection
# against the loss of that machine.
set -eu
dir=${1:-cluster} port=${PORT:-8080} program=${IFMATCH:-ifmatch} replicas=${REPLICAS:-3}

die() { echo "$0: $*" >&2; exit 1; }
bin=$(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | tail -n 1)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb)") || die "PostgreSQL is not installed: install the package postgresql"
command -v nginx >/dev/null || PATH=$PATH:/usr/sbin command -v nginx >/dev/null || die "nginx is not installed: install it"
command -v "$program" >/dev/null || die "$program is not there: give IFMATCH=PATH"
PATH=$PATH:/usr/sbin

mkdir -p "$dir/database" "$dir/blobs" "$dir/log" "$dir/nginx"
dir=$(cd "$dir" && pwd)
# PostgreSQL wants a directory that its user may read, and IFMATCH and FLAGS may have paths below this one.
as() { (cd "$dir/database" && "$@"); }
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses root
  chown postgres "$dir/database"
  as() { (cd "$dir/database" && runuser -u postgres -- "$@"); }
fi
# The socket of the database is in a directory with a short name.
socket=$(mktemp -d)
chmod 755 "$socket"
[ "$(id -u)" != 0 ] || chown postgres "$socket"

pids=
finish() {
  trap - EXIT INT TERM
  for pid in $pids; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in $pids; do wait "$pid" 2>/dev/null || true; done
  as "$bin/pg_ctl" -D "$dir/database/data" -m fast -s stop 2>/dev/null || true
  rm -rf "$socket"
}
trap finish EXIT
trap 'exit 0' INT TERM

if [ ! -e "$dir/database/data/PG_VERSION" ]; then
  as "$bin/initdb" -D data -U ifmatch --auth=trust --encoding=UTF8 --locale=C --no-instructions >"$dir/log/initdb" 2>&1 ||
    die "initdb failed: see $dir/log/initdb"
fi
as "$bin/pg_ctl" -D data -s -w -l "$dir/database/log" -o "-c listen_addresses= -k $socket" start ||
  die "PostgreSQL does not start: see $dir/database/log"
as "$bin/psql" -h "$socket" -U ifmatch -d postgres -qc 'create database ifmatch' 2>/dev/null || true # it may be there

upstream=
number=1
while [ "$number" -le "$replicas" ]; do
  at=127.0.0.1:$((port + number))
  # shellcheck disable=SC2086
  "$program" serve --store "postgres://ifmatch@/ifmatch?host=$socket" --blobs "dir://$dir/blobs" --addr "$at" \
    --trusted-proxy 127.0.0.1 ${FLAGS:-} 2>"$dir/log/server-$number" &
  pids="$pids $!"
  upstream="$upstream server $at max_fails=1 fail_timeout=1s;"
  number=$((number + 1))
done

# Each request goes to the next server. A write that has failed is not sent again: the client decides that.
cat >"$dir/nginx/conf" <<CONF
daemon off;
pid $dir/nginx/pid;
error_log $dir/log/nginx;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path $dir/nginx/body;
  proxy_temp_path $dir/nginx/proxy;
  fastcgi_temp_path $dir/nginx/fastcgi;
  uwsgi_temp_path $dir/nginx/uwsgi;
  scgi_temp_path $dir/nginx/scgi;
  upstream servers { $upstream keepalive 64; }
  server {
    listen 127.0.0.1:$port;
    client_max_body_size 0;
    gzip off; # it would make strong ETags weak
    location / {
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host \$http_host;
      proxy_set_header X-Forwarded-For \$remote_addr;
      proxy_set_header X-Forwarded-Proto \$scheme;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_next_upstream error timeout; # of requests that change nothing, unless they never reached a server
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }
  }
}
CONF
rm -f "$dir/nginx/pid"
nginx -c "$dir/nginx/conf" 2>>"$dir/log/nginx" &
pids="$pids $!"

# Each says when it has its port: another program may be there.
number=0
for pid in $pids; do
  number=$((number + 1)) tries=0
  name="server $number" log=$dir/log/server-$number
  ready() { grep -q '^ifmatch: serving ' "$log"; }
  if [ "$number" -gt "$replicas" ]; then
    name=nginx log=$dir/log/nginx
    ready() { [ -s "$dir/nginx/pid" ]; }
  fi
  until ready; do
    tries=$((tries + 1))
    { [ "$tries" -lt 300 ] && kill -0 "$pid" 2>/dev/null; } || die "$name does not start: see $log"
    sleep 0.2
  done
done
echo "the cluster of $replicas servers listens at http://127.0.0.1:$port/"
for pid in $pids; do wait "$pid" || true; done
