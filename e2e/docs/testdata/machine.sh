# machine.sh DIR is the first process of a machine that a page is followed on. It runs in namespaces of
# its own, prepares them, says "ready", and ends with its standard input.
set -eu
dir=$1
testdata=$(dirname "$0")
ip link set lo up
mount --make-rprivate /

mkdir "$dir/etc"
cp -a /etc/. "$dir/etc"
mount --bind "$dir/etc" /etc

# What is there stays there, behind links.
mkdir "$dir/bin"
mount --bind /usr/local/bin "$dir/bin"
mount -t tmpfs tmpfs /usr/local/bin
for program in "$dir"/bin/*; do
	ln -s "$program" /usr/local/bin/
done
install -m 0755 "$testdata/systemctl" /usr/local/bin/systemctl

for folder in /run /var/log /var/lib/prometheus; do
	mount -t tmpfs tmpfs "$folder"
done
mkdir -p /var/log/nginx

echo ready
read -r _ || true
