package inflight

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Waits until a topic that was set aside is tried again.
const (
	asideFirst = 5 * time.Minute
	asideMost  = time.Hour
)

// A class that passed within passedLately is set aside only after sureDeaths sessions in a row died on it.
const (
	passedLately = time.Hour
	sureDeaths   = 5
)

// calmFor is how long the fact counts that the broker left a session alone in which nothing was sent.
const calmFor = 10 * time.Minute

// Verdict is a topic that was set aside because sessions die on it.
type Verdict struct {
	Topic string // ends in "/" for all topics of a class
	Until time.Time
	wait  time.Duration
}

// Blame finds the topic on which a broker ends sessions. What was in flight at a death is suspect and travels alone
// from then on, until it is acknowledged or was alone in flight at the next death too. Before the first verdict, one
// session begins with silence: another client under the same client id ends such a session as well, whereas a broker
// that refuses a topic does not.
type Blame struct {
	suspects map[string]int // deaths in a row
	verdicts map[string]*Verdict
	passed   map[string]bool      // classes of which something was acknowledged since the first verdict on them
	latest   map[string]time.Time // by class: the latest acknowledgement
	calm     time.Time            // a silent beginning was survived
	quiet    bool                 // the next session begins with silence
}

// class is the part of a topic that policies are written for: everything before the device.
func class(topic string) string { return topic[:strings.LastIndexByte(topic, '/')+1] }

// Quiet reports whether the next session is to begin with silence.
func (b *Blame) Quiet() bool { return b.quiet }

// Calm notes that a silent beginning was survived.
func (b *Blame) Calm(now time.Time) { b.quiet, b.calm = false, now }

// Alone reports whether a topic may be in flight only by itself.
func (b *Blame) Alone(topic string) bool { return b.suspects[topic] > 0 || b.verdict(topic) != nil }

// Suspect reports whether anything is suspect.
func (b *Blame) Suspect() bool { return len(b.suspects) > 0 }

// Clear reports whether nothing is suspect and nothing set aside.
func (b *Blame) Clear() bool { return len(b.suspects) == 0 && len(b.verdicts) == 0 }

// IsMany reports whether more than one topic is set aside, or a whole class.
func (b *Blame) IsMany() bool {
	for t := range b.verdicts {
		if len(b.verdicts) > 1 || strings.HasSuffix(t, "/") {
			return true
		}
	}
	return false
}

// Aside reports whether a topic is set aside now.
func (b *Blame) Aside(topic string, now time.Time) bool {
	v := b.verdict(topic)
	return v != nil && now.Before(v.Until)
}

func (b *Blame) verdict(topic string) *Verdict {
	if v := b.verdicts[topic]; v != nil {
		return v
	}
	return b.verdicts[class(topic)]
}

// Verdicts lists what is set aside, by topic.
func (b *Blame) Verdicts() (out []Verdict) {
	for _, k := range slices.Sorted(maps.Keys(b.verdicts)) {
		out = append(out, *b.verdicts[k])
	}
	return out
}

// Acked notes that the broker took something on a topic.
func (b *Blame) Acked(topic string, now time.Time) {
	if b.latest == nil {
		b.latest = make(map[string]time.Time)
	}
	b.latest[class(topic)] = now
	if len(b.suspects) == 0 && len(b.verdicts) == 0 {
		return
	}
	delete(b.suspects, topic)
	delete(b.verdicts, topic)
	delete(b.verdicts, class(topic))
	if b.passed == nil {
		b.passed = make(map[string]bool)
	}
	b.passed[class(topic)] = true
}

// Died records the end of a session with the topics that were in flight. brief means that it ended as soon as it had
// begun. It returns the topic to blame when this is the second end on it ("" otherwise), and whether the end is
// explained by what was in flight at the previous one.
func (b *Blame) Died(topics []string, brief bool, now time.Time) (culprit string, explained bool) {
	if len(topics) == 0 {
		if b.quiet { // nothing was sent: it was none of these
			b.quiet, b.suspects, b.verdicts, b.calm = false, nil, nil, time.Time{}
		}
		return "", false
	}
	if v := b.verdict(topics[0]); len(topics) == 1 && v != nil { // it was tried again
		b.extend(v, now)
		return "", true
	}
	common := make(map[string]int)
	for _, t := range topics {
		if n := b.suspects[t]; n > 0 {
			common[t] = n + 1
		}
	}
	if len(common) == 0 {
		b.suspects = make(map[string]int)
		for _, t := range topics {
			b.suspects[t] = 1
		}
		return "", false
	}
	b.suspects = common
	if len(common) > 1 {
		return "", true
	}
	for t := range common {
		culprit = t
	}
	if brief && now.Sub(b.calm) > calmFor {
		b.quiet = true
		return "", true
	}
	return culprit, true
}

// IsSure reports whether enough sessions died on a culprit to set it aside. If its class passed recently, more are
// required: a broker that occasionally loses acknowledgements is then more likely than one that refuses the topic.
func (b *Blame) IsSure(topic string, now time.Time) bool {
	at, passed := b.latest[class(topic)]
	return !passed || now.Sub(at) > passedLately || b.suspects[topic] >= sureDeaths
}

// Doubt keeps a culprit under suspicion without a verdict: there is something else to try first.
func (b *Blame) Doubt(topic string) { b.suspects = map[string]int{topic: 1} }

// Convict sets a topic aside, or its whole class when it is the second of which nothing passed.
func (b *Blame) Convict(topic string, now time.Time) {
	b.suspects = nil
	if b.verdicts == nil {
		b.verdicts = make(map[string]*Verdict)
	}
	c := class(topic)
	others := 0
	for t := range b.verdicts {
		if class(t) == c {
			others++
		}
	}
	if others == 0 {
		delete(b.passed, c)
	} else if !b.passed[c] {
		maps.DeleteFunc(b.verdicts, func(t string, _ *Verdict) bool { return class(t) == c })
		topic = c
	}
	v := &Verdict{Topic: topic}
	b.verdicts[topic] = v
	b.extend(v, now)
}

func (b *Blame) extend(v *Verdict, now time.Time) {
	v.wait = min(max(asideFirst, 2*v.wait), asideMost)
	v.Until = now.Add(v.wait)
}
