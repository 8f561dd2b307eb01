package roster

import (
	"fmt"
	"time"

	"bordo/cmd/terminal"
	"bordo/contract"
	"bordo/contract/consumer"
)

// What a Change is about.
const (
	WhatLink      = "link"      // our own connection: State is connected or lost
	WhatNode      = "node"      // State is online, offline, lost or silent
	WhatCondition = "condition" // State is raised or cleared
	WhatGap       = "gap"       // the node reported that records will not arrive
	WhatDefect    = "defect"    // something that the contract forbids
	WhatDevice    = "device"    // State is described or removed
	WhatError     = "error"     // a message that cannot be understood
)

// Change is one thing that has changed. Its JSON is what "bordoctl watch --json" prints: keys are added, never changed.
type Change struct {
	At     int64  `json:"at"` // ms UTC, when it was learnt here
	What   string `json:"what"`
	Tenant string `json:"tenant,omitempty"`
	Node   string `json:"node,omitempty"`
	Dev    string `json:"dev,omitempty"`
	State  string `json:"state,omitempty"`
	URL    string `json:"url,omitempty"`
	Topic  string `json:"topic,omitempty"`
	Detail string `json:"detail,omitempty"`

	*Summary                   // of a node
	Condition *ConditionChange `json:"condition,omitempty"`
	Gap       *GapChange       `json:"gap,omitempty"`
	Defect    *DefectChange    `json:"defect,omitempty"`
	Device    *DeviceChange    `json:"device,omitempty"`
}

// Summary is how a node is.
type Summary struct {
	Sess       string         `json:"sess,omitempty"`
	Since      int64          `json:"since,omitempty"` // ms UTC, when the state began, as far as is known
	Ver        string         `json:"ver,omitempty"`
	HW         string         `json:"hw,omitempty"`
	Cfg        string         `json:"cfg,omitempty"`
	Clk        contract.Clock `json:"clk,omitempty"`
	Sim        bool           `json:"sim,omitempty"`
	Backlog    uint64         `json:"backlog"`        // number of records, as last reported
	Told       int64          `json:"told,omitempty"` // ms UTC, when that was
	Lost       *uint64        `json:"lost,omitempty"` // records, in the node's life
	Rate       float64        `json:"rate"`           // samples per second, in the last minute
	LagP50     int64          `json:"lag_p50"`        // ms from measuring to arrival, of the last live samples
	LagP99     int64          `json:"lag_p99"`        // ms
	Last       int64          `json:"last,omitempty"` // ms UTC, when the last live sample came
	Conditions int            `json:"conditions"`     // that are open
	Gaps       int            `json:"gaps"`           // reported since the start of the roster
	Missing    uint64         `json:"missing"`        // numbers that should be here, are not, and are under no gap
	Conflicts  int            `json:"conflicts"`      // identities that came with two contents
}

// ConditionChange is a condition that has begun or ended.
type ConditionChange struct {
	Code     string            `json:"code"`
	Severity contract.Severity `json:"severity"`
	Since    int64             `json:"since"`
	Text     contract.Label    `json:"text"`
}

// GapChange is a range in which records are lost.
type GapChange struct {
	Ep    string  `json:"ep"`
	From  uint64  `json:"from"`
	To    *uint64 `json:"to"` // null: to the end of the epoch
	N     *uint64 `json:"n,omitempty"`
	Class string  `json:"class"`
	Why   string  `json:"why"`
}

// DefectChange is a defect.
type DefectChange struct {
	Kind consumer.DefectKind `json:"kind"` // missing, conflict or forgotten
	Ep   string              `json:"ep"`
	From uint64              `json:"from"`
	To   uint64              `json:"to"`
}

