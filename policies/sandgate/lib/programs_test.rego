# METADATA
# title: programs
# description: >-
#   What each program that the library knows does, by a command line of its manual page: one line for each word that the
#   library goes by, with no second word that would say the same. A word that is forgotten is a case that fails.
package sandgate.lib.programs_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.shell

_lines(table) := {line | some line in split(table, "\n"); line != ""}

_fact(line) := facts.command(split(line, " "))

# Whatever their arguments are: they delete, overwrite, stop or repartition.
_destroy_always := `
badblocks -w /dev/sdb
blkdiscard /dev/sdb
blkzone reset /dev/sdb
cfdisk /dev/sdb
cryptsetup luksFormat /dev/sdb
dd if=a of=b
debugfs -w /dev/sdb1
del-cli a.txt
delgroup users
deluser joe
dropdb orders
dropuser joe
fdisk /dev/sdb
fsck -y /dev/sdb1
gdisk /dev/sdb
groupdel users
halt
hdparm --security-erase x /dev/sdb
init 0
kill 1
killall nginx
killall5
lvreduce -L 1G vg/lv
lvremove vg/lv
mkdosfs /dev/sdb1
mke2fs /dev/sdb1
mke2fs.static /dev/sdb1
mkexfatfs /dev/sdb1
mkfs /dev/sdb1
mkfs.ext4 /dev/sdb1
mkntfs /dev/sdb1
mkreiserfs /dev/sdb1
mkswap /dev/sdb2
newfs /dev/da0
nwipe /dev/sdb
parted /dev/sdb mklabel gpt
pkill -f server
poweroff
pvmove /dev/sdb
pvremove /dev/sdb
reboot
rimraf node_modules
rm a.txt
rmdir build
rmmod kvm
scrub a.img
sfdisk /dev/sdb
sgdisk -Z /dev/sdb
shred a.txt
shutdown -h
skill -9 joe
srm a.txt
swapoff -a
telinit 6
trash a.txt
trash-empty
trash-put a.txt
truncate -s 0 a.log
umount /mnt
unlink a.txt
userdel joe
vgreduce vg /dev/sdb
vgremove vg
wipe a.img
wipefs -a /dev/sdb
zerofree /dev/sdb1
`

