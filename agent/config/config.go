// Package config reads the one configuration file of a node.
//
// It promises that every fault of a file is reported at once, each with its position and with what is allowed; that a
// file with a fault yields no configuration; and that reading changes nothing: it creates no directory, opens no port,
// reads no secret. Secrets are files that are named here and read when they are used. Besides the file it reads only
// the directory of the site's own models, because their names decide whether the file is correct.
//
// The dialect is plain YAML with strict keys: no anchors, aliases, merge keys or tags, and no substitution of
// variables.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"bordo/drivers"
	"bordo/drivers/line"
)

// MaxFile is the size above which a file is not taken for a configuration.
const MaxFile = 1 << 20

// Limits that keep a node within what its hardware can do.
const (
	MaxLines   = 64  // lines of one node
	MaxDevices = 247 // devices of one line: the unit ids of Modbus
	MaxAbout   = 32  // keys under about, of one device
	MaxURLs    = 8   // brokers to choose from
	MaxText    = 256 // characters of one free text
)

// Config is a configuration without a fault, with every default filled in.
type Config struct {
	File string // as it was given to Load or Parse
	Sum  string // SHA-256 of the file's text, in hex

	Tenant, Node string // [a-z0-9][a-z0-9-]{0,47}; Node is also the MQTT client id
	Timezone     *time.Location
	Site         Site
	Clock        Clock
	Control      Control
	Simulation   bool // only pseudo terminals and loopback hosts are configured; shown in the status
	MQTT         MQTT
	Buffer       Buffer
	StateDir     string // small files that outlive the store; never inside Buffer.Dir
	ProfilesDir  string // models that the site brings itself; "" for none
	Lines        []Line

	Drivers []drivers.Driver // that were given to Load or Parse, with the models of ProfilesDir

	Warnings     Faults // allowed, but probably not intended
	Placeholders Faults // values copied from the sample: such a node must not run

	places map[string]Place // of the keys that name files
	source source
}

// Site is the location of the node.
type Site struct {
	Name     string
	Lat, Lon float64 // degrees, WGS 84; meaningful when Located
	Located  bool
	Opening  Opening
}

// Trust says what makes the wall clock believable.
type Trust string

// The kinds of trust.
const (
	TrustKernel Trust = "kernel" // set as long as the kernel says that something keeps it set (adjtimex)
	TrustSystem Trust = "system" // always: the box has a battery-backed clock, or it is a test
)

// Clock says when the wall clock counts as set.
type Clock struct{ Trust Trust }

// Control is where the running agent answers `bordo status`.
type Control struct{ Socket string } // path of a Unix socket

// Ack says whose word a record is removed from the store on.
type Ack string

// Whose word counts.
const (
	AckBroker   Ack = "broker"   // the broker's, on the connection that sent the record
	AckPlatform Ack = "platform" // the platform's acknowledgement on the ack topic; it must come at least every 2 s, or sync must be raised
)

// MQTT is the way to the centre.
type MQTT struct {
	URLs                          []*url.URL // mqtt:// or mqtts://, host and port always present
	Username                      string
	PasswordFile                  string // "" if none, as with the other files
	CAFile, CertFile, KeyFile     string // PEM; only with mqtts://
	Root                          string // first part of every topic
	Window                        int    // messages in flight
	MaxMessage                    int64  // bytes of the largest MQTT packet that is sent
	ReconnectMax, ReconnectJitter time.Duration
	Ack                           Ack
	HistoryRate                   float64 // messages of the history lane per second
	HistoryBytes                  int64   // bytes of the history lane per second
	HistoryJitter                 time.Duration
	HistoryGzip                   bool // the history lane uses histz
}

// Buffer is the store.
type Buffer struct {
	Dir           string
	MaxSize       int64         // bytes on disk
	Sync          time.Duration // a power cut loses at most this much
	History       int64         // bytes of acknowledged readings to keep; 0: none
	EnergyHistory int64         // bytes of acknowledged intervals to keep; 0: none
}

// Line is one port with the devices behind it. All of them have a model of Driver.
type Line struct {
	ID       string
	Endpoint line.Endpoint
	Driver   drivers.Driver
	Devices  []Device
}

// Device is one device of a line.
type Device struct {
	drivers.Device
	Spec     drivers.Model  // the driver's description of its model
	Report   Report         // which polls become records
	About    map[string]any // for meta: each value is a string, a bool or a float64; nil where none is given
	Personal bool           // its measurements are personal data: nothing of them stays here once acknowledged
}

// Load reads and checks the file at path against the models of the given drivers. The error is a Faults when the text
// has faults; otherwise it says why the file cannot be read.
func Load(path string, list []drivers.Driver) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(path, text, list)
	if err != nil {
		return nil, err
	}
	if c.source.file, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return c, nil
}

// Parse checks a text as Load does. name appears in the faults. The error is a Faults.
func Parse(name string, text []byte, list []drivers.Driver) (*Config, error) {
	return parse(name, text, list, strconv.IntSize)
}

// parse is Parse for a machine with words of the given size.
func parse(name string, text []byte, list []drivers.Driver, wordBits int) (*Config, error) {
	r := &reader{file: name, wordBits: wordBits, models: index(list), places: map[string]Place{}, drivers: list}
	root, ok := r.open(text)
	if !ok {
		return nil, r.faults.sorted()
	}
	c := r.config(root)
	if len(r.faults) > 0 {
		r.explain(text, root)
		return nil, r.faults.sorted()
	}
	sum := sha256.Sum256(text)
	c.File, c.Sum, c.places, c.Drivers = name, hex.EncodeToString(sum[:]), r.places, r.drivers
	c.Warnings = r.warnings.sorted()
	if !trial(c.MQTT.URLs) {
		c.Placeholders = r.left.sorted()
	}
	return c, nil
}
