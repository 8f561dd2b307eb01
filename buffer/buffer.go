// Package buffer stores records between measuring and forwarding. A record enters with a class and a time span and
// leaves only after an acknowledgement. The store keeps opaque bytes on Badger and does not interpret them.
//
// It promises that an identity (epoch, sequence) is never reused and never carries two payloads, that opening never
// fails permanently, that a sealed record survives a power cut, and that everything evicted, cut off or damaged is
// reported as a [Gap]. It does not promise order between classes, and may deliver a record again after a crash: the
// receiver removes duplicates by identity.
//
// Terms used throughout: a record is sealed once a synced transaction has written it to disk. Fresh and Backlog deliver
// records and lease them: no other call returns a leased record until Settle acknowledges it or Release returns it. New
// records are on the live lane, in memory. Sealed records that were not acknowledged in time are on the history lane,
// in blocks on disk. A segment is a run of blocks whose space is reclaimed together. While the directory is unusable
// the store runs from memory, in an epoch of its own.
//
// DESIGN.md beside this file states the fault model, the format on disk and the limits.
package buffer

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"time"
)

// Class decides how a record is sealed, in which order it is evicted when space runs out, and whether it is kept after
// its acknowledgement.
type Class uint8

const (
	// Any means all classes in a [Gap]. No record has it.
	Any Class = iota
	// Event is something that happened: sealed before Append returns, evicted last.
	Event
	// Interval is the energy of one finished quarter of an hour. It is sealed like a reading and kept for years.
	Interval
	// Reading is a report of a device. It stays in memory and is sealed only if it is not acknowledged in time.
	Reading
	// Card is personal data even as a pseudonym. It is sealed immediately and erased when it is acknowledged or a week
	// old.
	Card

	// Records of devices marked personal are stored apart from the others of their class, because they are not kept
	// after their acknowledgement. Outside the store they have the class that public returns.
	privateReading
	privateInterval
	privateEvent

	classes = int(privateEvent) + 1
)

// public returns the class that users of the store see.
func (c Class) public() Class {
	switch c {
	case privateReading:
		return Reading
	case privateInterval:
		return Interval
	case privateEvent:
		return Event
	}
	return c
}

// private returns the class under which records of a personal device are stored.
func (c Class) private() Class {
	switch c {
	case Reading:
		return privateReading
	case Interval:
		return privateInterval
	case Event:
		return privateEvent
	}
	return c
}

// erased reports whether records of this class are removed from the files soon after they were acknowledged.
func (c Class) erased() bool { return c == Card || c != c.public() }

// String returns the name of the class as used in gaps, logs and messages.
func (c Class) String() string {
	switch c.public() {
	case Any:
		return "any"
	case Event:
		return "event"
	case Interval:
		return "interval"
	case Reading:
		return "reading"
	case Card:
		return "card"
	}
	return "class-" + strconv.Itoa(int(c))
}

// ParseClass is the inverse of [Class.String] for the classes that records have.
func ParseClass(s string) (Class, error) {
	for c := Event; c <= Card; c++ {
		if c.String() == s {
			return c, nil
		}
	}
	return Any, errors.New("parse class " + strconv.Quote(s) + ": must be event, interval, reading or card")
}

// known reports whether records can have this class.
func (c Class) known() bool { return c >= Event && c <= Card }

// atOnce reports whether Append seals a record of this class before it returns.
func (c Class) atOnce() bool { return c == Event || c == Card }

// ID identifies a record permanently. Seq rises within an Epoch, across all classes. A new Epoch begins each time the
// store opens.
type ID struct {
	Epoch string
	Seq   uint64
}

// String returns the id that events carry: epoch, a hyphen, sequence.
func (id ID) String() string { return id.Epoch + "-" + strconv.FormatUint(id.Seq, 10) }

// Record is one stored record. From and To are the time span of its payload in milliseconds since 1970 UTC, 0 when
// unknown. The store owns Payload: read it, do not change it.
type Record struct {
	ID
	Class    Class
	From, To int64
	Payload  []byte
}

// cost returns the maximum size of the record in a block before compression, in bytes.
func (r *Record) cost() int { return len(r.Payload) + recordCost }

// Codec turns records into the body of a block and back. Seal receives records of one class and one epoch, Seq
// ascending. Open must return the same identities, time spans and payloads in the same order; the store sets the class.
// Open must depend on the block alone, not on earlier calls. The store never calls the codec from two goroutines at
// once.
type Codec interface {
	Seal(recs []Record) ([]byte, error)
	Open(block []byte) ([]Record, error)
}

// Limits that are part of the format or of Badger's settings.
const (
	// MaxPayload is the largest payload that Append takes, in bytes.
	MaxPayload = 64 << 10
	// blockPayload is the maximum payload of one block in bytes, counting recordCost for each record. Even an
	// incompressible body then stays below Badger's limit for one transaction (15 % of a memtable of 1 MiB) and below
	// the limit of tablePiece.
	blockPayload = 96 << 10
	// recordCost is the maximum size of a record's identity and time span: four numbers as varints.
	recordCost = 33
	// bodyMax is the maximum body of a block: blockPayload plus what is stored once for all records.
	bodyMax = blockPayload + 64
	// blockRecords is the maximum number of records in a block.
	blockRecords = 4096
)

