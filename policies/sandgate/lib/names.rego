# METADATA
# title: names
# description: Commands by what they do. Lower case, without directories.
package sandgate.lib.names

# METADATA
# title: acts
# description: >-
#   The library knows of something that the program does to data, to the system or over the network. Of all others there
#   is nothing to ask. The programs of the tables of verbs are repeated here, unless the rules below know them, since a
#   set in the body of a function costs next to nothing and a table has to be fetched.
acts(program) if program in {
	"btrfs", "busybox", "cabal", "cargo", "cdk", "chattr", "chgrp",
	"chmod", "chown", "corepack", "cp", "crictl", "crontab", "dart", "dmsetup", "docker",
	"docker-compose", "dotnet", "dpkg", "eksctl", "find", "flutter", "fuser", "getent",
	"gio", "go", "gpg", "gpg2", "gradle", "gradlew", "helm", "hg", "incus", "install", "ip",
	"ip6tables", "ipset", "iptables", "iptables-legacy", "iptables-nft", "k3d", "kind", "kubectl", "loginctl",
	"losetup", "luarocks", "lxc", "mdadm", "minikube", "mix", "modprobe", "mount",
	"multipass", "mv", "mvn", "mvnw", "nerdctl", "nft", "nix", "nix-collect-garbage", "nix-env", "nvme",
	"oc", "opam", "openssl", "ostree", "pacman", "paru", "php", "pod",
	"podman", "podman-compose", "pulumi", "resolvectl", "rpm", "scalar", "serverless",
	"service", "setfacl", "sls", "sst", "systemctl", "tar", "tee", "terraform", "terragrunt", "tofu", "ufw",
	"uv", "vagrant", "vboxmanage", "virsh", "yay", "zfs", "zpool",
}

acts(program) if strings.any_prefix_match(program, ["git", "mke2fs", "mkfs", "pip", "py"])

acts(program) if destructive(program)

acts(program) if network(program)

acts(program) if package_manager(program)

# METADATA
# title: destructive
# description: >-
#   They delete, overwrite or stop whatever their arguments are. A set that is written into the body of a function is in
#   OPA's index: a program that is not in it costs next to nothing.
destructive(program) if program in {
	"badblocks", "blkdiscard", "blkzone", "cfdisk", "cryptsetup", "dd", "debugfs", "del-cli", "delgroup",
	"deluser", "dropdb", "dropuser", "fdisk", "fsck", "gdisk", "groupdel", "halt", "hdparm", "init", "kill",
	"killall", "killall5", "lvreduce", "lvremove", "mkdosfs", "mkexfatfs", "mkntfs", "mkreiserfs",
	"mkswap", "newfs", "nwipe", "parted", "pkill", "poweroff", "pvmove", "pvremove", "reboot", "rimraf", "rm",
	"rmdir", "rmmod", "scrub", "sfdisk", "sgdisk", "shred", "shutdown", "skill", "srm", "swapoff", "telinit",
	"trash", "trash-empty", "trash-put", "truncate", "umount", "unlink", "userdel", "vgreduce",
	"vgremove", "wipe", "wipefs", "zerofree",
}

