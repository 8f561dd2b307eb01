package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Text writes the configuration with every default in its place, as a file that Parse reads back to the same values.
// Secrets are not in it: the configuration names only their files.
func (c *Config) Text() string {
	var w writer
	w.line(0, "version", "1")
	w.line(0, "tenant", quoted(c.Tenant))
	w.line(0, "node", quoted(c.Node))
	w.line(0, "timezone", quoted(c.Timezone.String()))
	c.Site.write(&w)
	w.line(0, "clock", "")
	w.line(1, "trust", string(c.Clock.Trust))
	w.line(0, "control", "")
	w.line(1, "socket", quoted(c.Control.Socket))
	w.line(0, "simulation", strconv.FormatBool(c.Simulation))
	c.MQTT.write(&w)
	w.line(0, "buffer", "")
	w.line(1, "dir", quoted(c.Buffer.Dir))
	w.line(1, "max_size", sizeText(c.Buffer.MaxSize))
	w.line(1, "sync", span(c.Buffer.Sync))
	w.line(1, "history", sizeText(c.Buffer.History))
	w.line(1, "energy_history", sizeText(c.Buffer.EnergyHistory))
	w.line(0, "state_dir", quoted(c.StateDir))
	w.text(0, "profiles_dir", c.ProfilesDir)
	if len(c.Lines) == 0 {
		w.line(0, "lines", "[]")
		return w.String()
	}
	w.line(0, "lines", "")
	for _, l := range c.Lines {
		l.write(&w)
	}
	return w.String()
}

// writer writes keys with their values, two spaces per level.
type writer struct{ strings.Builder }

func (w *writer) line(level int, key, value string) {
	w.WriteString(strings.Repeat("  ", level) + key + ":")
	if value != "" {
		w.WriteString(" " + value)
	}
	w.WriteByte('\n')
}

// text writes a key only where there is a value.
func (w *writer) text(level int, key, value string) {
	if value != "" {
		w.line(level, key, quoted(value))
	}
}

// quoted writes a text so that YAML reads it as a text.
func quoted(s string) string { return strconv.Quote(s) }

func (s Site) write(w *writer) {
	if s.Name == "" && !s.Located && !s.Opening.Given() {
		return
	}
	w.line(0, "site", "")
	w.text(1, "name", s.Name)
	if s.Located {
		w.line(1, "lat", strconv.FormatFloat(s.Lat, 'f', -1, 64))
		w.line(1, "lon", strconv.FormatFloat(s.Lon, 'f', -1, 64))
	}
	if !s.Opening.Given() {
		return
	}
	w.line(1, "opening", "")
	for _, d := range weekdays {
		var day []string
		for _, h := range s.Opening[d.day] {
			day = append(day, quoted(h.String()))
		}
		if len(day) > 0 {
			w.line(2, d.key, "["+strings.Join(day, ", ")+"]")
		}
	}
}

func (m MQTT) write(w *writer) {
	w.line(0, "mqtt", "")
	urls := make([]string, len(m.URLs))
	for i, u := range m.URLs {
		urls[i] = quoted(u.String())
	}
	w.line(1, "url", "["+strings.Join(urls, ", ")+"]")
	w.text(1, "username", m.Username)
	w.text(1, "password_file", m.PasswordFile)
	w.text(1, "ca_file", m.CAFile)
	w.text(1, "cert_file", m.CertFile)
	w.text(1, "key_file", m.KeyFile)
	w.line(1, "root", quoted(m.Root))
	w.line(1, "window", strconv.Itoa(m.Window))
	w.line(1, "max_message", sizeText(m.MaxMessage))
	w.line(1, "reconnect_max", span(m.ReconnectMax))
	w.line(1, "reconnect_jitter", span(m.ReconnectJitter))
	w.line(1, "ack", string(m.Ack))
	w.line(1, "history_rate", strconv.FormatFloat(m.HistoryRate, 'f', -1, 64)+"/s")
	w.line(1, "history_bytes", sizeText(m.HistoryBytes)+"/s")
	w.line(1, "history_jitter", span(m.HistoryJitter))
	w.line(1, "history_gzip", strconv.FormatBool(m.HistoryGzip))
}

func (l Line) write(w *writer) {
	w.line(1, "- id", quoted(l.ID))
	w.line(2, "port", quoted(l.Endpoint.String()))
	w.line(2, "devices", "")
	for _, d := range l.Devices {
		w.line(3, "- id", quoted(d.ID))
		w.line(4, "model", quoted(d.Model))
		if d.Unit != 0 {
			w.line(4, "unit", strconv.Itoa(d.Unit))
		}
		if !d.Spec.Unsolicited {
			w.line(4, "every", span(d.Every))
		}
		d.writePoints(w)
		if d.Personal {
			w.line(4, "personal", "true")
		}
		if len(d.About) == 0 {
			continue
		}
		w.line(4, "about", "")
		for _, key := range slices.Sorted(maps.Keys(d.About)) {
			w.line(5, key, aboutText(d.About[key]))
		}
	}
}

func aboutText(x any) string {
	switch x := x.(type) {
	case bool:
		return strconv.FormatBool(x)
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case string:
		return quoted(x)
	}
	panic(fmt.Sprintf("config: a value under about is a %T", x))
}
