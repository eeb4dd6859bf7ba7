# 1:3 is allowed, 1:11 and 254:0 are not; a node may be made of any.
shipway run --rm app sh -c 'mknod /ok c 1 3 && echo x > /ok'
shipway run --rm app sh -c 'mknod /kmsg c 1 11 && ! head -c 1 /kmsg'
shipway run --rm app sh -c 'mknod /disk b 254 0 && ! head -c 1 /disk'
head -c 1 /dev/vda >/dev/null