# METADATA
# title: destructive verbs
# description: Arguments with which a command destroys, beside those of package managers; any position counts.
destructive_verbs := {
	"apk": {"del"},
	"aws": {"delete-bucket", "delete-object", "rm", "terminate-instances"},
	"az": {"delete"},
	"btrfs": {"delete"},
	"cargo": {"clean", "uninstall"},
	"cdk": {"destroy", "remove"},
	"crictl": {"rm", "rmi", "rmp", "stop", "stopp"},
	"crontab": {"-r"},
	"dmsetup": {"remove", "remove_all", "wipe_table"},
	"docker": {"down", "kill", "prune", "rm", "rmi", "stop"},
	"docker-compose": {"down", "kill", "rm", "stop"},
	"dpkg": {"--purge", "--remove", "-P", "-r"},
	"eksctl": {"delete"},
	"find": {"-delete"},
	"flyctl": {"destroy"},
	"fuser": {"--kill", "-k", "-km", "-mk"},
	"gcloud": {"delete"},
	"gh": {"delete"},
	"gio": {"remove", "trash"},
	"helm": {"delete", "rollback", "uninstall"},
	"heroku": {"apps:destroy", "destroy"},
	"hg": {"purge", "strip"},
	"incus": {"delete", "purge"},
	"ip": {"del", "delete", "flush"},
	"ip6tables": {"--delete", "--delete-chain", "--flush", "-D", "-F", "-X"},
	"ipset": {"destroy", "flush"},
	"iptables": {"--delete", "--delete-chain", "--flush", "-D", "-F", "-X"},
	"iptables-legacy": {"--delete", "--delete-chain", "--flush", "-D", "-F", "-X"},
	"iptables-nft": {"--delete", "--delete-chain", "--flush", "-D", "-F", "-X"},
	"k3d": {"delete"},
	"kind": {"delete"},
	"kubectl": {"delete", "drain", "replace"},
	"loginctl": {"kill-session", "kill-user", "terminate-seat", "terminate-session", "terminate-user"},
	"losetup": {"--detach", "--detach-all", "-D", "-d"},
	"lxc": {"delete", "purge"},
	"mdadm": {"--remove", "--stop", "--zero-superblock", "-S"},
	"minikube": {"delete"},
	"modprobe": {"--remove", "-r"},
	"multipass": {"delete", "purge"},
	"nerdctl": {"down", "kill", "prune", "rm", "rmi", "stop"},
	"nft": {"delete", "destroy", "flush"},
	"nix-collect-garbage": {"--delete-old", "-d"},
	"nix-env": {"--delete-generations", "--uninstall", "-e"},
	"nvme": {"format", "sanitize", "write-zeroes"},
	"oc": {"delete", "drain", "replace"},
	"ostree": {"prune"},
	"podman": {"down", "kill", "prune", "rm", "rmi", "stop"},
	"podman-compose": {"down", "kill", "rm", "stop"},
	"pulumi": {"destroy"},
	"rclone": {"delete", "purge"},
	"rpm": {"--erase", "-e", "-ev", "-evh"},
	"rsync": {"--del", "--delete", "--delete-after", "--delete-before", "--remove-source-files"},
	"scalar": {"delete"},
	"serverless": {"destroy", "remove"},
	"service": {"stop"},
	"sls": {"destroy", "remove"},
	"sst": {"destroy", "remove"},
	"systemctl": {"disable", "halt", "kill", "mask", "poweroff", "reboot", "stop"},
	"tar": {"--remove-files"},
	"terraform": {"apply", "destroy", "rm"},
	"terragrunt": {"apply", "destroy", "rm"},
	"tofu": {"apply", "destroy", "rm"},
	"ufw": {"disable", "reset"},
	"vagrant": {"destroy"},
	"vboxmanage": {"closemedium", "unregistervm"},
	"virsh": {"destroy", "undefine"},
	"zfs": {"destroy", "rollback"},
	"zpool": {"destroy", "labelclear"},
}

# METADATA
# title: network
# description: They reach the network whatever their arguments are.
network(program) if program in {
	"ab", "ansible", "ansible-playbook", "aria2c", "arping", "autossh", "aws", "axel", "az", "azcopy", "bunx",
	"cloudflared", "consul", "cpan", "cpanm", "cqlsh", "crane", "croc", "curl", "curlie", "cvs", "delv", "deno",
	"dhclient", "dig", "doctl", "dog", "doggo", "drill", "dumpcap", "elinks", "etcdctl", "fetchmail", "finger",
	"firebase", "fly", "flyctl", "fping", "ftp", "gcloud", "getmail", "gh", "git-remote-https", "glab", "grpcurl",
	"gsutil", "hcloud", "heroku", "host", "hping3", "http", "https", "hub", "iperf", "iperf3", "irssi", "kdig",
	"ldapadd", "ldapdelete", "ldapmodify", "ldapsearch", "lftp", "links", "lwp-download", "lwp-request", "lynx",
	"mail", "mailx", "mariadb", "mariadb-dump", "masscan", "mongo", "mongodump", "mongorestore", "mongosh",
	"mosh", "mosh-client", "mosh-server", "mount.cifs", "mount.nfs", "msmtp", "mtr", "mutt", "mysql",
	"mysqladmin", "mysqldump", "nc", "nc.openbsd", "nc.traditional", "ncat", "netcat", "netlify", "ngrok",
	"nix-channel", "nmap", "npx", "nslookup", "nsupdate", "ntpdate", "oci", "openvpn", "oras", "pg_dump",
	"pg_dumpall", "pg_restore", "ping", "ping6", "pnpx", "psql", "rclone", "rcp", "rdate", "redis-cli", "rexec",
	"rlogin", "rsh", "rsync", "rustscan", "rustup", "s3cmd", "s5cmd", "scp", "sendmail", "sftp", "siege",
	"skopeo", "slogin", "smbclient", "snmpget", "snmpset", "snmpwalk", "socat", "sqlcmd", "ssh", "ssh-copy-id",
	"ssh-keyscan", "sshfs", "sshpass", "svn", "swaks", "tailscale", "tcpdump", "telnet", "tftp", "tracepath",
	"tracepath6", "traceroute", "traceroute6", "transmission-cli", "tshark", "twine", "uvx", "valkey-cli",
	"vault", "vegeta", "vercel", "w3m", "websocat", "wget", "wget2", "whois", "wormhole", "wrangler", "wrk",
	"wscat", "xh", "youtube-dl", "yt-dlp", "zmap",
}

