package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// placeholder is a value in the sample and in documents that stands for one that only the site knows.
type placeholder struct {
	values []string
	hosts  []string // names, and endings of names that begin with a dot (RFC 2606 and 6761)
	en, it string   // what to write
}

// placeholders lists, by key, what check and run refuse. A node whose brokers are all on this machine is a trial or a
// simulation and may use any of them.
var placeholders = map[string]placeholder{
	"tenant": {values: []string{"my-tenant", "cremasco"}, en: "write the tenant that the centre gave you", it: "scrivere il tenant ricevuto dal centro"},
	"node": {values: []string{"my-node", "quintano"}, en: "write the name that the centre gave this box: it must be unique",
		it: "scrivere il nome che il centro ha dato a questo apparecchio: deve essere unico"},
	"site.name": {values: []string{"Name of the site", "Ecopiazzola di Quintano"}, en: "write the name of the site, or leave it out",
		it: "scrivere il nome del sito, o togliere la chiave"},
	"mqtt.username": {values: []string{"my-node", "quintano"}, en: "write the user name that the centre gave this box",
		it: "scrivere il nome utente che il centro ha dato a questo apparecchio"},
	"mqtt.url": {hosts: []string{"host", ".example", ".invalid", "example.com", "example.net", "example.org", ".example.com", ".example.net", ".example.org"},
		en: "write the address of the broker, from the centre: mqtts://HOST:PORT", it: "scrivere l'indirizzo del broker, ricevuto dal centro: mqtts://HOST:PORTA"},
	"port": {values: []string{"/dev/NAME"}, hosts: []string{"host", ".example", ".invalid"},
		en: "write where the line is; bordo scan finds it", it: "scrivere dove si trova la linea; bordo scan la trova"},
	"about.pod": {values: []string{"IT001E12345678"}, en: "write the point of delivery from the bill, or leave it out", it: "scrivere il POD della bolletta, o togliere la chiave"},
}

// note remembers a value at its place when it is a placeholder of the given key.
func (r *reader) note(v value, key, got string) {
	p := placeholders[key]
	if !v.given() || !slices.Contains(p.values, got) && !p.matches(got) {
		return
	}
	r.left = append(r.left, Fault{File: r.file, Place: v.at, Path: v.path,
		What: fmt.Sprintf("%s stands for your own: %s", quote(got), p.en), It: fmt.Sprintf("%s è solo un esempio: %s", quote(got), p.it)})
}

// matches reports whether a host, with or without a port, is one of the placeholder's.
func (p placeholder) matches(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.ContainsFunc(p.hosts, func(h string) bool { return host == h || h[0] == '.' && strings.HasSuffix(host, h) })
}

// trial reports whether all brokers are on this machine.
func trial(urls []*url.URL) bool {
	return !slices.ContainsFunc(urls, func(u *url.URL) bool { return !loopback(u.Hostname()) })
}
