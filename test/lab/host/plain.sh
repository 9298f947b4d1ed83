#!/run/lab/busybox sh
# PID 1 of a lab host without systemd: what systemd would mount, loopback, and the agent. `wait` reaps every orphan.
set -e
busybox=/run/lab/busybox
trap '$busybox poweroff -f' EXIT
. /run/lab/lab.conf
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

$busybox mkdir -p /dev/pts /dev/shm /dev/mqueue
$busybox mount -t devpts -o mode=620,ptmxmode=666,gid=5 devpts /dev/pts
$busybox mount -t tmpfs -o mode=1777,nosuid,nodev shm /dev/shm
$busybox mount -t mqueue -o nosuid,nodev,noexec mqueue /dev/mqueue
$busybox mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
$busybox ip link set lo up
for module in $MODPROBE; do modprobe "$module"; done

$NODE --disable-warning=ExperimentalWarning "$CHECKOUT/test/lab/host/agent.ts" "$PORT" </dev/null >/dev/console 2>&1 &
wait $!
