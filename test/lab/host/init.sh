#!/bin/busybox sh
# First program of a lab host: makes the outer machine's file system its own, writable in memory, with a disk for state,
# and hands over to the init that the test wants. A failing step ends the machine.
set -e
busybox=/bin/busybox
trap '$busybox poweroff -f' EXIT
. /lab.conf

$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs dev /dev
while read -r module; do
  $busybox insmod "/modules/$module"
done </modules/order

$busybox mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=524288,ro outer /outer
$busybox mount -t tmpfs -o mode=755 layer /layer
$busybox mkdir /layer/upper /layer/work
$busybox mount -t overlay -o lowerdir=/outer,upperdir=/layer/upper,workdir=/layer/work root /root
$busybox mount -t ext4 /dev/vda /disk
$busybox mkdir -p /disk/tmp /disk/bulkhead
$busybox chmod 1777 /disk/tmp

# A checkout below one of the directories that are replaced would vanish with it.
$busybox mount --bind "/root$CHECKOUT" /checkout
$busybox mount --bind /disk/tmp /root/tmp
$busybox mkdir -p /root/var/lib/bulkhead "/root/usr/lib/modules/$RELEASE"
$busybox mount --bind /disk/bulkhead /root/var/lib/bulkhead
$busybox mount -t tmpfs -o mode=755,nosuid,nodev run /root/run
$busybox mkdir -p "/root$CHECKOUT"
$busybox mount --bind /checkout "/root$CHECKOUT"
$busybox umount /checkout
$busybox mount --bind "/root$MODULES" "/root/usr/lib/modules/$RELEASE"

$busybox mount --move /dev /root/dev
$busybox mount --move /sys /root/sys
$busybox mount --move /proc /root/proc
$busybox mkdir -p /root/run/lab
$busybox cp /bin/busybox /lab.conf /host/* /root/run/lab/
echo lab >/root/proc/sys/kernel/hostname
exec $busybox switch_root /root "/run/lab/$INIT"
