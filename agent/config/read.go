package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"bordo/contract"
	"bordo/drivers"
)

// Sizes of the store.
const (
	minStore   = 16 << 20
	maxStore   = 64 << 30
	maxStore32 = 512 << 20 // a 32-bit process maps every file of the store into its address space
)

// maxSocketPath is what fits into the address of a Unix socket on Linux (108 bytes with the final zero).
const maxSocketPath = 107

// defaults returns the configuration of a file that gives only the required keys.
func (r *reader) defaults() *Config {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		rome = time.UTC // reported as a fault where the file needs a zone
	}
	return &Config{
		Timezone: rome,
		Clock:    Clock{Trust: TrustKernel},
		MQTT: MQTT{
			Root:            contract.DefaultRoot,
			Window:          20,
			MaxMessage:      contract.MaxPayload,
			ReconnectMax:    30 * time.Second,
			ReconnectJitter: 2 * time.Second,
			Ack:             AckBroker,
			HistoryRate:     20,
			HistoryBytes:    256 << 10,
			HistoryJitter:   2 * time.Second,
		},
		Buffer: Buffer{
			Dir:           "/var/lib/bordo/buffer",
			MaxSize:       512 << 20,
			Sync:          5 * time.Second,
			History:       -1,
			EnergyHistory: -1,
		},
	}
}

// derive fills in what follows from other values.
func (c *Config) derive() {
	if c.Control.Socket == "" && c.Node != "" {
		c.Control.Socket = "/run/bordo/" + c.Node + ".sock"
	}
	if c.StateDir == "" {
		c.StateDir = filepath.Dir(c.Buffer.Dir)
	}
	if c.Buffer.History < 0 {
		c.Buffer.History = min(64<<20, c.Buffer.MaxSize/8)
	}
	if c.Buffer.EnergyHistory < 0 {
		c.Buffer.EnergyHistory = min(32<<20, c.Buffer.MaxSize/16)
	}
}

// config reads the whole file. The result is valid only if no fault was reported.
func (r *reader) config(root value) *Config {
	c := r.defaults()
	m, ok := root.keys()
	if !ok {
		return c
	}
	r.version(m.need("version", "write version: 1"))
	tenant := m.need("tenant", "the id of the customer, as in the topics")
	read(tenant, &c.Tenant, id)
	r.note(tenant, "tenant", c.Tenant)
	r.node(m.need("node", "the id of this box, as in the topics"), c)
	read(m.get("timezone"), &c.Timezone, zone)
	site := m.get("site")
	r.site(site, &c.Site)
	r.clock(m.get("clock"), &c.Clock)
	control := r.control(m.get("control"), &c.Control)
	read(m.get("simulation"), &c.Simulation, boolean)
	r.mqtt(m.need("mqtt", "where the readings go, at least mqtt: {url: mqtts://HOST:8883}"), c)
	buffer := r.buffer(m.get("buffer"), &c.Buffer)
	state := m.get("state_dir")
	read(state, &c.StateDir, path)
	r.profiles(m.get("profiles_dir"), c)
	r.lines(m.get("lines"), c)
	r.nights(site, c)
	m.end()
	c.derive()
	r.paths(c, control, buffer, state)
	return c
}

// profiles reads the models that the site brings itself.
func (r *reader) profiles(v value, c *Config) {
	if !read(v, &c.ProfilesDir, path) {
		return
	}
	// Before the profiles are read: a change in between is then noticed.
	if sum, err := sumOfProfiles(c.ProfilesDir); err == nil {
		c.source.profilesDir, c.source.profiles = c.ProfilesDir, sum
	}
	extended := slices.Clone(r.drivers)
	for i, d := range extended {
		x, ok := d.(drivers.Extensible)
		if !ok {
			continue
		}
		with, err := x.WithModels(c.ProfilesDir)
		if err != nil {
			r.partial = true
			for fault := range strings.SplitSeq(err.Error(), "\n") {
				v.fault("%s", fault)
			}
			continue
		}
		extended[i] = with
		if w, ok := with.(drivers.Warned); ok {
			for _, text := range w.Warnings() {
				v.warn("%s", text)
			}
		}
	}
	before := r.models
	r.drivers, r.models = extended, index(extended)
	for _, name := range r.models.names {
		if old, known := before.byName[name]; known && old.Verified != r.models.byName[name].Verified {
			v.warn("its %s takes the place of the model that is built in: unverified, and without commands", name)
		}
	}
}

