package facts

import "strings"

// networkPrograms reach for the network whatever they are told.
var networkPrograms = words(`curl wget wget2 aria2c http https httpie xh nc ncat netcat socat telnet ftp sftp lftp tftp ssh scp sshfs mosh rsh rlogin rclone ping ping6
	traceroute tracepath mtr dig nslookup host whois nmap masscan hping3 arping tcpdump tshark iperf iperf3 kubectl oc helm aws gcloud az doctl gh glab hub
	psql mysql mongosh redis-cli sendmail mail mutt msmtp swaks lynx links w3m elinks youtube-dl yt-dlp npx bunx pnpx uvx pipx ngrok cloudflared chisel`)

// networkSubs are the subcommands with which a program does.
var networkSubs = map[string]string{
	"git": " clone fetch pull push ls-remote fetch-pack send-pack send-email svn p4 cvsimport archimport request-pull daemon instaweb imap-send remote-http remote-https remote-ext http-fetch http-push ",
	"npm": " install i ci add update publish audit view info search login exec create init outdated ", "yarn": " install add upgrade dlx publish ", "pnpm": " install i add update dlx publish ",
	"pip": " install download index search wheel ", "pip3": " install download index search wheel ", "uv": " sync add pip tool lock publish ", "poetry": " install add update lock publish ", "cargo": " install fetch publish search add update login ",
	"go": " get install ", "gem": " install update fetch push search ", "bundle": " install update add ", "composer": " install update require create-project ", "docker": " pull push login build run search ", "podman": " pull push login build run search ",
	"apt": " install update upgrade download source ", "apt-get": " install update upgrade download source ", "dnf": " install update upgrade download ", "yum": " install update upgrade ", "apk": " add update upgrade fetch ", "brew": " install update upgrade fetch ", "pacman": " -S -Sy -Syu ",
	"terraform": " init apply plan destroy ", "openssl": " s_client s_server ocsp ", "busybox": " wget nc telnet ftpget ftpput ping nslookup tftp httpd ",
}

// networkModules are the modules of Python that reach for the network.
var networkModules = words(`socket ssl http urllib urllib2 urllib3 requests httpx aiohttp ftplib smtplib imaplib poplib nntplib telnetlib xmlrpc paramiko socketserver asyncssh websockets
	websocket boto3 botocore pycurl grpc redis pymongo psycopg2 psycopg pymysql kubernetes docker`)

// reaches reports whether the command is known to reach for the network.
func (c *Command) reaches() bool {
	for _, r := range c.Redirects {
		if r.Network {
			return true
		}
	}
	if networkPrograms[c.Base] {
		return true
	}
	if subs, ok := networkSubs[c.Base]; ok {
		sub := ""
		if c.Git != nil {
			sub = c.Git.Sub
		} else if args := dropFlags(c.Args); len(args) > 0 {
			sub = args[0].approx
		}
		return sub != "" && strings.Contains(subs, " "+sub+" ")
	}
	if c.Python != nil {
		for _, m := range c.Python.Imports {
			if top, _, _ := strings.Cut(m, "."); networkModules[top] {
				return true
			}
		}
	}
	if c.Base == "rsync" {
		for _, g := range c.Args {
			if remotePath("rsync", g.approx) || strings.HasPrefix(g.approx, "rsync://") {
				return true
			}
		}
	}
	return false
}
