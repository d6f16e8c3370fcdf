#!/bin/sh
# What the engine must do on every kernel and control-group layout, run inside of a machine of its own.
# Each check answers with one line, `VM-OK NAME` or `VM-FAIL NAME: WHY`; `VM-DONE` is the last line before the machine stops.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
coracle=/vm/coracle
work=/var/tmp/suite
rm -rf $work && mkdir -p $work && cd $work || exit 1

word() { # The value of `NAME=` on the kernel's command line, else the second argument.
  sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline | grep . || echo "$2"
}
cgroups=$(word vm.cgroups v2)
only=$(word vm.only "")
trace=$(word vm.trace "")
[ -e /sys/fs/cgroup/cgroup.controllers ] && v2=yes || v2=

# Runs a function in a shell of its own that ends at the first failing command.
check() {
  [ -z "$only" ] || case ",$only," in *",$1,"*) ;; *) return ;; esac
  before=$(cut -d. -f1 /proc/uptime)
  # As a condition, the shell would go on after a failure.
  (
    set -e
    [ -z "$trace" ] || set -x
    "$2"
  ) >$work/out 2>&1
  [ $? = 0 ] && verdict="VM-OK $1" || verdict="VM-FAIL $1: $(tr '\n\t' '| ' <$work/out | tail -c 1500)"
  echo "$verdict ($(($(cut -d. -f1 /proc/uptime) - before)) s)"
}
is() { [ "$1" = "$2" ] || { echo "expected \`$2\`, got \`$1\`"; return 1; }; }
has() { case $1 in *"$2"*) ;; *) echo "no \`$2\` in: $1"; return 1 ;; esac; }
eventually() { # Asks thirty times.
  for _ in $(seq 30); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done
  echo "still not so: $*"; "$@"
}
# One value of what `inspect` says, by the name of its key.
value() { $coracle inspect "$1" | sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1; }
run() { $coracle run --rm "$@"; }
# A file of a control group of the container, as the container sees it: `inside ARGUMENTS... -- CONTROLLER FILE`.
limit() { [ "$v2" ] && echo "/sys/fs/cgroup/$2" || echo "/sys/fs/cgroup/$1"; }

state() { # Everything that a container may leave behind.
  awk '{ print "mount", $5 }' /proc/self/mountinfo | grep -vE '/sys/fs/cgroup|binfmt_misc'
  find /sys/fs/cgroup -type d -name '*coracle*'
  ls /sys/class/net | sed 's/^/link /'
  cat /proc/[0-9]*/comm 2>/dev/null | sed -n 's/^coracle/process &/p'
  ip -4 rule; ip -4 route | sed 's/^/route /'
  LD_LIBRARY_PATH=/vm/tools /vm/tools/nft list ruleset 2>&1 | sed 's/^/nft /'
}

