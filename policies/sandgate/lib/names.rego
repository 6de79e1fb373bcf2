# METADATA
# title: names
# description: Commands by what they do. Lower case, without directories.
package sandgate.lib.names

# METADATA
# title: system directories
# description: Where the programs of the machine are; an empty name is looked up in PATH.
system_directories := {"", "/bin", "/usr/bin"}

# METADATA
# title: destructive
# description: They delete, overwrite or stop whatever their arguments are.
destructive := {
	"badblocks", "blkdiscard", "cfdisk", "cryptsetup", "dd", "debugfs", "delgroup", "deluser", "fdisk", "fsck",
	"gdisk", "groupdel", "halt", "hdparm", "init", "lvremove", "mkswap", "newfs", "parted", "poweroff", "pvremove",
	"reboot", "rm", "rmdir", "scrub", "sfdisk", "sgdisk", "shred", "shutdown", "srm", "telinit", "truncate", "unlink",
	"userdel", "vgremove", "wipe", "wipefs",
}

# METADATA
# title: destructive prefixes
# description: Families of names.
destructive_prefixes := {"mkfs.", "mkfs", "mke2fs"}

# METADATA
# title: destructive verbs
# description: Arguments with which a command destroys; any position counts.
destructive_verbs := {
	"apk": {"del"},
	"dpkg": {"--purge", "--remove", "-P", "-r"},
	"aws": {"rm", "delete-bucket", "delete-object", "terminate-instances"},
	"az": {"delete"},
	"cargo": {"clean"},
	"crictl": {"rm", "rmi", "rmp", "stop", "stopp"},
	"crontab": {"-r"},
	"docker": {"kill", "prune", "rm", "rmi", "stop"},
	"find": {"-delete"},
	"flyctl": {"destroy"},
	"gcloud": {"delete"},
	"gh": {"delete"},
	"helm": {"delete", "rollback", "uninstall"},
	"heroku": {"apps:destroy", "destroy"},
	"hg": {"purge", "strip"},
	"kubectl": {"delete", "drain", "replace"},
	"nerdctl": {"kill", "prune", "rm", "rmi", "stop"},
	"oc": {"delete", "drain", "replace"},
	"podman": {"kill", "prune", "rm", "rmi", "stop"},
	"pulumi": {"destroy"},
	"rsync": {"--delete", "--del", "--delete-after", "--delete-before", "--remove-source-files"},
	"systemctl": {"disable", "halt", "kill", "mask", "poweroff", "reboot", "stop"},
	"tar": {"--remove-files"},
	"terraform": {"apply", "destroy"},
	"terragrunt": {"apply", "destroy"},
	"tofu": {"apply", "destroy"},
	"zfs": {"destroy"},
	"zpool": {"destroy"},
}

# METADATA
# title: network
# description: They reach the network whatever their arguments are.
network := {
	"aria2c", "aws", "axel", "az", "bunx", "curl", "cvs", "dig", "drill", "elinks", "finger", "ftp", "gcloud", "gh",
	"glab", "gsutil", "host", "http", "https", "hub", "lftp", "links", "lynx", "mail", "mailx", "masscan", "mosh",
	"msmtp", "mtr", "mutt", "nc", "nc.openbsd", "nc.traditional", "ncat", "netcat", "nmap", "npx", "nslookup",
	"ntpdate", "ping", "ping6", "rclone", "rcp", "rdate", "rlogin", "rsh", "rsync", "s3cmd", "scp", "sendmail",
	"sftp", "smbclient", "socat", "ssh", "ssh-copy-id", "ssh-keyscan", "sshfs", "svn", "swaks", "telnet", "tftp",
	"tracepath", "traceroute", "uvx", "w3m", "wget", "wget2", "whois", "xh", "youtube-dl", "yt-dlp",
}

# METADATA
# title: network verbs
# description: Arguments with which a command reaches the network; any position counts.
network_verbs := {
	"bun": {"add", "i", "install", "update", "x"},
	"busybox": {"wget", "nc", "telnet", "ftpget", "ftpput", "ping", "nslookup"},
	"cargo": {"add", "fetch", "install", "login", "publish", "search", "update"},
	"composer": {"create-project", "install", "require", "update"},
	"conda": {"create", "install", "search", "update"},
	"corepack": {"install", "prepare"},
	"docker": {"login", "pull", "push", "search"},
	"dotnet": {"add", "restore"},
	"gem": {"fetch", "install", "push", "update"},
	"getent": {"ahosts", "ahostsv4", "ahostsv6", "hosts"},
	"go": {"download", "get", "install"},
	"hg": {"clone", "incoming", "outgoing", "pull", "push"},
	"mamba": {"create", "install", "search", "update"},
	"nerdctl": {"login", "pull", "push"},
	"npm": {"add", "audit", "ci", "exec", "i", "install", "login", "publish", "update", "view"},
	"openssl": {"s_client", "s_server", "s_time"},
	"pacman": {"-S", "-Sy", "-Syu", "-Syyu"},
	"pip": {"download", "index", "install", "search", "wheel"},
	"pipenv": {"install", "sync", "update"},
	"pipx": {"install", "run", "upgrade"},
	"pnpm": {"add", "dlx", "fetch", "i", "install", "update"},
	"podman": {"login", "pull", "push", "search"},
	"poetry": {"add", "install", "publish", "update"},
	"resolvectl": {"query"},
	"terraform": {"init"},
	"tofu": {"init"},
	"uv": {"add", "install", "pip", "sync", "tool"},
	"yarn": {"add", "dlx", "install", "upgrade"},
}

# METADATA
# title: package managers
# description: Programs that fetch packages to install and remove installed ones.
package_managers := {
	"apk", "apt", "apt-get", "aptitude", "brew", "bundle", "bundler", "dnf", "gem", "npm", "pip", "pip3", "snap", "yum",
	"zypper",
}

# METADATA
# title: installing
# description: Arguments with which a package manager reaches the network.
installing := {"add", "dist-upgrade", "download", "full-upgrade", "install", "reinstall", "source", "update", "upgrade"}

# METADATA
# title: removing
# description: Arguments with which a package manager removes what is installed.
removing := {"autoremove", "erase", "purge", "remove", "rm", "uninstall", "unpublish"}
