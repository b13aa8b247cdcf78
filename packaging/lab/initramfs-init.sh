#!/bin/busybox sh
# Loads what is needed to see the root disk and the test agent's port, in the builder's order, and hands over.
set -e
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do
    /bin/busybox insmod "/modules/$module"
done < /modules/order
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do
    /bin/busybox usleep 20000
    tries=$((tries + 1))
done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root
/bin/busybox umount /dev
exec /bin/busybox switch_root /root /lib/systemd/systemd