build() {
  mkdir context && cp /bin/busybox context/busybox
  cat >context/Dockerfile <<'DOCKERFILE'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /etc /tmp /www && echo 'root:x:0:0::/:/bin/sh' >/etc/passwd && echo hello >/www/index.html
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch touch /cache/one /scratch/two && test ! -e /bin/nft
ENV PATH=/bin
CMD ["sh"]
DOCKERFILE
  $coracle build -t tiny context
  has "$($coracle images)" tiny
}
plain() {
  is "$(run tiny echo hello)" hello
  code=0; run tiny sh -c 'exit 7' || code=$?
  is $code 7
  code=0; run tiny no-such-program || code=$?
  is $code 127
}
terminal() { has "$(run -t tiny tty)" /dev/pts; }
namespaces() {
  is "$(run --network none tiny sh -c 'echo $$; hostname | wc -c' | tr '\n' ' ')" "1 13 "
  is "$(run --cgroupns private tiny sed -n 's/^0:://p' /proc/self/cgroup | head -n 1)" "$([ "$cgroups" = v1 ] || echo /)"
}
files() {
  $coracle volume create keep
  run -v keep:/keep tiny sh -c 'echo kept >/keep/file'
  is "$(run -v keep:/keep:ro tiny cat /keep/file)" kept
  mkdir -p bind/below && mount -t tmpfs below bind/below
  code=0; run -v $work/bind:/bind:ro tiny touch /bind/file || code=$?
  is $code 1
  code=0; run -v $work/bind:/bind:ro tiny touch /bind/below/file || code=$?
  umount bind/below
  is $code 1
  run --read-only --tmpfs /scratch:size=1m tiny sh -c 'touch /scratch/a && ! touch /b'
  $coracle volume rm keep
}
memory() {
  is "$(run -m 64m tiny cat "$([ "$v2" ] && echo /sys/fs/cgroup/memory.max || echo /sys/fs/cgroup/memory/memory.limit_in_bytes)")" 67108864
  code=0; $coracle run --name hungry -m 16m --memory-swap 16m tiny tail /dev/zero || code=$?
  is $code 137
  is "$(value hungry OOMKilled)" true
  $coracle rm hungry
}
pids() {
  is "$(run --pids-limit 20 tiny cat "$(limit pids/pids.max pids.max)")" 20
  has "$(run --pids-limit 5 tiny sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done' 2>&1 || true)" "fork"
}
processor() {
  if [ "$v2" ]; then
    is "$(run --cpus 0.5 tiny cat /sys/fs/cgroup/cpu.max)" "50000 100000"
    is "$(run --cpuset-cpus 1 tiny cat /sys/fs/cgroup/cpuset.cpus)" 1
    is "$(run --cpu-shares 512 tiny sh -c 'test $(cat /sys/fs/cgroup/cpu.weight) -lt 100 && echo less')" less
  else
    is "$(run --cpus 0.5 tiny cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us)" 50000
    is "$(run --cpuset-cpus 1 tiny cat /sys/fs/cgroup/cpuset/cpuset.cpus)" 1
    is "$(run --cpu-shares 512 tiny cat /sys/fs/cgroup/cpu/cpu.shares)" 512
  fi
}
devices() {
  # What is not allowed is refused even to who can make its node: here the host's disk.
  numbers="b $((0x$(stat -c %t /dev/vda))) $((0x$(stat -c %T /dev/vda)))"
  run --cap-add MKNOD tiny sh -c "mknod /tmp/disk $numbers && ! (exec 3</tmp/disk) 2>/dev/null"
  run --device /dev/vda:/dev/disk:r tiny sh -c '(exec 3</dev/disk) && ! (exec 3>/dev/disk) 2>/dev/null'
  run tiny sh -c 'head -c 1 /dev/zero >/dev/null && head -c 1 /dev/urandom >/dev/null && ! echo x >/dev/full'
  run --privileged tiny sh -c "mknod /tmp/disk $numbers && (exec 3</tmp/disk)"
  # A step of a build is bounded as well.
  printf 'FROM tiny\nRUN mknod /tmp/disk %s && ! (exec 3</tmp/disk) 2>/dev/null && rm /tmp/disk\n' "$numbers" | $coracle build -
}
life() {
  $coracle run -d --name long --init -m 64m tiny sleep 1000
  is "$($coracle exec -e A=b long sh -c 'echo $A')" b
  has "$($coracle exec long cat /proc/1/comm /proc/self/cgroup)" "$([ "$v2" ] && echo 0::/ || echo memory)"
  has "$($coracle top long)" sleep
  $coracle pause long
  is "$(value long Status)" paused
  $coracle unpause long
  is "$($coracle exec long echo again)" again
  stats=$($coracle stats --no-stream --format json long)
  echo "$stats"
  echo "$stats" | grep -qiE '"mem[a-z_]*": *"?[1-9]|"mem[A-Za-z]*":"[1-9]'
  if $coracle update --help >/dev/null 2>&1; then
    $coracle update -m 96m --memory-swap 96m --pids-limit 33 long
    is "$($coracle exec long cat "$(limit pids/pids.max pids.max)")" 33
    is "$($coracle exec long cat "$(limit memory/memory.limit_in_bytes memory.max)")" 100663296
  fi
  $coracle restart -t 1 long
  is "$($coracle exec long echo still)" still
  $coracle stop -t 1 long
  $coracle start long
  $coracle kill long
  $coracle rm -f long
}
stopped() { is "$(value "$1" Status)" exited; }
restarts() {
  $coracle run -d --name again --restart on-failure:2 tiny sh -c 'exit 3'
  eventually stopped again
  is "$(value again RestartCount)" 2
  $coracle rm again
}
healthy() { is "$($coracle inspect "$1" | grep -c '"Status": "healthy"')" 1; }
health() {
  $coracle run -d --name well --health-cmd 'test -e /www/index.html' --health-interval 200ms tiny sleep 1000
  eventually healthy well
  $coracle rm -f well
}
# Asks a server by `fetch ADDRESS PORT`, with words before it that start a program elsewhere.
client='exec 3<>"/dev/tcp/$0/$1" && printf "GET / HTTP/1.0\r\n\r\n" >&3 && tail -n 1 <&3'
serves() { is "$(timeout 5 bash -c "$client" "$1" "$2")" hello; }
serves_client() { is "$(ip netns exec client timeout 5 bash -c "$client" "$1" "$2")" hello; }
network() {
  ip netns add client
  ip link add outside type veth peer name eth0 netns client
  ip addr add 198.51.100.1/24 dev outside
  ip link set outside up
  ip -n client addr add 198.51.100.2/24 dev eth0
  ip -n client link set eth0 up
  $coracle network create shared
  $coracle run -d --name web --network shared -p 8080:80 tiny httpd -f -h /www
  eventually serves 127.0.0.1 8080
  eventually serves_client 198.51.100.1 8080
  address=$(run --network shared tiny nslookup web | sed -n 's/^Address: *\([0-9.]*\)$/\1/p' | tail -n 1)
  is "$(run --network shared tiny wget -q -O - "http://$address/")" hello
  # Out of the machine, behind its address.
  ip netns exec client busybox httpd -h $work/context -p 9090
  has "$(run tiny wget -q -O - http://198.51.100.2:9090/Dockerfile)" "FROM scratch"
  is "$(run --network host tiny wget -q -O - http://127.0.0.1:8080/)" hello
  $coracle rm -f web
  $coracle network rm shared
  pid=$(ip netns pids client); [ -z "$pid" ] || kill $pid
  ip link del outside
  ip netns del client
  umount /run/netns 2>/dev/null || true
}
project() {
  mkdir -p shop && cp context/busybox shop/
  cat >shop/Dockerfile <<'DOCKERFILE'
FROM tiny
RUN echo hello >/www/index.html
CMD ["httpd", "-f", "-h", "/www"]
DOCKERFILE
  cat >shop/docker-compose.yml <<'YAML'
services:
  web:
    build: .
    ports: ["8081:80"]
    mem_limit: 64m
    cpus: 0.5
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 200ms, timeout: 10s}
  user:
    image: tiny
    command: [sh, -c, "nslookup web && exec sleep 1000"]
    depends_on: {web: {condition: service_healthy}}
    stop_grace_period: 1s