// Defaults of [Options].
const (
	DefaultMaxSize = 512 << 20
	DefaultSync    = 5 * time.Second
	DefaultReserve = 32 << 20
	DefaultMemory  = 4 << 20
)

// Options are the settings of a store. The zero value works.
type Options struct {
	// Codec packs records into blocks; nil stores them length-prefixed and compressed.
	Codec Codec
	// MaxSize bounds the files on disk, in bytes; 0 means DefaultMaxSize.
	MaxSize int64
	// History is the number of bytes of acknowledged readings kept for replay. With 0 none are kept, and readings
	// acknowledged within Sync are never written.
	History int64
	// EnergyHistory is the number of bytes of acknowledged intervals kept; 0 keeps none. Readings never displace them.
	EnergyHistory int64
	// Sync is the time after which an unacknowledged record is sealed. A power cut loses at most this much. 0 means
	// DefaultSync.
	Sync time.Duration
	// Memory bounds the payload held in memory, in bytes; beyond it records are sealed early. 0 means DefaultMemory.
	Memory int64
	// Reserve is the free space that the store leaves on the file system; below it nothing is written. 0 means
	// DefaultReserve.
	Reserve int64
	// DiskFree returns the free bytes of the file system that holds dir. nil asks the kernel.
	DiskFree func(dir string) (uint64, error)
	// Trusted returns the time of day and whether it can be trusted. It is used only to count how long a box was
	// switched off while it held personal data. nil means unknown. A clock jump while the store is open has no effect.
	Trusted func() (now time.Time, ok bool)
	// First returns the payload of the [Event] that becomes the first record of an epoch that begins while the store is
	// open, because its directory has become usable. It is called without any lock, once per such epoch. With nil there
	// is no such record.
	First func(o Opened) []byte
	// Rand supplies the random half of an epoch; nil means crypto/rand.
	Rand io.Reader
	// Logger receives changes of state; nil discards them.
	Logger *slog.Logger

	refuse func() error // for tests: simulates a file system that refuses the directory
}

// withDefaults replaces zero values by defaults.
func (o Options) withDefaults() Options {
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.Sync <= 0 {
		o.Sync = DefaultSync
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	if o.Reserve <= 0 {
		o.Reserve = DefaultReserve
	}
	if o.DiskFree == nil {
		o.DiskFree = diskFree
	}
	if o.Trusted == nil {
		o.Trusted = func() (time.Time, bool) { return time.Time{}, false }
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Errors that a caller decides on.
var (
	// ErrInUse means that another process has the store open.
	ErrInUse = errors.New("store is in use by another process")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrNotSealed means that the record has its identity and will be delivered, but would not survive a power cut,
	// because the disk is full or unusable.
	ErrNotSealed = errors.New("record is held in memory only")
	// ErrPayload means that the payload is empty or larger than MaxPayload, or that records cannot have this class.
	ErrPayload = errors.New("record cannot be stored")
)

// Opened describes what Open found. The agent reports it as the first event of the epoch.
type Opened struct {
	Epoch string
	// PrevEpoch is the previous epoch, empty when there was none or it is unknown.
	PrevEpoch string
	// PrevLastSealed is the highest sequence of PrevEpoch that is known to have reached the disk.
	PrevLastSealed uint64
	// Clean reports that the store was closed properly before and nothing is missing.
	Clean bool
	// SetAside is the directory into which damaged files were moved. It is empty when no file was damaged.
	SetAside string
	// Damage describes in words what was damaged. It is empty when nothing was.
	Damage string
	// Memory reports that the directory is unusable. Records are held in memory only, in an epoch of their own, until
	// it becomes usable.
	Memory bool
}

// Gap is a range of identities that may never arrive. A receiver keeps records from inside the range: it marks where
// losses are possible and does not list them.
type Gap struct {
	Key    uint64 // identifies the gap for GapReported
	Epoch  string // empty: an epoch that is no longer known
	Class  Class  // Any: all classes
	From   uint64
	To     *uint64 // nil: no upper end is known
	Reason Reason
	Count  uint64 // number of lost records, 0 when unknown
}

// Reason says why records of a gap may be missing.
type Reason string

const (
	// Unclean: a power cut or crash lost the records that were not yet sealed.
	Unclean Reason = "unclean"
	// Damaged: the disk returned less than was written.
	Damaged Reason = "damaged"
	// Evicted: records were discarded because the store was full.
	Evicted Reason = "evicted"
	// DiskFull: records were discarded because nothing could be written and memory was full.
	DiskFull Reason = "disk_full"
	// Retention: personal data reached its age limit.
	Retention Reason = "retention"
	// FromMemory: nothing is lost yet. The epoch exists only in memory, so records that are not delivered before the
	// process ends are lost, and the disk cannot record that. With an empty Epoch it means that the content of the disk
	// cannot be read at present.
	FromMemory Reason = "memory"
)

// Span describes the unacknowledged part of one epoch: N records between First and Last. Nothing below First is missing
// unless a gap says so.
type Span struct {
	Epoch       string
	First, Last uint64
	N           uint64
}