// DeviceChange is what a device is.
type DeviceChange struct {
	Name     string `json:"name,omitempty"`
	Maker    string `json:"maker,omitempty"`
	Model    string `json:"model,omitempty"`
	Profile  string `json:"profile,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	Every    int64  `json:"every,omitempty"` // ms
	Points   int    `json:"points"`
}

// summary is how the node is now.
func (n *Node) summary(now time.Time) Summary {
	s := Summary{Sess: n.Status.Sess, Ver: n.Status.Ver, HW: n.Status.HW, Cfg: n.Status.Cfg, Clk: n.Clk,
		Sim:     n.Status.Sim,
		Backlog: n.Backlog(), Lost: n.Status.Lost, Rate: n.Rate.PerSecond(now), Conditions: len(n.Status.Health),
		Gaps: n.Gaps, Missing: n.Missing, Conflicts: n.Conflicts, Since: unixMilli(n.Since),
		Told: unixMilli(n.StatusAt), Last: unixMilli(n.Last)}
	if p50, p99, ok := n.Lag.Quantiles(); ok {
		s.LagP50, s.LagP99 = p50.Milliseconds(), p99.Milliseconds()
	}
	return s
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// differs reports whether a status has changed, apart from what changes all the time.
func (s Summary) differs(t Summary) bool {
	lost := func(p *uint64) uint64 {
		if p == nil {
			return 0
		}
		return *p
	}
	return s.Ver != t.Ver || s.HW != t.HW || s.Cfg != t.Cfg || s.Clk != t.Clk || s.Sim != t.Sim ||
		s.Backlog != t.Backlog || lost(s.Lost) != lost(t.Lost) || s.Conditions != t.Conditions
}

// Line formats a change for a person, with sentences in a language where they exist. Text from messages is made
// harmless.
func (c Change) Line(lang string) string {
	who := c.Node
	if c.Dev != "" {
		who += " " + c.Dev
	}
	return terminal.Clean(fmt.Sprintf("%s %s", time.UnixMilli(c.At).Format(time.TimeOnly), c.words(who, lang)))
}

func (c Change) words(who, lang string) string {
	switch c.What {
	case WhatLink:
		if c.State == "connected" {
			return "connected to " + c.URL
		}
		return "the connection to the broker is lost: " + c.Detail
	case WhatNode:
		return who + " is " + c.State + c.Summary.words()
	case WhatCondition:
		return fmt.Sprintf("%s %s %s: %s%s", who, c.Condition.Severity, c.State,
			Sentence(c.Condition.Text, c.Condition.Code, lang), behind(c.Detail))
	case WhatGap:
		return fmt.Sprintf("%s told a gap: %s", who, c.Gap.words())
	case WhatDefect:
		return fmt.Sprintf("%s %s: epoch %s, %s", who, c.Defect.Kind, c.Defect.Ep, span(c.Defect.From, c.Defect.To))
	case WhatDevice:
		if c.Device == nil {
			return who + " was removed"
		}
		return fmt.Sprintf("%s is %s %s, %d points, every %s", who, c.Device.Maker,
			or(c.Device.Model, c.Device.Profile), c.Device.Points,
			time.Duration(c.Device.Every)*time.Millisecond)
	}
	return "not understood: " + c.Topic + behind(c.Detail)
}

func (s *Summary) words() string {
	text := ""
	if s.Ver != "" {
		text = fmt.Sprintf(", bordo %s, clock %s, backlog %d", s.Ver, s.Clk, s.Backlog)
	}
	if s.Conditions > 0 {
		text += fmt.Sprintf(", conditions %d", s.Conditions)
	}
	if s.Missing > 0 {
		text += fmt.Sprintf(", missing %d", s.Missing)
	}
	if s.Sim {
		text += ", simulated"
	}
	return text
}

func (g *GapChange) words() string {
	where := "an epoch that is not known any more"
	switch {
	case g.Ep != "" && g.To != nil:
		where = "epoch " + g.Ep + ", " + span(g.From, *g.To)
	case g.Ep != "":
		where = fmt.Sprintf("epoch %s, from %d to its end", g.Ep, g.From)
	}
	if g.N != nil {
		where += fmt.Sprintf(", %d records", *g.N)
	}
	return where + ", " + g.Class + ", " + g.Why
}

// span formats a range of numbers.
func span(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("number %d", from)
	}
	return fmt.Sprintf("numbers %d to %d", from, to)
}

func behind(detail string) string {
	if detail == "" {
		return ""
	}
	return " (" + detail + ")"
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Sentence returns a text in a language, or the code if there is none.
func Sentence(l contract.Label, code, lang string) string {
	if lang == "it" && l.It != "" {
		return l.It
	}
	return or(l.En, code)
}