func (r *reader) version(v value) {
	var n int
	read(v, &n, func(s scalar) (int, error) {
		if s != (scalar{number, "1"}) {
			return 0, fmt.Errorf("must be 1, the only version that this program knows (got %s)", got(s))
		}
		return 1, nil
	})
}

func (r *reader) node(v value, c *Config) {
	if read(v, &c.Node, id) && c.Node == contract.NodeDevice {
		v.fault("must not be %q: topics use that word for the box itself", contract.NodeDevice)
	}
	r.note(v, "node", c.Node)
}

func (r *reader) site(v value, s *Site) {
	m, ok := v.keys()
	if !ok {
		return
	}
	name := m.get("name")
	read(name, &s.Name, text)
	r.note(name, "site.name", s.Name)
	lat, lon := m.get("lat"), m.get("lon")
	hasLat := read(lat, &s.Lat, decimal(-90, 90, "degrees"))
	hasLon := read(lon, &s.Lon, decimal(-180, 180, "degrees"))
	switch {
	case lat.given() && !lon.given():
		lat.fault("needs lon beside it")
	case lon.given() && !lat.given():
		lon.fault("needs lat beside it")
	}
	s.Located = hasLat && hasLon
	r.opening(m.get("opening"), &s.Opening)
	m.end()
}

// nights warns when it cannot be known when inverters sleep.
func (r *reader) nights(site value, c *Config) {
	if c.Site.Located || c.Simulation || r.faulty(site) {
		return
	}
	var asleep []string
	for _, l := range c.Lines {
		for _, d := range l.Devices {
			if d.Spec.Sleeps {
				asleep = append(asleep, d.ID)
			}
		}
	}
	if len(asleep) == 0 {
		return
	}
	named := strings.Join(asleep[:min(len(asleep), maxNamed)], ", ")
	r.warnIn(site, fmt.Sprintf("has no lat and lon, so the agent does not know when it is night: each night the silence of %s is reported as a fault", named),
		fmt.Sprintf("mancano lat e lon, e l'agente non sa quando è notte: ogni notte il silenzio di %s sarà un guasto; scrivere site: {lat: 45.36, lon: 9.69} con le coordinate dell'impianto", named))
}

func (r *reader) clock(v value, c *Clock) {
	m, ok := v.keys()
	if !ok {
		return
	}
	read(m.get("trust"), &c.Trust, oneOf(TrustKernel, TrustSystem))
	m.end()
}

// control returns the value of the socket, at whose position faults about the path are reported.
func (r *reader) control(v value, c *Control) value {
	m, ok := v.keys()
	if !ok {
		return v
	}
	socket := m.get("socket")
	if read(socket, &c.Socket, path) && len(c.Socket) > maxSocketPath {
		socket.fault("must have at most %d bytes, the limit of Unix sockets (got %d)", maxSocketPath, len(c.Socket))
	}
	m.end()
	return socket
}

// leastMessage is the smallest limit of messages that can be configured: the status and an event have to fit.
const leastMessage = 2 << 10

func (r *reader) mqtt(v value, c *Config) {
	m, ok := v.keys()
	if !ok {
		return
	}
	q := &c.MQTT
	r.brokers(m.need("url", "the broker, such as mqtts://HOST:8883"), q, c.Simulation)
	user := m.get("username")
	read(user, &q.Username, text)
	r.note(user, "mqtt.username", q.Username)
	password := r.fileName(m.get("password_file"), &q.PasswordFile)
	ca := r.fileName(m.get("ca_file"), &q.CAFile)
	cert := r.fileName(m.get("cert_file"), &q.CertFile)
	key := r.fileName(m.get("key_file"), &q.KeyFile)
	r.credentials(q, user, password, ca, cert, key)
	read(m.get("root"), &q.Root, topicRoot)
	read(m.get("window"), &q.Window, whole(1, 100))
	read(m.get("max_message"), &q.MaxMessage, size(leastMessage, contract.MaxPayload))
	read(m.get("reconnect_max"), &q.ReconnectMax, duration(100*time.Millisecond, time.Hour))
	read(m.get("reconnect_jitter"), &q.ReconnectJitter, duration(0, 10*time.Minute))
	read(m.get("ack"), &q.Ack, oneOf(AckBroker, AckPlatform))
	read(m.get("history_rate"), &q.HistoryRate, perSecond(0.1, 1000))
	read(m.get("history_bytes"), &q.HistoryBytes, bytesPerSecond(1<<10, 1<<30))
	read(m.get("history_jitter"), &q.HistoryJitter, duration(0, 10*time.Minute))
	read(m.get("history_gzip"), &q.HistoryGzip, boolean)
	m.end()
}

