package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"bordo/agent/statefile"
	"bordo/agent/uplink"
	"bordo/drivers"
)

// day is the number of snapshots of a running total, one every countsEvery, in a day.
const day = int(24 * time.Hour / countsEvery)

// countsEvery is the interval at which running totals are saved: a power cut loses what was counted since.
const countsEvery = 10 * time.Minute

// Names of the files in state_dir.
const (
	keptLearnt  = "learnt"
	keptMetas   = "descriptions"
	keptCounts  = "counts"
	keptBrokers = "brokers" // learned limits of each broker
)

// stateStore is what outlives the agent besides the records.
type stateStore struct {
	dir *statefile.Dir
	log interface {
		Error(msg string, args ...any)
	}

	mu      sync.Mutex
	drivers map[string]driverState // by device
	metas   map[string]meta        // devices whose meta is retained at the broker
	counts  counts
	brokers map[string]uplink.BrokerLimits // by URL
	disk    []uint64                       // bytes written to storage, the last day's snapshots, oldest first

	faults  map[string]error // why the last access to a file failed, by name
	pending map[string]any   // what could not be saved, by name
}

// driverState is what a driver found out about a device.
type driverState struct {
	Model string `json:"model"` // another model starts anew
	Data  []byte `json:"data"`
}

// meta is what a device's meta says, as far as the device said it, and which of its versions that is.
type meta struct {
	Rev   uint64              `json:"rev"`
	Sum   string              `json:"sum"`   // of the message, apart from rev
	Model string              `json:"model"` // as configured: of another one nothing is known
	About drivers.Description `json:"about"`
}

// counts are running totals.
type counts struct {
	Lost  uint64 `json:"lost"`  // records under gaps whose size is known, since the node was installed
	Month string `json:"month"` // UTC, 2026-03
	Bytes int64  `json:"bytes"` // handed to the broker's socket in that month
}

func (m *stateStore) load() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, v := range map[string]any{keptLearnt: &m.drivers, keptMetas: &m.metas, keptCounts: &m.counts,
		keptBrokers: &m.brokers} {
		if err := m.dir.Load(name, v); err != nil {
			m.log.Error("load state", "err", err)
			m.noteHeld(name, err)
		}
	}
	if m.drivers == nil {
		m.drivers = make(map[string]driverState)
	}
	if m.metas == nil {
		m.metas = make(map[string]meta)
	}
	if m.brokers == nil {
		m.brokers = make(map[string]uplink.BrokerLimits)
	}
}

// BrokerLimits returns the learned limits of a broker.
func (m *stateStore) BrokerLimits(url string) uplink.BrokerLimits {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.brokers[url]
}

// SetBrokerLimits saves the learned limits of a broker. It is called a handful of times per broker.
func (m *stateStore) SetBrokerLimits(url string, l uplink.BrokerLimits) {
	m.mu.Lock()
	m.brokers[url] = l
	all := maps.Clone(m.brokers)
	m.mu.Unlock()
	m.save(keptBrokers, all)
}

func (m *stateStore) driverStateOf(dev, model string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.drivers[dev]; l.Model == model {
		return l.Data
	}
	return nil
}

// setDriverState saves the driver state of a device. It is called when a device is new or changes, not in every poll.
func (m *stateStore) setDriverState(dev, model string, data []byte) {
	m.mu.Lock()
	m.drivers[dev] = driverState{model, data}
	all := maps.Clone(m.drivers)
	m.mu.Unlock()
	m.save(keptLearnt, all)
}