# Told by a word among their arguments.
_destroy_by_word := `
apk del vim
btrfs subvolume delete snap
cargo clean
cargo uninstall ripgrep
cdk destroy
cdk remove
conda remove numpy
conda uninstall numpy
crictl rm c1
crictl rmi i1
crictl rmp p1
crictl stop c1
crictl stopp p1
crontab -r
dmsetup remove x
dmsetup remove_all
dmsetup wipe_table x
docker compose down
docker kill web
docker system prune
docker rm web
docker rmi nginx
docker stop web
docker-compose down
docker-compose kill web
docker-compose rm web
docker-compose stop web
dpkg --purge vim
dpkg --remove vim
dpkg -P vim
dpkg -r vim
eksctl delete cluster
find . -name x -delete
fuser --kill a
fuser -k a
fuser -km /mnt
fuser -mk /mnt
gio remove a.txt
gio trash a.txt
helm delete web
helm rollback web
helm uninstall web
hg purge
hg strip tip
incus delete c1
incus purge x
ip link del eth1
ip route delete default
ip route flush table main
ip6tables --delete INPUT 1
ip6tables --delete-chain x
ip6tables --flush
ip6tables -D INPUT 1
ip6tables -F
ip6tables -X x
ipset destroy x
ipset flush x
iptables --delete INPUT 1
iptables --delete-chain x
iptables --flush
iptables -D INPUT 1
iptables -F
iptables -X x
iptables-legacy --delete INPUT 1
iptables-legacy --delete-chain x
iptables-legacy --flush
iptables-legacy -D INPUT 1
iptables-legacy -F
iptables-legacy -X x
iptables-nft --delete INPUT 1
iptables-nft --delete-chain x
iptables-nft --flush
iptables-nft -D INPUT 1
iptables-nft -F
iptables-nft -X x
k3d cluster delete dev
kind delete cluster
kubectl delete pod web
kubectl drain node1
kubectl replace -f a.yaml
loginctl kill-session 1
loginctl kill-user joe
loginctl terminate-seat seat0
loginctl terminate-session 1
loginctl terminate-user joe
losetup --detach /dev/loop0
losetup --detach-all
losetup -D
losetup -d /dev/loop0
lxc delete c1
lxc purge x
mamba remove numpy
mamba uninstall numpy
mdadm --remove /dev/md0 /dev/sdb
mdadm --stop /dev/md0
mdadm --zero-superblock /dev/sdb
mdadm -S /dev/md0
micromamba remove numpy
micromamba uninstall numpy
minikube delete
modprobe --remove kvm
modprobe -r kvm
multipass delete vm
multipass purge
nerdctl compose down
nerdctl kill web
nerdctl system prune
nerdctl rm web
nerdctl rmi nginx
nerdctl stop web
nft delete table x
nft destroy table x
nft flush ruleset
nix-collect-garbage --delete-old
nix-collect-garbage -d
nix-env --delete-generations old
nix-env --uninstall vim
nix-env -e vim
nvme format /dev/nvme0n1
nvme sanitize /dev/nvme0n1
nvme write-zeroes /dev/nvme0n1
oc delete pod web
oc drain node1
oc replace -f a.yaml
ostree prune
pacman -R vim
pacman -Rns vim
paru -Rs vim
podman pod down
podman kill web
podman system prune
podman rm web
podman rmi nginx
podman stop web
podman-compose down
podman-compose kill web
podman-compose rm web
podman-compose stop web
pulumi destroy
rpm --erase vim
rpm -e vim
rpm -ev vim
rpm -evh vim
scalar delete repo
serverless destroy
serverless remove
service nginx stop
sls destroy
sls remove
sst destroy
sst remove
systemctl disable nginx
systemctl halt
systemctl kill nginx
systemctl mask nginx
systemctl poweroff
systemctl reboot
systemctl stop nginx
tar -cf a.tar --remove-files a
terraform apply plan.out
terraform destroy
terraform state rm a.b
terragrunt apply plan.out
terragrunt destroy
terragrunt state rm a.b
tofu apply plan.out
tofu destroy
tofu state rm a.b
ufw disable
ufw reset
vagrant destroy
vboxmanage closemedium disk a.vdi
vboxmanage unregistervm vm
virsh destroy vm
virsh undefine vm
yay -Rns vim
zfs destroy tank/a
zfs rollback tank/a
zpool destroy tank
zpool labelclear /dev/sdb
`

# Package managers with the words that remove what is installed.
_destroy_packages := `
apt autoremove
apt-get purge vim
aptitude remove vim
brew uninstall vim
bun rm left-pad
bundle remove rails
bundler remove rails
composer remove a/b
dnf erase vim
dnf5 remove vim
flatpak uninstall org.x.Y
gem uninstall rails
microdnf remove vim
npm unpublish left-pad
npm uninstall left-pad
pip uninstall requests
pip3 uninstall requests
pipx uninstall black
pkg remove vim
pnpm remove left-pad
poetry remove requests
port uninstall vim
snap remove vim
yarn remove left-pad
yum erase vim
zypper rm vim
`

# Rights and owners of whole trees outside the workspace, and copies onto devices are in shell_test.rego.
_destroy_trees := `
chattr -R +i /etc
chgrp -R users /etc
chmod -R 777 /etc
chown -Rh joe /etc
setfacl --recursive -m u:joe:rwx /etc
`

