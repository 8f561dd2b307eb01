package agent

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"bordo/agent/keep"
)

// day is how many snapshots of a running total, one each countsEvery, make a day.
const day = int(24 * time.Hour / countsEvery)

// countsEvery is how often running totals are written down: a power cut costs what was counted since.
const countsEvery = 10 * time.Minute

// Names of the files in state_dir.
const (
	keptLearnt = "learnt"
	keptMetas  = "metas"
	keptCounts = "counts"
)

// memory is what outlives the agent besides the records.
type memory struct {
	dir *keep.Dir
	log interface {
		Error(msg string, args ...any)
	}

	mu     sync.Mutex
	learnt map[string]learnt // by device
	metas  []string          // devices whose meta stands at the broker
	counts counts
	disk   []uint64 // bytes written to storage, the last day's snapshots, oldest first
}

// learnt is what a driver found out about a device.
type learnt struct {
	Model string `json:"model"` // another model starts anew
	Data  []byte `json:"data"`
}

// counts are running totals.
type counts struct {
	Lost  uint64 `json:"lost"`  // records under gaps whose size is known, since the node was installed
	Month string `json:"month"` // UTC, 2026-03
	Bytes int64  `json:"bytes"` // handed to the broker's socket in that month
}

func (m *memory) load() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, v := range map[string]any{keptLearnt: &m.learnt, keptMetas: &m.metas, keptCounts: &m.counts} {
		if err := m.dir.Load(name, v); err != nil {
			m.log.Error("load state", "err", err)
		}
	}
	if m.learnt == nil {
		m.learnt = make(map[string]learnt)
	}
}

func (m *memory) learntOf(dev, model string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.learnt[dev]; l.Model == model {
		return l.Data
	}
	return nil
}

// learn keeps what was found out about a device. It happens when a device is new or changes, not in every poll.
func (m *memory) learn(dev, model string, data []byte) {
	m.mu.Lock()
	m.learnt[dev] = learnt{model, data}
	all := maps.Clone(m.learnt)
	m.mu.Unlock()
	m.save(keptLearnt, all)
}

// gone returns the devices whose meta may stand at the broker although they have left the configuration.
func (m *memory) gone(devices []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, d := range m.metas {
		if !slices.Contains(devices, d) {
			out = append(out, d)
		}
	}
	return out
}

// describe notes, before it happens, that the metas of these devices will stand at the broker.
func (m *memory) describe(devices []string) {
	m.mu.Lock()
	for _, d := range devices {
		if !slices.Contains(m.metas, d) {
			m.metas = append(m.metas, d)
		}
	}
	all := slices.Clone(m.metas)
	m.mu.Unlock()
	m.save(keptMetas, all)
}

// clear notes that the meta of a device does not stand at the broker any more.
func (m *memory) clear(dev string) {
	m.mu.Lock()
	m.metas = slices.DeleteFunc(m.metas, func(d string) bool { return d == dev })
	all := slices.Clone(m.metas)
	m.mu.Unlock()
	m.save(keptMetas, all)
}

// sent counts bytes towards the month that now lies in.
func (m *memory) sent(now time.Time, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if month := now.UTC().Format("2006-01"); m.counts.Month != month {
		m.counts.Month, m.counts.Bytes = month, 0
	}
	m.counts.Bytes += n
}

func (m *memory) lost(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Lost += n
}

func (m *memory) totals() counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// wrote takes a snapshot of the bytes that this process has caused to be written to storage.
func (m *memory) wrote(total uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = append(m.disk, total)
	if len(m.disk) > day+1 {
		m.disk = m.disk[1:]
	}
}

// diskDay is how much was written in the last day, or since the start.
func (m *memory) diskDay() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.disk) == 0 {
		return 0
	}
	return int64(m.disk[len(m.disk)-1] - m.disk[0])
}

func (m *memory) save(name string, v any) {
	if err := m.dir.Save(name, v); err != nil {
		m.log.Error("save state", "err", err)
	}
}

// hardware names the board, so that a spare box is seen: its serial number, or else the machine id in hashed form, which is
// not meant to leave the machine.
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

// validUntil is when a client certificate ends, in ms UTC; 0 when there is none or it cannot be read.
func validUntil(certFile string) int64 {
	if certFile == "" {
		return 0
	}
	b, err := os.ReadFile(certFile)
	if err != nil {
		return 0
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return 0
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return 0
	}
	return cert.NotAfter.UnixMilli()
}
