// Package archive shows the content of a node's store: how much, what, and each record as a message of the contract.
//
// It promises to hold only a few records at a time, whatever the store contains; to skip and count unreadable records;
// and never to reveal more of cards or of devices marked personal than their number. It only reads, from the store of a
// running agent or from an inspected one.
package archive

import (
	"bordo/buffer"
	"bordo/contract"
)

// Archive reads a store. Its methods may be called concurrently.
type Archive struct {
	store        *buffer.Store
	tenant, node string
}

// New makes an archive of a store. The messages carry the ids of tenant and node; the store stays with who opened it.
func New(store *buffer.Store, tenant, node string) *Archive {
	return &Archive{store, tenant, node}
}

// Stat is the amount of stored data.
type Stat struct {
	Epoch  string `json:"epoch"` // "" in a store that was never used
	Next   uint64 `json:"next"`
	Bytes  int64  `json:"bytes"`     // on disk, with everything beside the records
	Max    int64  `json:"max_bytes"` // that Bytes may become
	Memory int    `json:"memory"`    // records that are not acknowledged and held in memory
	Fault  string `json:"fault,omitempty"`
	// FromMemory means that the agent cannot use the directory. Classes and Epochs then say nothing about its content.
	FromMemory bool `json:"from_memory,omitempty"`

	Classes []ClassStat        `json:"classes"`
	Epochs  []EpochStat        `json:"epochs,omitempty"` // oldest first
	Backlog []contract.Backlog `json:"backlog,omitempty"`
	Gaps    []GapStat          `json:"gaps,omitempty"` // not yet reported to the centre
}

// ClassStat is the amount of data of one class on disk.
type ClassStat struct {
	Class    string `json:"class"`
	Records  int    `json:"records"`            // also acknowledged ones
	Personal int    `json:"personal,omitempty"` // of them, of devices marked personal
	Waiting  uint64 `json:"waiting"`            // not acknowledged, in memory or on disk
	Bytes    int64  `json:"bytes"`
	From     int64  `json:"from,omitempty"` // ms UTC, the oldest and the newest moment
	To       int64  `json:"to,omitempty"`
	Blocks   int    `json:"blocks"`
	Damaged  int    `json:"damaged,omitempty"` // blocks that cannot be read
}

// EpochStat is the amount of data of one epoch on disk, over all classes.
type EpochStat struct {
	Epoch   string `json:"ep"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Records uint64 `json:"n"`
}

// GapStat is a range that may be missing.
type GapStat struct {
	Epoch string  `json:"ep"`
	Class string  `json:"class"`
	From  uint64  `json:"from"`
	To    *uint64 `json:"to"` // null: unknown
	Why   string  `json:"why"`
	Count uint64  `json:"n,omitempty"`
}

// Stat counts, and reads the head of every block for it.
func (a *Archive) Stat() (Stat, error) {
	shares, err := a.store.List()
	if err != nil {
		return Stat{}, err
	}
	st := a.store.Stats()
	out := Stat{Epoch: st.Epoch, Next: st.Next, Bytes: st.DiskBytes, Max: st.MaxSize, Memory: st.Fresh, Fault: st.Fault,
		FromMemory: st.FromMemory}
	for _, c := range []buffer.Class{buffer.Event, buffer.Interval, buffer.Reading, buffer.Card} {
		cs := ClassStat{Class: c.String(), Waiting: st.Pending[c]}
		for _, sh := range shares {
			if sh.Class == c {
				cs.add(sh)
			}
		}
		out.Classes = append(out.Classes, cs)
	}
	out.Epochs = epochs(shares)
	for _, s := range a.store.Summary() {
		out.Backlog = append(out.Backlog, contract.Backlog{Ep: s.Epoch, First: s.First, Last: s.Last, N: s.N})
	}
	for _, g := range a.store.Gaps() {
		out.Gaps = append(out.Gaps, GapStat{g.Epoch, g.Class.String(), g.From, g.To, string(g.Reason), g.Count})
	}
	return out, nil
}

func (c *ClassStat) add(sh buffer.Share) {
	c.Records += sh.Records
	if sh.Private {
		c.Personal += sh.Records
	}
	c.Bytes += sh.Bytes
	c.Blocks += sh.Blocks
	c.Damaged += sh.Damaged
	if sh.From != 0 && (c.From == 0 || sh.From < c.From) {
		c.From = sh.From
	}
	c.To = max(c.To, sh.To)
}

// Verify reads everything that is on disk; see buffer.Store.Verify.
func (a *Archive) Verify() (buffer.Report, error) { return a.store.Verify() }
