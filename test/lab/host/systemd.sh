#!/run/lab/busybox sh
# systemd as PID 1 of a lab host: a target of its own that wants what every Debian machine has come up (basic.target) and
# the agent, which is a unit like any other. The machine's own services are no part of it.
set -e
busybox=/run/lab/busybox
trap '$busybox poweroff -f' EXIT
. /run/lab/lab.conf

units=/run/systemd/system
$busybox mkdir -p $units
# The shared machine's idea of its file systems and of a login on every terminal is not this one's.
for unit in systemd-remount-fs.service systemd-update-utmp.service systemd-firstboot.service; do
  $busybox ln -s /dev/null "$units/$unit"
done
$busybox cat >"$units/lab.target" <<END
[Unit]
Requires=basic.target lab-agent.service
After=basic.target
AllowIsolate=yes
END
$busybox cat >"$units/lab-agent.service" <<END
[Unit]
After=basic.target
FailureAction=poweroff-force
SuccessAction=poweroff-force

[Service]
ExecStartPre=/run/lab/busybox sh -c 'for module in $MODPROBE; do modprobe \$\$module || exit 1; done'
ExecStart=$NODE --disable-warning=ExperimentalWarning $CHECKOUT/test/lab/host/agent.ts $PORT
Environment=HOME=/root LANG=C.UTF-8
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
StandardOutput=journal+console
END
exec /lib/systemd/systemd --system --unit=lab.target --show-status=false