// brokers takes one URL or several to choose from.
func (r *reader) brokers(v value, q *MQTT, simulation bool) {
	all := []value{v}
	if _, one := scalarIn(v); !one {
		all = v.list(MaxURLs)
		if v.given() && len(all) == 0 && !r.faulty(v) {
			v.fault("must have at least one URL")
		}
	}
	for _, v := range all {
		if _, ok := v.node.(*ast.MappingNode); ok {
			v.fault("must be a URL: put it in quotes, because of the colon in it")
			continue
		}
		var u *url.URL
		if !read(v, &u, broker) {
			continue
		}
		if simulation && !loopback(u.Hostname()) {
			v.fault("must be a loopback host, such as 127.0.0.1, because simulation is true (got %s)", u.Host)
		}
		r.note(v, "mqtt.url", u.Host)
		q.URLs = append(q.URLs, u)
	}
}

// loopback reports whether a host can only be this machine.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// fileName reads the name of a file that is opened at use, and remembers its place.
func (r *reader) fileName(v value, target *string) value {
	if read(v, target, path) {
		r.places[v.path] = v.at
	}
	return v
}

func (r *reader) credentials(q *MQTT, user, password, ca, cert, key value) {
	if password.given() && !user.given() {
		password.fault("needs username beside it")
	}
	if cert.given() && !key.given() {
		cert.fault("needs key_file beside it")
	}
	if key.given() && !cert.given() {
		key.fault("needs cert_file beside it")
	}
	if len(q.URLs) == 0 {
		return
	}
	tls, away := false, false
	for _, u := range q.URLs {
		tls = tls || u.Scheme == "mqtts"
		away = away || u.Scheme == "mqtt" && !loopback(u.Hostname())
	}
	for _, v := range []value{ca, cert, key} {
		if v.given() && !tls {
			v.fault("works only with mqtts://, and no url has it")
		}
	}
	if password.given() && away {
		r.warnIn(password, "goes over the network readable by everyone on the way: use mqtts://",
			"la password passa in chiaro per la rete, e chiunque la può leggere: usare mqtts://")
	}
}

func (r *reader) buffer(v value, b *Buffer) *mapping {
	m, ok := v.keys()
	if !ok {
		return m
	}
	most, lower := int64(maxStore), ""
	if r.wordBits == 32 {
		most, lower = maxStore32, " on a 32-bit system"
	}
	read(m.get("dir"), &b.Dir, path)
	whole := m.get("max_size")
	sized := read(whole, &b.MaxSize, size(minStore, maxStore))
	if sized && b.MaxSize > most {
		whole.fault("must be at most %s%s (got %s)", sizeText(most), lower, sizeText(b.MaxSize))
	}
	read(m.get("sync"), &b.Sync, duration(time.Second, 5*time.Minute))
	history, energy := m.get("history"), m.get("energy_history")
	read(history, &b.History, size(0, maxStore))
	read(energy, &b.EnergyHistory, size(0, maxStore))
	if kept := max(0, b.History) + max(0, b.EnergyHistory); kept > b.MaxSize/2 && sized == whole.given() {
		at := history
		if b.EnergyHistory > b.History {
			at = energy
		}
		at.fault("must leave half of max_size to what is not acknowledged yet (history and energy_history take %s of %s)",
			sizeText(kept), sizeText(b.MaxSize))
	}
	m.end()
	return m
}

// paths checks that nothing that must survive lies inside the store: a store that cannot be opened is set aside whole.
func (r *reader) paths(c *Config, socket value, buffer *mapping, state value) {
	dir := buffer.get("dir")
	if filepath.Dir(c.Buffer.Dir) == c.Buffer.Dir {
		dir.fault("must not be the root directory")
		return
	}
	if !state.given() && filepath.Dir(c.Buffer.Dir) == "/" {
		dir.fault("must be at least two directories deep, because the state is kept beside it, or give state_dir (got %s)", quote(c.Buffer.Dir))
	}
	if inside(c.StateDir, c.Buffer.Dir) {
		state.fault("must not be buffer.dir or inside it (got %s)", quote(c.StateDir))
	}
	if c.Control.Socket != "" && inside(c.Control.Socket, c.Buffer.Dir) {
		socket.fault("must not be inside buffer.dir (got %s)", quote(c.Control.Socket))
	}
}

// inside reports whether path is dir or below it.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
