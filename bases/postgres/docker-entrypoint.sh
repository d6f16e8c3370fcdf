#!/bin/bash
# Starts PostgreSQL; on an empty data directory first makes a cluster from the POSTGRES_* variables and runs
# what lies in /docker-entrypoint-initdb.d. Every variable can also be given as NAME_FILE, the path of a file
# that holds its value (a mounted secret).
set -Eeo pipefail
shopt -s nullglob

fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}

# Sets variable $1 to its value, the content of the file that $1_FILE names, or the default $2.
value_of() {
  local name=$1 file_name=$1_FILE value=${2-}
  if [ -n "${!name-}" ] && [ -n "${!file_name-}" ]; then
    fail "both $name and $file_name are set (but are exclusive)"
  fi
  if [ -n "${!name-}" ]; then
    value=${!name}
  elif [ -n "${!file_name-}" ]; then
    [ -r "${!file_name}" ] || fail "$file_name names ${!file_name}, which cannot be read"
    value=$(<"${!file_name}")
  fi
  export "$name"="$value"
  unset "$file_name"
}

is_root() { [ "$(id -u)" -eq 0 ]; }

make_directories() {
  mkdir -p "$PGDATA"
  # Fails for a user who does not own it, where it is right already.
  chmod 0700 "$PGDATA" 2>/dev/null || true
  mkdir -p /var/run/postgresql
  chmod 3775 /var/run/postgresql 2>/dev/null || true
  if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then
    mkdir -p "$POSTGRES_INITDB_WALDIR"
    chmod 0700 "$POSTGRES_INITDB_WALDIR"
  fi
  if is_root; then
    local path
    for path in "$PGDATA" /var/run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}; do
      find "$path" \! -user postgres -exec chown postgres '{}' +
    done
  fi
}

read_variables() {
  value_of POSTGRES_PASSWORD
  value_of POSTGRES_USER postgres
  value_of POSTGRES_DB "$POSTGRES_USER"
  value_of POSTGRES_INITDB_ARGS
  value_of POSTGRES_HOST_AUTH_METHOD
  INITIALISED=''
  if [ -s "$PGDATA/PG_VERSION" ]; then INITIALISED=1; fi
}

check_variables() {
  if [ "${#POSTGRES_PASSWORD}" -ge 100 ]; then
    echo "warning: the supplied POSTGRES_PASSWORD is longer than 99 characters, which some clients cannot send" >&2
  fi
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    printf '%s\n' \
      'Error: Database is uninitialized and superuser password is not specified.' \
      '       You must specify POSTGRES_PASSWORD to a non-empty value for the' \
      '       superuser. For example, "-e POSTGRES_PASSWORD=password" on "docker run".' \
      '' \
      '       You may also use "POSTGRES_HOST_AUTH_METHOD=trust" to allow all' \
      '       connections without a password. This is *not* recommended.' \
      '' \
      '       See PostgreSQL documentation about "trust":' \
      '       https://www.postgresql.org/docs/current/auth-trust.html' >&2
    exit 1
  fi
  if [ "$POSTGRES_HOST_AUTH_METHOD" = trust ]; then
    echo 'warning: POSTGRES_HOST_AUTH_METHOD is "trust": anyone who reaches the port is let in without a password' >&2
  fi
}