// removedDevices returns the devices that have left the configuration and whose meta may still be retained at the
// broker.
func (m *stateStore) removedDevices(devices []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for d := range m.metas {
		if !slices.Contains(devices, d) {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// descriptionOf is what a device said of itself in an earlier run, nil when nothing is known.
func (m *stateStore) descriptionOf(dev, model string) *drivers.Description {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.metas[dev]; ok && k.Model == model {
		return &k.About
	}
	return nil
}

// describe records, before it happens, that this meta of a device will be retained at the broker. It returns its rev,
// which is incremented when the content differs.
func (m *stateStore) describe(dev, model string, about drivers.Description, payload []byte) (rev uint64) {
	hash := sha256.Sum256(payload)
	sum := hex.EncodeToString(hash[:8])
	m.mu.Lock()
	old := m.metas[dev]
	if old.Sum == sum {
		m.mu.Unlock()
		return old.Rev
	}
	m.metas[dev] = meta{old.Rev + 1, sum, model, about}
	all := maps.Clone(m.metas)
	m.mu.Unlock()
	m.save(keptMetas, all)
	return old.Rev + 1
}

// clear records that the meta of a device is no longer retained at the broker.
func (m *stateStore) clear(dev string) {
	m.mu.Lock()
	delete(m.metas, dev)
	all := maps.Clone(m.metas)
	m.mu.Unlock()
	m.save(keptMetas, all)
}

// Sent counts bytes towards the month that now lies in.
func (m *stateStore) Sent(now time.Time, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if month := now.UTC().Format("2006-01"); m.counts.Month != month {
		m.counts.Month, m.counts.Bytes = month, 0
	}
	m.counts.Bytes += n
}

func (m *stateStore) lost(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Lost += n
}

func (m *stateStore) totals() counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// wrote takes a snapshot of the bytes that this process has caused to be written to storage.
func (m *stateStore) wrote(total uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = append(m.disk, total)
	if len(m.disk) > day+1 {
		m.disk = m.disk[1:]
	}
}

// diskDay returns the number of bytes written in the last day, or since the start.
func (m *stateStore) diskDay() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.disk) == 0 {
		return 0
	}
	return int64(m.disk[len(m.disk)-1] - m.disk[0])
}

// save writes a file. What cannot be written is tried again by retry.
func (m *stateStore) save(name string, v any) {
	err := m.dir.Save(name, v)
	m.note(name, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if delete(m.pending, name); err == nil {
		return
	}
	if m.pending == nil {
		m.pending = make(map[string]any)
	}
	m.pending[name] = v
}

// note takes down what became of an access to a file, and logs a fault when it begins or changes.
func (m *stateStore) note(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && (m.faults[name] == nil || m.faults[name].Error() != err.Error()) {
		m.log.Error("save state", "err", err)
	}
	m.noteHeld(name, err)
}

// noteHeld is note without the log, for those who hold mu. ErrOlder is no fault: the next save mends it.
func (m *stateStore) noteHeld(name string, err error) {
	if err == nil || errors.Is(err, statefile.ErrOlder) {
		delete(m.faults, name)
		return
	}
	if m.faults == nil {
		m.faults = make(map[string]error)
	}
	m.faults[name] = err
}

// retry saves again what could not be saved. It also tries to read files that were unreadable at the start and have not
// changed since.
func (m *stateStore) retry() {
	m.mu.Lock()
	faults, pending := maps.Clone(m.faults), maps.Clone(m.pending)
	m.mu.Unlock()
	for name := range faults {
		if v, ok := pending[name]; ok {
			m.save(name, v)
		} else if name != keptEnergy { // the accounts are saved again by flushAccounts
			var v any
			m.note(name, m.dir.Load(name, &v))
		}
	}
}

// unsaved is why some file cannot be saved, nil when all can be.
func (m *stateStore) unsaved() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.faults)) {
		return m.faults[name]
	}
	return nil
}

// hardware names the board, so that a spare box is noticed: its serial number, or else a hash of the machine id, which
// is not meant to leave the machine.
func hardware() string {
	for _, f := range []string{"/proc/device-tree/serial-number", "/sys/class/dmi/id/product_serial"} {
		if b, err := os.ReadFile(f); err == nil {
			if s := strings.Trim(string(b), "\x00 \n"); s != "" {
				return s
			}
		}
	}
	b, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append([]byte("bordo "), b...))
	return hex.EncodeToString(sum[:8])
}
