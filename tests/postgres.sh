#!/bin/sh
# A throw-away PostgreSQL for the store's tests: nothing but a Unix socket, no fsync, gone after `stop`.
#
#   export SEALD_TEST_POSTGRES=$(tests/postgres.sh start)    prints the URL; starting twice is fine
#   tests/postgres.sh stop
#
# The cluster lies in a folder of its own under SEALD_POSTGRES_DIR (default: TMPDIR, or /tmp).
# Debian's postgresql is installed when it is missing and this runs as root.
set -eu

dir=${SEALD_POSTGRES_DIR:-${TMPDIR:-/tmp}}/seald-postgres-$(id -u)

die() {
    echo "postgres.sh: $*" >&2
    exit 1
}

# The folder with initdb and pg_ctl: Debian keeps them out of PATH; the newest version wins.
find_bin() {
    bin=$(for tool in /usr/lib/postgresql/*/bin/initdb; do
        [ -x "$tool" ] && dirname "$tool"
    done | sort -V | tail -n 1)
    if [ -z "$bin" ] && command -v initdb >/dev/null; then
        bin=$(dirname "$(command -v initdb)")
    fi
    [ -n "$bin" ]
}

install() {
    [ "$(id -u)" = 0 ] || die "no PostgreSQL here: apt-get install postgresql"
    command -v apt-get >/dev/null || die "no PostgreSQL here, and no apt-get to install it with"
    echo "postgres.sh: installing postgresql" >&2
    export DEBIAN_FRONTEND=noninteractive
    {
        apt-get update && apt-get install -y postgresql-common
        # the server package must not start a cluster of its own
        sed -i 's/^#* *create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
        apt-get install -y postgresql
    } >&2
}

# PostgreSQL refuses to run as root.
as_owner() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@")
    else
        "$@"
    fi
}

running() {
    [ -d "$dir/data" ] && as_owner "$bin/pg_ctl" -D "$dir/data" status >/dev/null 2>&1
}

start() {
    find_bin || { install && find_bin; } || die "PostgreSQL cannot be found after installing it"
    if ! running; then
        rm -rf "$dir"
        mkdir -p "$dir"
        chmod 700 "$dir"
        [ "$(id -u)" != 0 ] || chown postgres "$dir"
        as_owner "$bin/initdb" -D "$dir/data" -U seald -A trust -E UTF8 --no-sync >"$dir/initdb.log" 2>&1 ||
            die "initdb failed: $(tail -n 3 "$dir/initdb.log")"
        as_owner "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 60 \
            -o "-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=off" start >/dev/null ||
            die "the server did not start: $(tail -n 3 "$dir/server.log")"
    fi
    # a URL takes a socket's folder as a percent-encoded host
    echo "postgres://seald@$(echo "$dir" | sed 's|/|%2F|g')/postgres"
}

stop() {
    if find_bin && running; then
        as_owner "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null || die "the server did not stop"
    fi
    rm -rf "$dir"
}

case ${1:-} in
start) start ;;
stop) stop ;;
*) die "usage: $0 start|stop" ;;
esac
