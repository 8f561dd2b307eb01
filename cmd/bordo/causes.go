package main

import (
	"regexp"
	"strings"
)

// said lists patterns of error messages from this program, Go's library and the kernel, the more precise ones first.
// The translation of a pattern (package locale, context cause) replaces the line in which it is found; $1 is the match
// of its first group. HOST stands for an address with its port, FILE for the path of a file that was read. English
// output shows the original message, and so do status --json and the log in every language.
func said() []string {
	return []string{
		// Login and certificates.
		`refused by the broker: (?:user name or password is wrong|this user may not connect)`,
		`refused by the broker: the client id`,
		`refused by the broker`,
		`certificate signed by unknown authority|certificate is not trusted|self-signed certificate`,
		`the certificate in cert_file ended on ([^)]*)`,
		`certificate has expired or is not yet valid: current time \S+ is after (\S+)`,
		`certificate has expired or is not yet valid: current time \S+ is before (\S+)`,
		`certificate has expired or is not yet valid`,
		`certificate is valid for (.+), not (\S+)`,
		`certificate is not valid for any names[^:]*, but wanted to match (\S+)`,
		`cannot validate certificate for (\S+) because`,
		`relies on legacy Common Name`,
		`remote error: tls: (?:certificate required|bad certificate)`,
		`remote error: tls: (?:unknown certificate authority|unknown certificate|certificate unknown)`,
		`remote error: tls: expired certificate`,
		`remote error: tls: revoked certificate`,
		`protocol version not supported|remote error: tls: (?:handshake failure|no application protocol)`,
		`perhaps this port is without TLS`,
		`perhaps this port is for TLS`,
		`did not acknowledge within (\S+ s)`,
		`the own status did not come back|did not send it back`,
		// Directories of the agent, as package owner explains them.
		`the agent runs as root and (\S+) belongs to (\S+), .* (chown .+)$`,
		`(\S+) belongs to (\S+) and the agent runs as (\S+)\. As root: (.+)$`,
		`(\S+) belongs to (\S+) and does not let (\S+) in\. As root: (.+)$`,
		`(\S+) belongs to (\S+), whose rights to it are not enough\. As root: (.+)$`,
		`(\S+) is not there and cannot be made in (\S+), which belongs to (\S+)\. .* or as root: (.+)$`,
		`(\S+): read-only file system`,
		`(?:no space left on device|disk quota exceeded)\. Free space or inodes: (.+)\.$`,
		`The SD card or disk fails or has lost contact`,
		// Files.
		`FILE: no such file or directory`,
		`FILE: permission denied`,
		`FILE: is a directory`,
		`FILE: the file is empty`,
		`FILE: the password is not UTF-8`,
		`FILE: a password is one line`,
		`FILE: no certificate in PEM form`,
		`FILE: \d+ certificates begin`,
		`read (\S+) with (\S+): `,
		// Serial ports.
		`busy: another program has it open`,
		`no such port`,
		`the port exists but no device is behind it`,
		`permission denied \(add the user to group (\S+)\)`,
		`not a serial port`,
		`the adapter was unplugged or switched off`,
		// Networks.
		`lookup (\S+?)(?: on \S+)?: (?:no such host|.*misbehaving|.*name resolution)`,
		`the name of (\S+) cannot be resolved|lookup (\S+?)(?: on \S+)?: `,
		`HOST is there but nothing listens`,
		`HOST: connect: connection refused`,
		`no way to HOST from this network`,
		`HOST: connect: (?:no route to host|network is unreachable)`,
		`HOST(?: did not answer within|.*i/o timeout|.*connection timed out)`,
		`i/o timeout|context deadline exceeded|the other side does not acknowledge`,
		`connection reset by peer|broke the connection off|closed the connection|network Error : EOF|: EOF$|broken pipe`,
		`pingresp not received`,
		`connection lost`,
	}
}

// parts expands the placeholders in said.
func parts() *strings.Replacer {
	return strings.NewReplacer("HOST", `([A-Za-z0-9.\-]+|\[[0-9a-f:]+\]):\d+`, "FILE", `(?:read|open|stat) (/\S+?)`)
}

// causeText translates an error message as far as its pattern is known.
func causeText(text string, l *langValue) string {
	if *l != "it" || text == "" {
		return text
	}
	lines, words := strings.Split(text, "\n"), parts()
	for i, line := range lines {
		for _, pattern := range said() {
			found := regexp.MustCompile(words.Replace(pattern))
			if m := found.FindStringSubmatchIndex(line); m != nil {
				lines[i] = string(found.ExpandString(nil, l.Cause(pattern), line, m))
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}