# Whatever their arguments are: they reach the network.
_connect_always := `
ab -n 10 http://a/
ansible all -m ping
ansible-playbook site.yml
aria2c http://a/
arping 10.0.0.1
autossh host
axel http://a/
azcopy copy a b
bunx cowsay
cloudflared tunnel
consul members
cpan Moose
cpanm Moose
cqlsh host
crane manifest a
croc send a
curl http://a/
curlie http://a/
cvs checkout a
delv example.com
deno task x
dhclient eth0
dig example.com
doctl account
dog example.com
doggo example.com
drill example.com
dumpcap -i eth0
elinks http://a/
etcdctl member list
fetchmail
finger joe@host
firebase serve
fly status
fping host
ftp host
getmail
git-remote-https origin
glab mr list
grpcurl host:1 x
gsutil ls gs://a
hcloud server list
host example.com
hping3 host
http http://a/
https a.example
hub pr list
iperf -c host
iperf3 -c host
irssi
kdig example.com
ldapadd -f a.ldif
ldapdelete cn=a
ldapmodify -f a.ldif
ldapsearch -x
lftp host
links http://a/
lwp-download http://a/
lwp-request http://a/
lynx http://a/
mail joe
mailx joe
mariadb -h host
mariadb-dump db
masscan 10.0.0.0/8
mongo host
mongodump
mongorestore dump
mongosh host
mosh host
mosh-client 10.0.0.1 60001
mosh-server new
mount.cifs x /mnt
mount.nfs x /mnt
msmtp joe
mtr host
mutt
mysql -h host
mysqladmin status
mysqldump db
nc host 80
nc.openbsd host 80
nc.traditional host 80
ncat host 80
netcat host 80
netlify status
ngrok tcp 22
nix-channel --list
nmap host
npx cowsay
nslookup example.com
nsupdate a.txt
ntpdate host
oci os ns
openvpn a.conf
oras manifest a
pg_dump db
pg_dumpall
pg_restore a.dump
ping host
ping6 host
pnpx cowsay
psql -h host
rcp a host:b
rdate host
redis-cli ping
rexec host ls
rlogin host
rsh host ls
rustscan -a host
rustup show
s3cmd ls
s5cmd ls
scp a host:b
sendmail joe
sftp host
siege http://a/
skopeo inspect docker://a
slogin host
smbclient //host/a
snmpget host x
snmpset host x
snmpwalk host
socat - tcp:host:1
sqlcmd -S host
ssh host
ssh-copy-id host
ssh-keyscan host
sshfs host:/ /mnt
sshpass -p x true
svn log
swaks --to joe
tailscale status
tcpdump -i eth0
telnet host
tftp host
tracepath host
tracepath6 host
traceroute host
traceroute6 host
transmission-cli a.torrent
tshark -i eth0
twine check a
uvx ruff
valkey-cli ping
vault status
vegeta attack
vercel list
w3m http://a/
websocat ws://a/
wget http://a/
wget2 http://a/
whois example.com
wormhole send a
wrangler whoami
wrk http://a/
wscat -c ws://a/
xh http://a/
youtube-dl http://a/
yt-dlp http://a/
zmap -p 80
`