make_cluster() {
  # A user that only a number names (`user: 1234`) gets a name for initdb's sake.
  if ! getent passwd "$(id -u)" >/dev/null; then
    local library
    for library in /usr/lib/*/libnss_wrapper.so; do
      NSS_WRAPPER_PASSWD=$(mktemp)
      NSS_WRAPPER_GROUP=$(mktemp)
      export LD_PRELOAD=$library NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
      echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" >"$NSS_WRAPPER_PASSWD"
      echo "postgres:x:$(id -g):" >"$NSS_WRAPPER_GROUP"
    done
  fi
  local wal=()
  # shellcheck disable=SC2034 # used in what `eval` runs
  [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || wal=(--waldir "$POSTGRES_INITDB_WALDIR")
  # POSTGRES_INITDB_ARGS is a piece of command line: it may quote.
  eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") "${wal[@]}" '"$POSTGRES_INITDB_ARGS"' "$@"'
  if [ -n "${NSS_WRAPPER_PASSWD:-}" ]; then
    rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"
    unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
  fi
}

let_hosts_in() {
  local method=$POSTGRES_HOST_AUTH_METHOD
  # The method that passwords are stored with; `postgres -C` knows what the command line says about it.
  [ -n "$method" ] || method=$(postgres -C password_encryption "$@")
  {
    echo
    [ "$method" != trust ] || echo '# every host is let in without a password (POSTGRES_HOST_AUTH_METHOD)'
    echo "host all all all $method"
  } >>"$PGDATA/pg_hba.conf"
}

# A server for the init scripts only: on the socket, so that nobody else meets a half-made database.
start_for_init() {
  NOTIFY_SOCKET='' PGUSER=${PGUSER:-$POSTGRES_USER} \
    pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")" -w start
}

stop_after_init() {
  PGUSER=${PGUSER:-postgres} pg_ctl -D "$PGDATA" -m fast -w stop
}

# psql as the init scripts use it: stops at the first error. Scripts that are sourced call it by this name.
docker_process_sql() {
  local database=()
  [ -z "$POSTGRES_DB" ] || database=(--dbname "$POSTGRES_DB")
  PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc \
    "${database[@]}" "$@"
}

make_database() {
  local wanted=$POSTGRES_DB known
  known=$(POSTGRES_DB='' docker_process_sql --dbname postgres --set db="$wanted" --tuples-only <<'SQL'
SELECT 1 FROM pg_database WHERE datname = :'db';
SQL
  )
  if [ -z "${known//[[:space:]]/}" ]; then
    POSTGRES_DB='' docker_process_sql --dbname postgres --set db="$wanted" <<'SQL'
CREATE DATABASE :"db";
SQL
    echo
  fi
}

run_init_files() {
  local file
  echo
  for file; do
    case $file in
      *.sh)
        if [ -x "$file" ]; then
          echo "$0: running $file"
          "$file"
        else
          echo "$0: sourcing $file"
          . "$file"
        fi
        ;;
      *.sql) echo "$0: running $file"; docker_process_sql -f "$file"; echo ;;
      *.sql.gz) echo "$0: running $file"; gunzip -c "$file" | docker_process_sql; echo ;;
      *.sql.xz) echo "$0: running $file"; xzcat "$file" | docker_process_sql; echo ;;
      *.sql.zst) echo "$0: running $file"; zstd -dc "$file" | docker_process_sql; echo ;;
      *) echo "$0: ignoring $file" ;;
    esac
    echo
  done
}

# Says whether the command only asks the server something (`postgres --help`) and needs no cluster.
only_asks() {
  local argument
  for argument; do
    case $argument in
      -'?' | --help | --describe-config | -V | --version) return 0 ;;
    esac
  done
  return 1
}

main() {
  case ${1-} in
    -*) set -- postgres "$@" ;;
  esac
  if [ "${1-}" = postgres ] && ! only_asks "$@"; then
    : "${PGDATA:=/var/lib/postgresql/data}"
    export PGDATA
    read_variables
    make_directories
    if is_root; then
      # Again as the server's user, who must own what is made from here on. Values read from files are in the
      # environment by now; the files themselves are often readable by root alone.
      exec gosu postgres "${BASH_SOURCE[0]}" "$@"
    fi
    if [ -z "$INITIALISED" ]; then
      check_variables
      ls /docker-entrypoint-initdb.d/ >/dev/null
      make_cluster
      let_hosts_in "${@:2}"
      export PGPASSWORD="${PGPASSWORD-$POSTGRES_PASSWORD}"
      start_for_init "${@:2}"
      make_database
      run_init_files /docker-entrypoint-initdb.d/*
      stop_after_init
      unset PGPASSWORD
      printf '\n%s\n\n' 'PostgreSQL init process complete; ready for start up.'
    else
      printf '\n%s\n\n' 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
    fi
    [ -z "${COMMAND_ONLY_INITIALISES:-}" ] || exit 0
    # The server needs none of these, and a secret from a file should not stay readable in its environment.
    unset POSTGRES_PASSWORD POSTGRES_INITDB_ARGS POSTGRES_HOST_AUTH_METHOD
  fi
  exec "$@"
}

# Sourced (by a script that only wants the functions) it does nothing.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  main "$@"
fi
