// Package contract is the agreement between Bordo and a central system: the MQTT topics, the payloads, their JSON
// Schemas and the table of event types and conditions, version 1 of each.
//
// It promises that a published shape can be read for ever: additions do not raise the version, its decoders ignore
// unknown keys, and the messages under testdata/v1 must decode in every later version. It opens no connection, keeps no
// state and imports nothing of the agent, so a program of the centre may use it alone.
package contract

import (
	"fmt"
	"regexp"
)

// Version is the major version of topics ("v1") and payloads ("sv":1).
const Version = 1

// Limits of messages. The sender splits or refuses a message that would exceed them.
const (
	MaxPayload = 60 << 10  // bytes of one message; the smallest limit of the brokers in use is 64 KiB (ThingsBoard)
	MaxSamples = 500       // samples of one batch
	MaxSeq     = 1<<53 - 1 // the largest sequence number: the largest integer that JSON readers keep exactly
)

// Clock says how the time of a record was got.
type Clock string

// The qualities of time.
const (
	ClockSync Clock = "sync" // the clock was set by a trusted source
	ClockEst  Clock = "est"  // stamped before the clock was set, corrected afterwards by monotonic time
	ClockFree Clock = "free" // the clock was not set: order is right, the time of day may be wrong
)

// Valid reports whether c is one of the three.
func (c Clock) Valid() bool { return c == ClockSync || c == ClockEst || c == ClockFree }

// Quality is the code of a value that is not good, as OPC and Sparkplug number them.
type Quality uint16

// The qualities. Good is implied and never sent.
const (
	QualityBad       Quality = 0   // no value: the device says "not available", or it is out of range
	QualityUncertain Quality = 64  // a value, but something about it is doubtful
	QualityGood      Quality = 192 // implied
	QualityStale     Quality = 500 // the last value known, too old to be current
)

// NodeDevice is the reserved device id under which a node speaks of itself.
const NodeDevice = "node"

// IDPattern and KeyPattern are the forms of ids (tenant, node, device) and of point keys, as regular expressions.
// Such an id is legal in MQTT, NATS, RabbitMQ, host names and certificate subjects alike.
const (
	IDPattern    = `^[a-z0-9][a-z0-9-]{0,47}$`
	KeyPattern   = `^[a-z][a-z0-9_]{0,63}$`
	EpochPattern = `^[0-9a-z]{8}$`
)

// The character sets of the patterns, without the lengths: a counted repetition costs a regular expression 20 kB for
// the lifetime of the program.
const (
	maxID  = 48
	maxKey = 64
)

var (
	idForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	keyForm   = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	epochForm = regexp.MustCompile(EpochPattern)
)

// CheckID returns what is wrong with a tenant, node or device id, nil if nothing is.
func CheckID(id string) error {
	if len(id) > maxID || !idForm.MatchString(id) {
		return fmt.Errorf("id %q must be 1 to 48 of a-z, 0-9 and -, not beginning with -", id)
	}
	return nil
}

// CheckDevice is CheckID for a device of a node: the id "node" is reserved.
func CheckDevice(id string) error {
	if id == NodeDevice {
		return fmt.Errorf("device id %q is reserved for the node itself", id)
	}
	return CheckID(id)
}

// CheckKey returns what is wrong with the key of a point, nil if nothing is.
func CheckKey(key string) error {
	if len(key) > maxKey || !keyForm.MatchString(key) {
		return fmt.Errorf("point key %q must be 1 to 64 of a-z, 0-9 and _, beginning with a letter", key)
	}
	return nil
}

// CheckEpoch returns what is wrong with an epoch, nil if nothing is.
func CheckEpoch(ep string) error {
	if !epochForm.MatchString(ep) {
		return fmt.Errorf("epoch %q must be 8 of a-z and 0-9", ep)
	}
	return nil
}