# Told by a word among their arguments.
_connect_by_word := `
apk fetch vim
apk update
apk upgrade
brew fetch vim
brew search vim
brew tap a/b
bun add left-pad
bun i
bun install
bun update
bun x cowsay
busybox ftpget host a
busybox ftpput host a
busybox nc host 80
busybox nslookup host
busybox ping host
busybox telnet host
busybox wget http://a/
cabal download
cabal install pandoc
cabal update
cargo add serde
cargo binstall ripgrep
cargo fetch
cargo install ripgrep
cargo login
cargo owner --list
cargo publish
cargo search serde
cargo update
cargo yank serde
composer create-project a/b
composer install
composer outdated
composer require a/b
composer update
conda create -n x
conda install numpy
conda search numpy
conda update numpy
corepack install
corepack prepare yarn@4
dart pub get
dart install x
dart update
docker build .
docker buildx bake
docker login
docker pull nginx
docker push a/b
docker run nginx
docker search nginx
docker compose up
docker-compose build
docker-compose pull
docker-compose push
docker-compose run web
docker-compose up
dotnet add package x
dotnet nuget list source
dotnet restore
dotnet tool list
flutter pub get
flutter install
flutter update
gem fetch rails
gem install rails
gem push a.gem
gem update
getent ahosts host
getent ahostsv4 host
getent ahostsv6 host
getent hosts host
go mod download
go get example.com/a
go install example.com/a@latest
go mod tidy
gpg --auto-key-locate local
gpg --fetch-key http://a/
gpg --fetch-keys http://a/
gpg --keyserver host
gpg --locate-external-keys joe
gpg --locate-keys joe
gpg --receive-keys x
gpg --recv x
gpg --recv-key x
gpg --recv-keys x
gpg --refresh-keys
gpg --search joe
gpg --search-keys joe
gpg --send-key x
gpg --send-keys x
gpg2 --auto-key-locate local
gpg2 --fetch-key http://a/
gpg2 --fetch-keys http://a/
gpg2 --keyserver host
gpg2 --locate-external-keys joe
gpg2 --locate-keys joe
gpg2 --receive-keys x
gpg2 --recv x
gpg2 --recv-key x
gpg2 --recv-keys x
gpg2 --refresh-keys
gpg2 --search joe
gpg2 --search-keys joe
gpg2 --send-key x
gpg2 --send-keys x
gradle publish
gradlew publish
helm dep list
helm dependency list
helm fetch a/b
helm install web .
helm pull a/b
helm push a.tgz oci://a
helm registry logout
helm repo list
helm search hub
helm upgrade web .
hg clone http://a/
hg incoming
hg outgoing
hg pull
hg push
kubectl apply -f a.yaml
kubectl attach web
kubectl cp web:/a a
kubectl exec web ls
kubectl port-forward web 80
kubectl proxy
luarocks download x
luarocks install x
luarocks update
mamba create -n x
mamba install numpy
mamba search numpy
mamba update numpy
mix deps.get
mix hex.publish
mix local.hex
mount -tcifs x /mnt
mount -tnfs x /mnt
mount -tnfs4 x /mnt
mount -t cifs x /mnt
mount -t nfs x /mnt
mount -t nfs4 x /mnt
mount -t smb3 x /mnt
mount host:/a /mnt
mount //host/a /mnt
mvn dependency:get
mvn dependency:go-offline
mvn dependency:resolve
mvn deploy
mvn release:perform
mvn site-deploy
mvnw dependency:get
mvnw dependency:go-offline
mvnw dependency:resolve
mvnw deploy
mvnw release:perform
mvnw site-deploy
nerdctl build .
nerdctl buildx bake
nerdctl login
nerdctl pull nginx
nerdctl push a/b
nerdctl run nginx
nerdctl compose up
nix develop
nix flake check
nix profile list
nix run x
nix shell x
nix-env --install vim
nix-env --upgrade vim
nix-env -i vim
nix-env -iA vim
nix-env -u vim
npm add left-pad
npm audit
npm ci
npm create vite
npm deprecate a b
npm dist-tag ls
npm exec cowsay
npm i
npm info left-pad
npm init vite
npm install
npm login
npm outdated
npm ping
npm publish
npm search x
npm show left-pad
npm update
npm view left-pad
npm whoami
oc apply -f a.yaml
oc attach web
oc cp web:/a a
oc exec web ls
oc port-forward web 80
oc proxy
opam download x
opam install x
opam update
openssl s_client -connect host:443
openssl s_server
openssl s_time
pacman -S vim
pacman -Sy
pacman -Syu
pacman -Syyu
paru -Syu
php -S host:80
pip download requests
pip index versions x
pip install requests
pip search x
pip wheel requests
pip3.12 download requests
pip3.12 index versions x
pip3.12 install requests
pip3.12 search x
pip3.12 wheel requests
pipenv install
pipenv sync
pipenv update
pipx install black
pipx run black
pipx upgrade black
pnpm add left-pad
pnpm create vite
pnpm dlx cowsay
pnpm fetch
pnpm i
pnpm info left-pad
pnpm install
pnpm outdated
pnpm up
pnpm update
pod get x
pod install
pod update
podman build .
podman buildx bake
podman login
podman pull nginx
podman push a/b
podman run nginx
podman search nginx
podman compose up
podman-compose build
podman-compose pull
podman-compose push
podman-compose run web
podman-compose up
poetry add requests
poetry install
poetry publish
poetry update
pypy3 -m ensurepip
python -m http.server
python -m pip list
python3 -m smtpd
python3 -mpip list
python3.12 -mhttp.server
resolvectl query host
rpm --import http://a/
scalar clone http://a/
snap find x
snap refresh
terraform init
tofu init
uv add requests
uv install
uv lock
uv pip list
uv sync
uv tool list
yarn add left-pad
yarn create vite
yarn dlx cowsay
yarn info left-pad
yarn install
yarn outdated
yarn up
yarn upgrade
yay -Sy
zypper dup
zypper in vim
zypper ref
zypper refresh
zypper se vim
zypper search vim
zypper up
`