# METADATA
# title: network verbs
# description: Arguments with which a command reaches the network, beside those of package managers; any position counts.
network_verbs := {
	"apk": {"fetch"},
	"brew": {"fetch", "search", "tap"},
	"bun": {"i", "x"},
	"busybox": {"ftpget", "ftpput", "nc", "nslookup", "ping", "telnet", "wget"},
	"cabal": {"download", "install", "update"},
	"cargo": {"add", "binstall", "fetch", "install", "login", "owner", "publish", "search", "update", "yank"},
	"composer": {"create-project", "outdated", "require"},
	"conda": {"create", "search"},
	"corepack": {"install", "prepare"},
	"dart": {"get", "install", "update"},
	"docker": {"build", "buildx", "login", "pull", "push", "run", "search", "up"},
	"docker-compose": {"build", "pull", "push", "run", "up"},
	"dotnet": {"add", "nuget", "restore", "tool"},
	"flutter": {"get", "install", "update"},
	"gem": {"fetch", "push"},
	"getent": {"ahosts", "ahostsv4", "ahostsv6", "hosts"},
	"go": {"download", "get", "install", "tidy"},
	"gpg": {
		"--auto-key-locate", "--fetch-key", "--fetch-keys", "--keyserver", "--locate-external-keys",
		"--locate-keys", "--receive-keys", "--recv", "--recv-key", "--recv-keys", "--refresh-keys",
		"--search", "--search-keys", "--send-key", "--send-keys",
	},
	"gpg2": {
		"--auto-key-locate", "--fetch-key", "--fetch-keys", "--keyserver", "--locate-external-keys",
		"--locate-keys", "--receive-keys", "--recv", "--recv-key", "--recv-keys", "--refresh-keys",
		"--search", "--search-keys", "--send-key", "--send-keys",
	},
	"gradle": {"publish"},
	"gradlew": {"publish"},
	"helm": {"dep", "dependency", "fetch", "install", "pull", "push", "registry", "repo", "search", "upgrade"},
	"hg": {"clone", "incoming", "outgoing", "pull", "push"},
	"kubectl": {"apply", "attach", "cp", "exec", "port-forward", "proxy"},
	"luarocks": {"download", "install", "update"},
	"mamba": {"create", "search"},
	"mix": {"deps.get", "hex.publish", "local.hex"},
	"mount": {"-tcifs", "-tnfs", "-tnfs4", "cifs", "nfs", "nfs4", "smb3"},
	"mvn": {
		"dependency:get", "dependency:go-offline", "dependency:resolve", "deploy", "release:perform",
		"site-deploy",
	},
	"mvnw": {
		"dependency:get", "dependency:go-offline", "dependency:resolve", "deploy", "release:perform",
		"site-deploy",
	},
	"nerdctl": {"build", "buildx", "login", "pull", "push", "run", "up"},
	"nix": {"develop", "flake", "profile", "run", "shell"},
	"nix-env": {"--install", "--upgrade", "-i", "-iA", "-u"},
	"npm": {
		"audit", "ci", "create", "deprecate", "dist-tag", "exec", "i", "info", "init",
		"login", "outdated", "ping", "publish", "search", "show", "view", "whoami",
	},
	"oc": {"apply", "attach", "cp", "exec", "port-forward", "proxy"},
	"opam": {"download", "install", "update"},
	"openssl": {"s_client", "s_server", "s_time"},
	"pacman": {"-S"},
	"php": {"-S"},
	"pip": {"download", "index", "install", "search", "wheel"},
	"pipenv": {"install", "sync", "update"},
	"pipx": {"run"},
	"pnpm": {"create", "dlx", "fetch", "i", "info", "outdated", "up"},
	"pod": {"get", "install", "update"},
	"podman": {"build", "buildx", "login", "pull", "push", "run", "search", "up"},
	"podman-compose": {"build", "pull", "push", "run", "up"},
	"poetry": {"publish"},
	"resolvectl": {"query"},
	"rpm": {"--import"},
	"scalar": {"clone"},
	"snap": {"find", "refresh"},
	"terraform": {"init"},
	"tofu": {"init"},
	"uv": {"add", "install", "lock", "pip", "sync", "tool"},
	"yarn": {"create", "dlx", "info", "outdated", "up"},
	"zypper": {"dup", "in", "ref", "refresh", "se", "search", "up"},
}

# METADATA
# title: package manager
# description: Programs that fetch packages to install and remove installed ones.
package_manager(program) if program in {
	"apk", "apt", "apt-get", "aptitude", "brew", "bun", "bundle", "bundler", "composer", "conda", "dnf", "dnf5",
	"flatpak", "gem", "mamba", "microdnf", "micromamba", "npm", "pip", "pip3", "pipx", "pkg", "pnpm", "poetry",
	"port", "snap", "yarn", "yum", "zypper",
}

# METADATA
# title: installing
# description: Arguments with which a package manager reaches the network.
installing := {
	"add", "dist-upgrade", "download", "full-upgrade", "install", "reinstall", "source", "update", "upgrade",
}

# METADATA
# title: removing
# description: Arguments with which a package manager removes what is installed.
removing := {"autoremove", "erase", "purge", "remove", "rm", "uninstall", "unpublish"}