YAML
  cd shop
  $coracle up
  serves 127.0.0.1 8081
  has "$($coracle ps)" web
  $coracle down -v
  cd ..
}
apparmor() {
  [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] || return 0
  mount -t securityfs security /sys/kernel/security 2>/dev/null || true
  cat >profile <<'PROFILE'
profile vm-no-www flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, mount, umount, pivot_root, ptrace, unix, dbus,
  deny /www/** rwklx,
}
PROFILE
  /usr/sbin/apparmor_parser -r -K profile
  is "$(run --security-opt apparmor=vm-no-www tiny cat /proc/self/attr/current)" "vm-no-www (enforce)"
  code=0; run --security-opt apparmor=vm-no-www tiny cat /www/index.html || code=$?
  is $code 1
  is "$(run tiny cat /www/index.html)" hello
  $coracle run -d --name confined --security-opt apparmor=vm-no-www tiny sleep 1000
  is "$($coracle exec confined cat /proc/self/attr/current)" "vm-no-www (enforce)"
  $coracle rm -f confined
  has "$(run --security-opt apparmor=not-loaded tiny true 2>&1 || true)" not-loaded
}
images() {
  $coracle rmi -f $($coracle images -q | sort -u)
}

is_quiet() { state >$work/after; diff $work/before $work/after; }
nothing_left() { eventually is_quiet; }

echo "VM-HOST $(uname -r) cgroups=$cgroups v2=${v2:-no} pid1=$(cat /proc/1/comm) controllers=$([ "$v2" ] && cat /sys/fs/cgroup/cgroup.controllers || ls /sys/fs/cgroup | tr '\n' ' ')"
$coracle --version
check build build
check run plain
# What systemd collects is gone by then.
sleep 2
# From the first container on the default network there is its bridge, as after Docker's installation.
state >$work/before
check terminal terminal
check namespaces namespaces
check files files
check memory memory
check pids pids
check processor processor
check devices devices
check life life
check restarts restarts
check health health
check network network
check project project
check apparmor apparmor
check images images
check leftovers nothing_left
dmesg | grep -E 'BUG:|Oops|general protection|segfault' | head -n 5 | sed 's/^/VM-FAIL kernel: /'
echo VM-DONE
sync
exec busybox reboot -f