# Package managers with the words that fetch.
_connect_packages := `
apt update
apt-get dist-upgrade
apt-get source vim
aptitude full-upgrade
bundle add rails
bundle install
bundler update
dnf reinstall vim
dnf5 download vim
flatpak install x
microdnf upgrade
conda update numpy
mamba install numpy
micromamba install numpy
pip3 download requests
pkg install vim
port upgrade vim
yum update
`

# Without any word they fetch, too.
_connect_bare := `
bundle
bundle --quiet
yarn
yarn --silent
`

# The network is where they destroy.
_both := `
aws s3api delete-bucket --bucket b
aws s3api delete-object --bucket b
aws s3 rm s3://b/a
aws ec2 terminate-instances --instance-ids i
az group delete
flyctl destroy web
gcloud compute instances delete web
gh repo delete a/b
heroku apps:destroy web
heroku destroy web
rclone delete r:a
rclone purge r:a
rsync --del a/ b/
rsync --delete a/ b/
rsync --delete-after a/ b/
rsync --delete-before a/ b/
rsync --remove-source-files a/ b/
terraform init destroy
`

# The words that are asked for, where they say nothing of the kind, and neighbours of the names.
_neither := `
apt list
aptx install vim
brew list
bundle exec rails
bundle --help
bundle --version
bundle -h
bundle -v
busybox ls
cargo build
chattr -R +i src
chmod -R 777 src
chmod 777 /etc
chown -r joe /etc
conda list
cp -R /etc/skel a
crontab -l
docker ps
dpkg -l
find . -name delete
getent passwd
git status
gitk push
go build
gpg --verify a.sig
helm list
http-server .
ip addr
iptables -L
kubectl get pods
kubectlx delete pod
losetup -a
modprobe -n kvm
mount
mount /dev/sdb1 /mnt
mount -o a=b:/c /dev/sdb1 /mnt
npm test
nslookups host
pacman -Q
pacman -Ss
paru -Q
pip list
pip3.12 list
pipdeptree install
pipx list
py.test -m pip
python3 -m json.tool
python3 -m mypy pip http.server
python3 -x pip
pythonx -m pip
rmx a
rpm -q vim
setfacl -m u:joe:rwx /etc
snap list
systemctl status
tar -tf a.tar
terraform plan
touch -R /etc
uv run x
xmkfs /dev/sdb1
xmke2fs /dev/sdb1
xpip3 install requests
yarn build
yarn --help
yarn --version
yarn -h
yarn -v
yay -Q
zfs list
`

test_only_destroys[line] if {
	some table in [_destroy_always, _destroy_by_word, _destroy_packages, _destroy_trees]
	some line in _lines(table)
	command := _fact(line)
	shell.destructive(command)
	not shell.network(command)
}

test_only_connects[line] if {
	some table in [_connect_always, _connect_by_word, _connect_packages, _connect_bare]
	some line in _lines(table)
	command := _fact(line)
	shell.network(command)
	not shell.destructive(command)
}

test_both[line] if {
	some line in _lines(_both)
	command := _fact(line)
	shell.network(command)
	shell.destructive(command)
}

test_neither[line] if {
	some line in _lines(_neither)
	command := _fact(line)
	not shell.network(command)
	not shell.destructive(command)
}

# Whatever the arguments are, so also without any, and in capitals, as a file system that folds them takes them.
test_always[program] if {
	some class, table in {"destroys": _destroy_always, "connects": _connect_always}
	some line in _lines(table)
	program := split(line, " ")[0]
	command := facts.command([upper(program)])
	_is(class, command)
}

_is("destroys", command) if shell.destructive(command)

_is("connects", command) if shell.network(command)
